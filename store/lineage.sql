-- name: children
-- What was made of these, each with all that it was made of; `seen`: what of that is not hidden. `described`: an entity of which it is told what it is, perhaps by one of these.
SELECT m.id::text, m.kind, (SELECT array_agg(p.parent::text) FROM weft.memory_lineage p WHERE p.org_id = m.org_id AND p.child = m.id) AS parents,
  coalesce((SELECT array_agg(p.id::text) FROM weft.memory_lineage l JOIN weft.memories p ON p.org_id = l.org_id AND p.id = l.parent
            WHERE l.org_id = m.org_id AND l.child = m.id AND p.trust > 0), '{}') AS seen,
  m.kind IN ('entity', 'node') AND (m.data ->> 'description' IS NOT NULL OR coalesce(json_array_length(m.data -> 'aliases'), 0) > 0
    OR coalesce(m.data ->> 'attributes', '{}') <> '{}') AND m.trust <= (SELECT max(p.trust) FROM weft.memory_lineage l
      JOIN weft.memories p ON p.org_id = l.org_id AND p.id = l.parent
      WHERE l.org_id = m.org_id AND l.child = m.id AND l.parent = ANY(%(ids)s::uuid[])) AS described
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
-- Nobody sees these any more; as facts they hold no longer. What they were is kept beside them, and which of them were meant themselves.
WITH old AS (
    SELECT m.id, m.trust FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.trust > 0 FOR UPDATE),
  hidden AS (
    UPDATE weft.memories m SET trust = 0 FROM old WHERE m.org_id = %(org_id)s::uuid AND m.id = old.id RETURNING m.id),
  noted AS (
    INSERT INTO weft.memory_quarantines (org_id, memory_id, trust, held, meant, reason, by_user)
    SELECT %(org_id)s::uuid, old.id, old.trust, coalesce(f.live, false), old.id = ANY(%(meant)s::uuid[]), %(reason)s::text, %(by_user)s::uuid
    FROM old LEFT JOIN weft.memory_facts f ON f.org_id = %(org_id)s::uuid AND f.memory_id = old.id
    ON CONFLICT (org_id, memory_id) DO UPDATE SET trust = excluded.trust, held = excluded.held, meant = excluded.meant,
      reason = excluded.reason, by_user = excluded.by_user, at = excluded.at),
  again AS (                                       -- hidden already, with something else: from now on for its own sake
    INSERT INTO weft.memory_quarantines (org_id, memory_id, trust, meant, reason, by_user)
    SELECT %(org_id)s::uuid, m.id, 1, true, %(reason)s::text, %(by_user)s::uuid FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(meant)s::uuid[]) AND m.trust = 0
    ON CONFLICT (org_id, memory_id) DO UPDATE SET meant = true),
  facts AS (
    UPDATE weft.memory_facts f SET live = false, retraction = 'quarantined' FROM old
    WHERE f.org_id = %(org_id)s::uuid AND f.memory_id = old.id AND f.live)
SELECT hidden.id::text FROM hidden;

-- name: pieces
-- Pieces of documents.
SELECT c.id::text FROM weft.memory_lineage l JOIN weft.memories c ON c.org_id = l.org_id AND c.id = l.child
WHERE l.org_id = %(org_id)s::uuid AND l.parent = ANY(%(ids)s::uuid[]) AND c.kind = 'chunk';

-- name: hidden
-- Of these and what was made of them, all that nobody sees, each with what it was made of that nobody sees either.
WITH RECURSIVE below AS (
    SELECT m.id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[])
    UNION
    SELECT l.child FROM weft.memory_lineage l JOIN below b ON l.parent = b.id WHERE l.org_id = %(org_id)s::uuid)
SELECT m.id::text, m.kind,
  coalesce((SELECT array_agg(p.id::text) FROM weft.memory_lineage l JOIN weft.memories p ON p.org_id = l.org_id AND p.id = l.parent
            WHERE l.org_id = m.org_id AND l.child = m.id AND p.trust = 0), '{}') AS parents,
  coalesce((SELECT array_agg(p.id::text) FROM weft.memory_lineage l JOIN weft.memories p ON p.org_id = l.org_id AND p.id = l.parent
            WHERE l.org_id = m.org_id AND l.child = m.id AND p.trust > 0), '{}') AS seen,
  EXISTS (SELECT FROM weft.memory_quarantines q WHERE q.org_id = m.org_id AND q.memory_id = m.id AND q.meant) AS meant
FROM below b JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = b.id WHERE m.trust = 0;

-- name: resting
-- Those of them that say one thing and rest on something.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.kind = ANY(%(kinds)s::text[])
  AND EXISTS (SELECT FROM weft.memory_lineage l WHERE l.org_id = m.org_id AND l.child = m.id);

-- name: visible
-- Those of them that are not hidden.
SELECT m.id::text FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.trust > 0;

-- name: trust
-- They are seen again, trusted as before; what was made while its parents were hidden as something from outside. A fact is held again unless
-- another one has taken its time.
WITH shown AS (
    SELECT m.id, coalesce(q.trust, 1) AS trust, coalesce(q.held, false) AS held FROM weft.memories m
      LEFT JOIN weft.memory_quarantines q ON q.org_id = m.org_id AND q.memory_id = m.id
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.trust = 0),
  gone AS (
    DELETE FROM weft.memory_quarantines q USING shown WHERE q.org_id = %(org_id)s::uuid AND q.memory_id = shown.id),
  facts AS (
    UPDATE weft.memory_facts f SET live = true, retraction = NULL FROM shown
    WHERE f.org_id = %(org_id)s::uuid AND f.memory_id = shown.id AND shown.held AND NOT EXISTS (
      SELECT FROM weft.memory_facts o WHERE f.single AND o.org_id = f.org_id AND o.scope_id = f.scope_id AND o.subject = f.subject
        AND o.predicate = f.predicate AND o.vouched = f.vouched AND o.single AND o.live AND o.valid && f.valid)
    RETURNING f.memory_id),
  late AS (
    SELECT s.id FROM shown s WHERE s.held AND s.id NOT IN (SELECT memory_id FROM facts))
UPDATE weft.memories m SET trust = shown.trust,
  retracted_at = CASE WHEN EXISTS (SELECT FROM late WHERE late.id = m.id) THEN coalesce(m.retracted_at, clock_timestamp()) ELSE m.retracted_at END
FROM shown WHERE m.org_id = %(org_id)s::uuid AND m.id = shown.id RETURNING m.id::text;
