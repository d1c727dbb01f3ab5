-- name: covered
-- Summaries of a level whose stretch lies within a newer one's, and that are trusted no more than it is.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'summary' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.id <> %(except_id)s::uuid AND m.trust <= %(max_trust)s::int
  AND (m.data ->> 'level')::int = %(level)s::int
  AND (m.data ->> 'from_seq')::bigint >= %(from_seq)s::bigint AND (m.data ->> 'to_seq')::bigint <= %(to_seq)s::bigint;

-- name: reach
-- The last turn that a summary of level 1 covers.
SELECT coalesce(max((m.data ->> 'to_seq')::bigint), 0) AS seq FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'summary' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust > 0 AND (m.data ->> 'level')::int = 1;

-- name: turns_after
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'turn' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust > 0 AND m.seq > %(after)s::bigint
ORDER BY m.seq LIMIT %(limit)s::int;
