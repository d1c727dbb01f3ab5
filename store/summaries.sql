-- name: covered
-- Summaries of a level whose stretch lies within a newer one's, and that are trusted no more than it is; those of what comes from outside
-- stand beside those of what does not.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'summary' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.id <> %(except_id)s::uuid AND m.trust <= %(max_trust)s::int AND (m.trust >= 2) = (%(max_trust)s::int >= 2)
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

-- name: fresh
-- Conversations with turns that no summary of level 1 covers: what is trusted, and what is from outside, each for itself.
WITH covered AS (
    SELECT m.scope_id, m.series, m.trust >= 2 AS trusted, max((m.data ->> 'to_seq')::bigint) AS seq
    FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (%(scope_ids)s::bigint[]) AND m.kind = 'summary' AND m.retracted_at IS NULL
      AND m.trust > 0 AND (m.data ->> 'level')::int = 1 AND m.data ->> 'to_seq' IS NOT NULL
    GROUP BY m.scope_id, m.series, m.trust >= 2)
SELECT t.scope_id, t.series, t.trust >= 2 AS trusted, coalesce(c.seq, 0) AS after
FROM weft.memories t
  LEFT JOIN covered c ON c.scope_id = t.scope_id AND c.series = t.series AND c.trusted = (t.trust >= 2)
WHERE t.org_id = %(org_id)s::uuid AND t.scope_id = ANY (%(scope_ids)s::bigint[]) AND t.kind = 'turn' AND t.retracted_at IS NULL
  AND t.trust > 0 AND t.seq > coalesce(c.seq, 0) AND coalesce(t.role, 'user') NOT IN ('system', 'developer')
  AND (%(series)s::text IS NULL OR t.series = %(series)s::text)
GROUP BY t.scope_id, t.series, t.trust >= 2, coalesce(c.seq, 0) HAVING count(*) >= %(least)s::int
ORDER BY 1, 2, 3 DESC LIMIT %(limit)s::int;

-- name: turns
-- Of one conversation and one kind of trust, oldest first.
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'turn' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust > 0 AND (m.trust >= 2) = %(trusted)s::boolean AND m.seq > %(after)s::bigint
  AND coalesce(m.role, 'user') NOT IN ('system', 'developer')
ORDER BY m.seq LIMIT %(limit)s::int;

-- name: standing
-- The summaries of a level that stand, in the order of what they cover.
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'summary' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust > 0 AND (m.trust >= 2) = %(trusted)s::boolean
  AND (m.data ->> 'level')::int = %(level)s::int AND m.data ->> 'to_seq' IS NOT NULL
ORDER BY (m.data ->> 'to_seq')::bigint, m.id;

-- name: parents
SELECT l.parent::text AS id FROM weft.memory_lineage l WHERE l.org_id = %(org_id)s::uuid AND l.child = %(id)s::uuid ORDER BY l.parent;

-- name: stacked
-- Conversations with several summaries of level 1, not all of which the one above them was made of.
WITH lower AS (
    SELECT m.scope_id, m.series, m.trust >= 2 AS trusted, array_agg(m.id) AS ids
    FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (%(scope_ids)s::bigint[]) AND m.kind = 'summary' AND m.retracted_at IS NULL
      AND m.trust > 0 AND (m.data ->> 'level')::int = 1 AND m.data ->> 'to_seq' IS NOT NULL
    GROUP BY m.scope_id, m.series, m.trust >= 2 HAVING count(*) > 1)
SELECT l.scope_id, l.series, l.trusted, 0::bigint AS after FROM lower l
WHERE NOT EXISTS (
  SELECT FROM weft.memories s
  WHERE s.org_id = %(org_id)s::uuid AND s.scope_id = l.scope_id AND s.series = l.series AND s.kind = 'summary' AND s.retracted_at IS NULL
    AND s.trust > 0 AND (s.trust >= 2) = l.trusted AND (s.data ->> 'level')::int = 2
    AND l.ids <@ ARRAY(SELECT x.parent FROM weft.memory_lineage x WHERE x.org_id = s.org_id AND x.child = s.id))
ORDER BY 1, 2, 3 DESC LIMIT %(limit)s::int;
