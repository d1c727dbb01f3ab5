-- name: own_scopes
-- All scopes of a user, or (null) those that belong to everybody.
SELECT s.id, s.kind, s.name, s.user_id::text FROM weft.memory_scopes s
WHERE s.org_id = %(org_id)s::uuid AND s.user_id IS NOT DISTINCT FROM %(user_id)s::uuid ORDER BY s.id;

-- name: aging
-- Those of the scopes that may have something to forget: a policy, or memories with an end that has come.
SELECT s.id, s.kind, s.name, s.user_id::text FROM weft.memory_scopes s
WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (%(scope_ids)s::bigint[])
  AND (s.policy IS NOT NULL OR EXISTS (SELECT FROM weft.memories m
    WHERE m.org_id = s.org_id AND m.scope_id = s.id AND m.expires_at <= clock_timestamp()))
ORDER BY s.id;

-- name: uncompared
-- Memories that nobody has compared with those before them.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (%(scope_ids)s::bigint[]) AND m.kind IN ('turn', 'episode', 'chunk')
  AND m.retracted_at IS NULL AND m.trust > 0
  AND NOT EXISTS (SELECT FROM weft.memory_looks l WHERE l.org_id = m.org_id AND l.memory_id = m.id AND l.work = 'compare')
ORDER BY m.id LIMIT %(limit)s::int;

-- name: around
-- These memories with so many of their scope before them: what is compared with one another.
WITH fresh AS (
    SELECT m.scope_id, min(m.id::text)::uuid AS first, max(m.id::text)::uuid AS last FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (%(ids)s::uuid[]) GROUP BY m.scope_id)
SELECT r.id::text, r.scope_id, r.kind, r.speaker, left(r.body, 4000) AS body, r.length, r.trust,
  (SELECT d.id::text FROM weft.memories d WHERE d.org_id = %(org_id)s::uuid AND d.scope_id = r.scope_id AND d.id::text = r.data ->> 'duplicate_of'
     AND d.trust > 0 AND d.retracted_at IS NULL) AS duplicate_of
FROM fresh f CROSS JOIN LATERAL (
  (SELECT m.* FROM weft.memories m
   WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = f.scope_id AND m.id < f.first AND m.kind IN ('turn', 'episode', 'chunk')
     AND m.retracted_at IS NULL AND m.trust > 0
   ORDER BY m.id DESC LIMIT %(window)s::int)
  UNION ALL
  (SELECT m.* FROM weft.memories m
   WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = f.scope_id AND m.id BETWEEN f.first AND f.last
     AND m.kind IN ('turn', 'episode', 'chunk') AND m.retracted_at IS NULL AND m.trust > 0
   ORDER BY m.id DESC LIMIT %(window)s::int * 2)) r
ORDER BY r.id;

-- name: close
-- Pairs whose vectors lie close: one of these, and one of those before it.
SELECT f.memory_id::text AS id, o.memory_id::text AS other_id, (1 - (f.e <=> o.e))::float8 AS cosine
FROM weft.memory_vectors_0 f JOIN weft.memory_vectors_0 o ON o.org_id = f.org_id AND o.scope_id = f.scope_id AND o.memory_id < f.memory_id
WHERE f.org_id = %(org_id)s::uuid AND f.memory_id = ANY (%(ids)s::uuid[]) AND o.memory_id = ANY (%(others)s::uuid[])
  AND 1 - (f.e <=> o.e) >= %(least)s::float8
ORDER BY 1 - (f.e <=> o.e) DESC, f.memory_id, o.memory_id LIMIT %(limit)s::int;

-- name: link
-- It says what another has said before it. Nothing else of it changes, and it stays.
UPDATE weft.memories m
SET data = (coalesce(m.data::jsonb, '{}'::jsonb) || jsonb_build_object('duplicate_of', %(original)s::text))::json
WHERE m.org_id = %(org_id)s::uuid AND m.id = %(id)s::uuid AND m.id <> %(original)s::uuid;

-- name: shared_names
-- Names that two entities have, as what they were merged into.
SELECT n.scope_id, n.name, array_agg(DISTINCT e.id::text) AS ids
FROM weft.memory_names n
  LEFT JOIN weft.memory_merges g ON g.org_id = n.org_id AND g.from_id = n.entity_id
  JOIN weft.memories e ON e.org_id = n.org_id AND e.id = coalesce(g.root_id, n.entity_id)
WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = ANY (%(scope_ids)s::bigint[]) AND e.kind = 'entity' AND e.retracted_at IS NULL
  AND e.trust > 0
GROUP BY n.scope_id, n.name HAVING count(DISTINCT e.id) = 2 ORDER BY n.scope_id, n.name LIMIT %(limit)s::int;

-- name: first_seen
-- Whoever has memories is noted, from now on.
INSERT INTO weft.memory_rounds (org_id, user_id)
SELECT DISTINCT s.org_id, s.user_id FROM weft.memory_scopes s
WHERE s.org_id = %(org_id)s::uuid
  AND NOT EXISTS (SELECT FROM weft.memory_rounds r WHERE r.org_id = s.org_id AND r.user_id IS NOT DISTINCT FROM s.user_id)
ON CONFLICT (org_id, user_id) DO NOTHING;

-- name: due
-- Whose turn it is: so long after the last time, when the clock has been set back behind it, or when whoever began the round never started its
-- run. `seen` as it is now.
SELECT r.user_id::text, r.round, r.seen AS before, f.seen, r.starting IS NOT NULL AS broken_off,
       EXISTS (SELECT FROM weft.memory_scopes s WHERE s.org_id = r.org_id AND s.user_id IS NOT DISTINCT FROM r.user_id
         AND (s.policy IS NOT NULL OR EXISTS (SELECT FROM weft.memories m
           WHERE m.org_id = s.org_id AND m.scope_id = s.id AND m.expires_at <= clock_timestamp()))) AS aging
FROM (SELECT r.org_id, r.user_id, r.round, r.seen, r.starting FROM weft.memory_rounds r
      WHERE r.org_id = %(org_id)s::uuid
        AND (r.done_at + %(every)s::interval <= clock_timestamp() OR r.done_at > clock_timestamp() + interval '2 seconds'
          OR (r.done_at + interval '1 minute' <= clock_timestamp()
            AND r.starting IS NOT NULL AND NOT EXISTS (SELECT FROM weft.runs x WHERE x.org_id = r.org_id AND x.id = r.starting)))
      ORDER BY r.done_at LIMIT %(limit)s::int) r
  CROSS JOIN LATERAL (
    SELECT count(*) || ' ' || coalesce(max(m.id::text), '') AS seen
    FROM weft.memory_scopes s JOIN weft.memories m ON m.org_id = s.org_id AND m.scope_id = s.id
    WHERE s.org_id = r.org_id AND s.user_id IS NOT DISTINCT FROM r.user_id AND m.kind <> 'summary' AND m.retracted_at IS NULL) f;

-- name: take
-- The next round is begun by whoever comes first; `starting`: the run that will do it, or null when there is nothing to do.
UPDATE weft.memory_rounds r
SET round = r.round + 1, done_at = clock_timestamp(), seen = %(seen)s::text, starting = %(starting)s::uuid
WHERE r.org_id = %(org_id)s::uuid AND r.user_id IS NOT DISTINCT FROM %(user_id)s::uuid AND r.round = %(round)s::bigint;

-- name: started
UPDATE weft.memory_rounds r SET starting = NULL
WHERE r.org_id = %(org_id)s::uuid AND r.user_id IS NOT DISTINCT FROM %(user_id)s::uuid AND r.starting = %(starting)s::uuid;
