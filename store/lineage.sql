-- name: children
-- What was made of these, each with all that it was made of.
SELECT m.id::text, m.kind, (SELECT array_agg(p.parent::text) FROM weft.memory_lineage p WHERE p.org_id = m.org_id AND p.child = m.id) AS parents
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.id IN (
  SELECT l.child FROM weft.memory_lineage l WHERE l.org_id = %(org_id)s::uuid AND l.parent = ANY(%(ids)s::uuid[]));

-- name: support
-- One more thing that something derived rests on. What does not rest on anything (a person said it) does not begin to.
INSERT INTO weft.memory_lineage (org_id, child, parent)
SELECT m.org_id, %(id)s::uuid, m.id FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(parents)s::uuid[]) AND m.id <> %(id)s::uuid
  AND EXISTS (SELECT FROM weft.memory_lineage l WHERE l.org_id = m.org_id AND l.child = %(id)s::uuid)
ON CONFLICT DO NOTHING;

-- name: free
-- It was derived, and now a person said it: it rests on nothing else any more.
DELETE FROM weft.memory_lineage l WHERE l.org_id = %(org_id)s::uuid AND l.child = %(id)s::uuid;

-- name: inherit
-- Labels of what a memory was made of are its own.
UPDATE weft.memories m SET labels = s.labels
FROM (SELECT c.id, array_agg(DISTINCT l.label ORDER BY l.label) AS labels
      FROM weft.memories c
        CROSS JOIN LATERAL (
          SELECT unnest(c.labels) AS label
          UNION SELECT unnest(p.labels) FROM weft.memory_lineage x JOIN weft.memories p ON p.org_id = x.org_id AND p.id = x.parent
            WHERE x.org_id = c.org_id AND x.child = c.id) l
      WHERE c.org_id = %(org_id)s::uuid AND c.id = ANY(%(ids)s::uuid[]) GROUP BY c.id) s
WHERE m.org_id = %(org_id)s::uuid AND m.id = s.id AND m.labels <> s.labels;

-- name: concluded
-- Facts that were concluded from a memory, also those that were retracted since.
SELECT f.memory_id::text AS id, f.subject, f.predicate, f.object
FROM weft.memory_lineage l JOIN weft.memory_facts f ON f.org_id = l.org_id AND f.memory_id = l.child
WHERE l.org_id = %(org_id)s::uuid AND l.parent = %(id)s::uuid;

-- name: distrust
-- Nobody sees these any more; as facts they hold no longer.
WITH hidden AS (
    UPDATE weft.memories m SET trust = 0 WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.trust > 0 RETURNING m.id),
  facts AS (
    UPDATE weft.memory_facts f SET live = false, retraction = 'quarantined' FROM hidden
    WHERE f.org_id = %(org_id)s::uuid AND f.memory_id = hidden.id AND f.live)
SELECT hidden.id::text FROM hidden;
