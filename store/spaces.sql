-- name: open
-- The space and its table, made when there is none like it.
SELECT weft.open_space(%(org_id)s::uuid, %(provider)s::text, %(model)s::text, %(dimensions)s::int, %(version)s::int, %(metric)s::text,
                       %(collection)s::text) AS id;

-- name: close
SELECT weft.close_space(%(org_id)s::uuid, %(space_id)s::int) AS closed;

-- name: get
SELECT s.id, s.provider, s.model, s.dimensions, s.version, s.metric, s.collection, s.state, s.created_at FROM weft.memory_spaces s
WHERE s.org_id = %(org_id)s::uuid AND s.id = %(space_id)s::int;

-- name: of_organization
SELECT s.id, s.provider, s.model, s.dimensions, s.version, s.metric, s.collection, s.state, s.created_at FROM weft.memory_spaces s
WHERE s.org_id = %(org_id)s::uuid ORDER BY s.id;

-- name: retire
-- Whatever is active, unless it is this one. A statement of its own: the unique index is looked at row by row.
UPDATE weft.memory_spaces SET state = 'retired'
WHERE org_id = %(org_id)s::uuid AND state = 'active' AND collection IS NULL AND id IS DISTINCT FROM %(space_id)s::int;

-- name: activate
UPDATE weft.memory_spaces SET state = 'active' WHERE org_id = %(org_id)s::uuid AND id = %(space_id)s::int AND collection IS NULL;

-- name: missing
-- Memories that have no vector here yet, by id. Those of kind vector bring their own, in the space of their collection.
SELECT m.id::text, m.scope_id, m.title, m.body, m.speaker, m.occurred_at FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.kind <> 'vector' AND (%(after)s::uuid IS NULL OR m.id > %(after)s::uuid)
  AND NOT EXISTS (SELECT FROM weft.memory_vectors_0 v WHERE v.org_id = m.org_id AND v.memory_id = m.id)
  AND NOT EXISTS (SELECT FROM weft.memory_entries e WHERE e.org_id = m.org_id AND e.memory_id = m.id AND NOT e.indexed)
ORDER BY m.id LIMIT %(size)s::int;

-- name: put
-- Vectors of memories that are still there: who forgets one meanwhile waits for us, or we find it gone.
INSERT INTO weft.memory_vectors_0 (org_id, memory_id, scope_id, e)
SELECT m.org_id, m.id, m.scope_id, v.e::halfvec
FROM unnest(%(ids)s::uuid[], %(vectors)s::text[]) AS v(id, e)
JOIN LATERAL (SELECT m.org_id, m.id, m.scope_id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = v.id FOR KEY SHARE) m ON true
ON CONFLICT (org_id, memory_id) DO UPDATE SET e = excluded.e;

-- name: progress
SELECT (SELECT count(*) FROM weft.memory_vectors_0 v WHERE v.org_id = %(org_id)s::uuid) AS done,
       (SELECT count(*) FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.kind <> 'vector'
          AND NOT EXISTS (SELECT FROM weft.memory_entries e WHERE e.org_id = m.org_id AND e.memory_id = m.id AND NOT e.indexed)) AS total;
