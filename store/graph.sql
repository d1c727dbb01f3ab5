-- name: connect
-- An edge between two entities or nodes; one of the same type that stands is strengthened or set instead.
WITH again AS (
    UPDATE weft.memory_edges e SET weight = %(weight)s::float8
    WHERE e.org_id = %(org_id)s::uuid AND e.memory_id = %(memory_id)s::uuid)
INSERT INTO weft.memory_edges (org_id, memory_id, from_id, to_id, type, weight)
VALUES (%(org_id)s::uuid, %(memory_id)s::uuid, %(from_id)s::uuid, %(to_id)s::uuid, %(type)s::text, %(weight)s::float8)
ON CONFLICT (org_id, memory_id) DO NOTHING;

-- name: neighbours
-- What can be reached within so many steps, nearest first: each once, over the strongest of the shortest ways. Entities that were merged are one.
WITH RECURSIVE
  links AS MATERIALIZED (
    SELECT coalesce(a.root_id, e.from_id) AS a, coalesce(b.root_id, e.to_id) AS b, e.type, e.weight, e.memory_id
    FROM weft.memory_edges e
      JOIN weft.memories m ON m.org_id = e.org_id AND m.id = e.memory_id
      LEFT JOIN weft.memory_merges a ON a.org_id = e.org_id AND a.from_id = e.from_id
      LEFT JOIN weft.memory_merges b ON b.org_id = e.org_id AND b.from_id = e.to_id
    WHERE e.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
      AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
      AND NOT EXISTS (SELECT FROM weft.memories h WHERE h.org_id = e.org_id AND h.id IN (e.from_id, e.to_id, a.root_id, b.root_id)
                      AND h.trust < %(min_trust)s::int)
      AND (m.valid_from IS NULL OR m.valid_from <= coalesce(%(as_of)s::timestamptz, clock_timestamp()))
      AND (m.valid_to IS NULL OR m.valid_to > coalesce(%(as_of)s::timestamptz, clock_timestamp()))
      AND (%(types)s::text[] IS NULL OR e.type = ANY(%(types)s::text[])) AND e.weight >= %(min_weight)s::float8),
  steps AS (                    -- both ways, unless a direction was asked for
    SELECT a, b, type, weight, memory_id, true AS outward FROM links WHERE %(direction)s::text <> 'in'
    UNION ALL
    SELECT b, a, type, weight, memory_id, false FROM links WHERE %(direction)s::text <> 'out'),
  reach AS (                    -- every node once per depth: UNION drops what was reached twice in the same step
    SELECT coalesce(g.root_id, s.id) AS id, 0 AS depth
    FROM unnest(%(ids)s::uuid[]) AS s(id) LEFT JOIN weft.memory_merges g ON g.org_id = %(org_id)s::uuid AND g.from_id = s.id
    UNION
    SELECT s.b, r.depth + 1 FROM reach r JOIN steps s ON s.a = r.id WHERE r.depth < %(depth)s::int),
  nearest AS (SELECT id, min(depth) AS depth FROM reach GROUP BY id),
  arrived AS (                  -- the last step to each: from a node that is one nearer
    SELECT DISTINCT ON (n.id) n.id, n.depth, s.a AS via, s.type, s.weight, s.memory_id, s.outward
    FROM nearest n JOIN nearest p ON p.depth = n.depth - 1 JOIN steps s ON s.a = p.id AND s.b = n.id
    ORDER BY n.id, s.weight DESC, s.memory_id)
SELECT w.id, e.title AS name, e.data ->> 'type' AS kind, w.depth, w.via::text AS via, w.type, w.weight, w.outward, w.memory_id AS edge_id
FROM arrived w JOIN weft.memories e ON e.org_id = %(org_id)s::uuid AND e.id = w.id
ORDER BY w.depth, w.weight DESC, w.id LIMIT %(limit)s::int;

-- name: paths
-- Ways between two nodes without a node twice: fewest steps first, then the greatest product of weights (bounded by 1 each).
WITH RECURSIVE
  links AS MATERIALIZED (
    SELECT coalesce(a.root_id, e.from_id) AS a, coalesce(b.root_id, e.to_id) AS b, e.type, e.weight
    FROM weft.memory_edges e
      JOIN weft.memories m ON m.org_id = e.org_id AND m.id = e.memory_id
      LEFT JOIN weft.memory_merges a ON a.org_id = e.org_id AND a.from_id = e.from_id
      LEFT JOIN weft.memory_merges b ON b.org_id = e.org_id AND b.from_id = e.to_id
    WHERE e.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
      AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
      AND NOT EXISTS (SELECT FROM weft.memories h WHERE h.org_id = e.org_id AND h.id IN (e.from_id, e.to_id, a.root_id, b.root_id)
                      AND h.trust < %(min_trust)s::int)
      AND (m.valid_from IS NULL OR m.valid_from <= coalesce(%(as_of)s::timestamptz, clock_timestamp()))
      AND (m.valid_to IS NULL OR m.valid_to > coalesce(%(as_of)s::timestamptz, clock_timestamp()))
      AND (%(types)s::text[] IS NULL OR e.type = ANY(%(types)s::text[]))),
  steps AS (
    SELECT a, b, type, weight FROM links
    UNION ALL
    SELECT b, a, type, weight FROM links WHERE NOT %(directed)s::boolean),
  ends AS (
    SELECT (SELECT coalesce((SELECT g.root_id FROM weft.memory_merges g WHERE g.org_id = %(org_id)s::uuid AND g.from_id = %(from_id)s::uuid), %(from_id)s::uuid)) AS a,
           (SELECT coalesce((SELECT g.root_id FROM weft.memory_merges g WHERE g.org_id = %(org_id)s::uuid AND g.from_id = %(to_id)s::uuid), %(to_id)s::uuid)) AS b),
  back AS (                     -- how far each node is from the goal: a way that cannot reach it in time is not begun
    SELECT b AS id, 0 AS depth FROM ends
    UNION
    SELECT s.a, r.depth + 1 FROM back r JOIN steps s ON s.b = r.id WHERE r.depth < %(depth)s::int),
  distance AS (SELECT id, min(depth) AS depth FROM back GROUP BY id),
  ways AS (
    SELECT e.a AS id, ARRAY[e.a] AS nodes, '{}'::text[] AS types, 1::float8 AS strength, d.depth AS left_over
    FROM ends e JOIN distance d ON d.id = e.a
    UNION ALL
    SELECT s.b, w.nodes || s.b, w.types || s.type, w.strength * least(s.weight, 1), w.left_over - 1
    FROM ways w JOIN steps s ON s.a = w.id JOIN distance d ON d.id = s.b
    WHERE d.depth = w.left_over - 1 AND NOT s.b = ANY(w.nodes))      -- only shortest ways: each step comes one nearer
SELECT w.nodes::text[] AS nodes, w.types, w.strength,
       ARRAY(SELECT coalesce(m.title, '') FROM unnest(w.nodes) WITH ORDINALITY AS n(id, place)
             JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = n.id ORDER BY n.place) AS names
FROM ways w, ends e WHERE w.id = e.b ORDER BY w.strength DESC, w.nodes LIMIT %(limit)s::int;

-- name: communities
-- Label propagation: every node takes the label that weighs most among its neighbours and itself, until nothing changes. One row carries
-- all labels from round to round, because a recursive term may not aggregate over itself.
WITH RECURSIVE
  links AS MATERIALIZED (
    SELECT coalesce(a.root_id, e.from_id) AS a, coalesce(b.root_id, e.to_id) AS b, e.weight
    FROM weft.memory_edges e
      JOIN weft.memories m ON m.org_id = e.org_id AND m.id = e.memory_id
      LEFT JOIN weft.memory_merges a ON a.org_id = e.org_id AND a.from_id = e.from_id
      LEFT JOIN weft.memory_merges b ON b.org_id = e.org_id AND b.from_id = e.to_id
    WHERE e.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
      AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
      AND NOT EXISTS (SELECT FROM weft.memories h WHERE h.org_id = e.org_id AND h.id IN (e.from_id, e.to_id, a.root_id, b.root_id)
                      AND h.trust < %(min_trust)s::int)
      AND (%(types)s::text[] IS NULL OR e.type = ANY(%(types)s::text[])) AND e.weight > 0),
  nodes AS MATERIALIZED (
    SELECT id, row_number() OVER (ORDER BY id)::int AS place FROM (SELECT a AS id FROM links UNION SELECT b FROM links) n),
  pulls AS MATERIALIZED (       -- both ways; its own label pulls a node as hard as its strongest neighbour, which keeps pairs from swapping
    SELECT x.place AS a, y.place AS b, sum(l.weight) AS weight
    FROM (SELECT a, b, weight FROM links WHERE a <> b UNION ALL SELECT b, a, weight FROM links WHERE a <> b) l
      JOIN nodes x ON x.id = l.a JOIN nodes y ON y.id = l.b GROUP BY 1, 2),
  graph AS MATERIALIZED (
    SELECT a, b, weight FROM pulls UNION ALL SELECT a, a, max(weight) FROM pulls GROUP BY a),
  rounds AS (
    SELECT 0 AS round, (SELECT array_agg(place ORDER BY place) FROM nodes) AS labels, false AS still
    UNION ALL
    SELECT r.round + 1, n.labels, n.labels = r.labels
    FROM rounds r CROSS JOIN LATERAL (
      SELECT array_agg(best.label ORDER BY best.a) AS labels FROM (
        SELECT DISTINCT ON (v.a) v.a, v.label FROM (
          SELECT g.a, r.labels[g.b] AS label, sum(g.weight) AS weight FROM graph g GROUP BY g.a, r.labels[g.b]) v
        ORDER BY v.a, v.weight DESC, v.label) best) n
    WHERE NOT r.still AND r.round < %(rounds)s::int),
  last AS (SELECT labels FROM rounds ORDER BY round DESC LIMIT 1)
SELECT array_agg(n.id::text ORDER BY m.importance DESC, n.id) AS ids, array_agg(coalesce(m.title, '') ORDER BY m.importance DESC, n.id) AS names,
       count(*)::int AS size
FROM nodes n CROSS JOIN last l JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = n.id
GROUP BY l.labels[n.place] HAVING count(*) >= %(least)s::int
ORDER BY count(*) DESC, min(n.id::text) LIMIT %(limit)s::int;
