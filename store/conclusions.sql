-- name: turn
-- The message with this digest, if it was said before, and what time it is.
SELECT t.id::text, t.trust, coalesce(t.occurred_at, t.recorded_at, clock_timestamp()) AS at
FROM (SELECT) AS here LEFT JOIN weft.memories t
  ON t.org_id = %(org_id)s::uuid AND t.scope_id = %(scope_id)s::bigint AND t.kind = 'turn' AND t.digest = decode(%(digest)s::text, 'hex')
    AND t.retracted_at IS NULL;

-- name: like
-- Whether a name that nobody has yet is like one that somebody has; of a name that is known nothing is looked up.
SELECT n.name FROM weft.memory_names n JOIN weft.memories e ON e.org_id = n.org_id AND e.id = n.entity_id
WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = %(scope_id)s::bigint AND n.trigrams && %(trigrams)s::text[] AND e.retracted_at IS NULL
  AND NOT EXISTS (SELECT FROM weft.memory_names k
    WHERE k.org_id = %(org_id)s::uuid AND k.scope_id = %(scope_id)s::bigint AND k.name = %(name)s::text)
  AND (SELECT count(*) FILTER (WHERE t = ANY(%(trigrams)s::text[]))::float8
         / (cardinality(n.trigrams) + cardinality(%(trigrams)s::text[]) - count(*) FILTER (WHERE t = ANY(%(trigrams)s::text[])))
       FROM unnest(n.trigrams) AS t) >= %(least)s::float8
LIMIT 1;
