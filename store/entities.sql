-- name: lock
-- Who makes or merges entities of a scope goes one after the other, so that one name never becomes two entities.
SELECT pg_advisory_xact_lock(hashtextextended('weft entities ' || %(org_id)s::text || ' ' || %(scope_id)s::bigint, 0));

-- name: called
-- Entities of these names or aliases, as what they were merged into, with how each name was found.
SELECT DISTINCT ON (n.name, e.id) n.name, e.id, e.title, e.data ->> 'type' AS type, n.entity_id <> e.id AS merged, e.trust
FROM weft.memory_names n
  LEFT JOIN weft.memory_merges g ON g.org_id = n.org_id AND g.from_id = n.entity_id
  JOIN weft.memories e ON e.org_id = n.org_id AND e.id = coalesce(g.root_id, n.entity_id)
WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = ANY(%(scope_ids)s::bigint[]) AND n.name = ANY(%(names)s::text[]) AND e.retracted_at IS NULL
ORDER BY n.name, e.id;

-- name: like
-- Entities whose name shares trigrams with one: Jaccard of the sets, best first.
SELECT n.name, e.id, e.title, e.data ->> 'type' AS type, s.score
FROM weft.memory_names n
  LEFT JOIN weft.memory_merges g ON g.org_id = n.org_id AND g.from_id = n.entity_id
  JOIN weft.memories e ON e.org_id = n.org_id AND e.id = coalesce(g.root_id, n.entity_id)
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE t = ANY(%(trigrams)s::text[]))::float8
           / (cardinality(n.trigrams) + cardinality(%(trigrams)s::text[]) - count(*) FILTER (WHERE t = ANY(%(trigrams)s::text[]))) AS score
    FROM unnest(n.trigrams) AS t) s
WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = %(scope_id)s::bigint AND n.trigrams && %(trigrams)s::text[]
  AND e.retracted_at IS NULL AND s.score >= %(least)s::float8
ORDER BY s.score DESC, e.id LIMIT 5;

-- name: name
-- Gives an entity names; those it has already stay.
INSERT INTO weft.memory_names (org_id, scope_id, name, entity_id, trigrams)
SELECT %(org_id)s::uuid, %(scope_id)s::bigint, v.name, %(entity_id)s::uuid, string_to_array(v.trigrams, '|')
FROM unnest(%(names)s::text[], %(trigrams)s::text[]) AS v(name, trigrams)
ON CONFLICT (org_id, scope_id, name, entity_id) DO NOTHING;

-- name: mention
INSERT INTO weft.memory_mentions (org_id, entity_id, memory_id)
SELECT DISTINCT %(org_id)s::uuid, e.id, m.id
FROM unnest(%(memory_ids)s::uuid[], %(entity_ids)s::uuid[]) AS v(memory_id, entity_id)
  JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = v.memory_id
  JOIN weft.memories e ON e.org_id = m.org_id AND e.id = v.entity_id
ON CONFLICT (org_id, entity_id, memory_id) DO NOTHING;

-- name: root
-- What an entity was merged into, or itself.
SELECT coalesce((SELECT g.root_id FROM weft.memory_merges g WHERE g.org_id = e.org_id AND g.from_id = e.id), e.id) AS id
FROM weft.memories e WHERE e.org_id = %(org_id)s::uuid AND e.id = %(id)s::uuid AND e.kind IN ('entity', 'node');

-- name: merge
-- One root goes into another; nothing else is moved, only the ends of the chains that led to it are known anew.
WITH merged AS (
    INSERT INTO weft.memory_merges (org_id, from_id, into_id, root_id, method, score, by_user)
    VALUES (%(org_id)s::uuid, %(from_id)s::uuid, %(into_id)s::uuid, %(into_id)s::uuid, %(method)s::text, %(score)s::real, %(by_user)s::uuid))
UPDATE weft.memory_merges g SET root_id = %(into_id)s::uuid WHERE g.org_id = %(org_id)s::uuid AND g.root_id = %(from_id)s::uuid;

-- name: part
-- Undoes a merge: what had been merged into this one before ends here again.
WITH RECURSIVE parted AS (
    DELETE FROM weft.memory_merges g WHERE g.org_id = %(org_id)s::uuid AND g.from_id = %(id)s::uuid RETURNING g.from_id),
  below AS (
    SELECT g.from_id FROM weft.memory_merges g WHERE g.org_id = %(org_id)s::uuid AND g.into_id = %(id)s::uuid
    UNION
    SELECT g.from_id FROM weft.memory_merges g JOIN below b ON g.into_id = b.from_id WHERE g.org_id = %(org_id)s::uuid),
  known AS (
    UPDATE weft.memory_merges g SET root_id = %(id)s::uuid FROM below b
    WHERE g.org_id = %(org_id)s::uuid AND g.from_id = b.from_id AND EXISTS (SELECT FROM parted))
SELECT from_id AS id FROM parted;

-- name: read
-- Entities with what all that was merged into them adds up to: names, mentions, and when they were first and last heard of. What nobody sees
-- adds nothing.
WITH roots AS (
    SELECT DISTINCT coalesce(g.root_id, e.id) AS id FROM weft.memories e LEFT JOIN weft.memory_merges g ON g.org_id = e.org_id AND g.from_id = e.id
    WHERE e.org_id = %(org_id)s::uuid AND e.id = ANY(%(ids)s::uuid[]) AND e.kind IN ('entity', 'node')),
  members AS (
    SELECT r.id AS root_id, r.id FROM roots r
    UNION ALL
    SELECT r.id, g.from_id FROM roots r JOIN weft.memory_merges g ON g.org_id = %(org_id)s::uuid AND g.root_id = r.id
      JOIN weft.memories x ON x.org_id = g.org_id AND x.id = g.from_id AND x.trust > 0)
SELECT e.id, e.scope_id, e.kind, e.title AS name, e.data ->> 'type' AS type, e.body, e.importance, e.trust, e.origin, e.labels, e.data,
       coalesce(n.names, '{}'::text[]) AS names, s.mentions::int AS mentions, coalesce(s.first_seen, e.recorded_at) AS first_seen,
       coalesce(s.last_seen, e.recorded_at) AS last_seen,
       ARRAY(SELECT m.id::text FROM members m WHERE m.root_id = e.id AND m.id <> e.id ORDER BY 1) AS merged
FROM roots r JOIN weft.memories e ON e.org_id = %(org_id)s::uuid AND e.id = r.id
  CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT n.name ORDER BY n.name) AS names FROM members m
      JOIN weft.memory_names n ON n.org_id = %(org_id)s::uuid AND n.entity_id = m.id WHERE m.root_id = e.id) n
  CROSS JOIN LATERAL (
    SELECT count(DISTINCT x.memory_id) AS mentions, min(coalesce(t.occurred_at, t.recorded_at)) AS first_seen,
           max(coalesce(t.occurred_at, t.recorded_at)) AS last_seen
    FROM members m JOIN weft.memory_mentions x ON x.org_id = %(org_id)s::uuid AND x.entity_id = m.id
      JOIN weft.memories t ON t.org_id = x.org_id AND t.id = x.memory_id AND t.trust > 0 WHERE m.root_id = e.id) s
ORDER BY e.importance DESC, s.mentions DESC, e.id;

-- name: mentioning
-- Memories that mention an entity or what was merged into it, newest first.
SELECT DISTINCT x.memory_id AS id FROM weft.memory_mentions x
WHERE x.org_id = %(org_id)s::uuid AND x.entity_id IN (
  SELECT %(id)s::uuid UNION SELECT g.from_id FROM weft.memory_merges g WHERE g.org_id = %(org_id)s::uuid AND g.root_id = %(id)s::uuid)
ORDER BY x.memory_id DESC LIMIT %(limit)s::int;

-- name: weigh
-- Importance grows with how often something is spoken of, and is bounded; what a person set is the least of it.
UPDATE weft.memories e SET importance = greatest(e.importance, least(0.95, 0.3 + 0.15 * ln(1 + s.mentions)))::real
FROM (SELECT x.entity_id, count(*) AS mentions FROM weft.memory_mentions x
      WHERE x.org_id = %(org_id)s::uuid AND x.entity_id = ANY(%(ids)s::uuid[]) GROUP BY x.entity_id) s
WHERE e.org_id = %(org_id)s::uuid AND e.id = s.entity_id;

-- name: describe
-- Its text is written anew, with what it is found by.
UPDATE weft.memories e SET data = %(data)s::json, body = %(body)s::text, terms = %(terms)s::tsvector, length = %(length)s::int,
  tokens = %(tokens)s::int, trust = greatest(e.trust, %(trust)s::smallint)
WHERE e.org_id = %(org_id)s::uuid AND e.id = %(id)s::uuid AND e.kind IN ('entity', 'node');
