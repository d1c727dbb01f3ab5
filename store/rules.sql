-- name: standing
-- Rules that hold, highest priority first. What is not said by a person is no rule, even if a row says it is one.
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.kind = 'rule' AND m.retracted_at IS NULL AND m.trust = 3
  AND (%(name)s::text IS NULL OR m.title = %(name)s::text) AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
ORDER BY (m.data ->> 'priority')::int DESC, m.id;
