-- name: begin
-- Those of the memories that nobody has looked at for this yet.
INSERT INTO weft.memory_looks (org_id, memory_id, work)
SELECT m.org_id, m.id, %(work)s::text FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (%(ids)s::uuid[]) ORDER BY m.id
ON CONFLICT (org_id, memory_id, work) DO NOTHING
RETURNING memory_id::text AS id;

-- name: finish
INSERT INTO weft.memory_looks (org_id, memory_id, work, done_at)
SELECT m.org_id, m.id, %(work)s::text, clock_timestamp() FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (%(ids)s::uuid[]) ORDER BY m.id
ON CONFLICT (org_id, memory_id, work) DO UPDATE SET done_at = excluded.done_at;

-- name: finished
SELECT l.memory_id::text AS id FROM weft.memory_looks l
WHERE l.org_id = %(org_id)s::uuid AND l.memory_id = ANY (%(ids)s::uuid[]) AND l.work = %(work)s::text AND l.done_at IS NOT NULL;

-- name: drop
-- As if nobody had looked: it came to nothing.
DELETE FROM weft.memory_looks l
WHERE l.org_id = %(org_id)s::uuid AND l.memory_id = ANY (%(ids)s::uuid[]) AND l.work = %(work)s::text AND l.done_at IS NULL;
