-- name: after
SELECT e.seq, e.at, e.type, e.level, e.position, e.message, e.data FROM weft.events e
WHERE e.org_id = %(org_id)s::uuid AND e.run_id = %(run_id)s::uuid AND e.seq > %(after)s::bigint
  AND (%(level)s::text IS NULL OR e.level = %(level)s::text)
ORDER BY e.seq LIMIT %(limit)s::int;

-- name: append
INSERT INTO weft.events (org_id, run_id, type, level, position, message, data)
VALUES (%(org_id)s::uuid, %(run_id)s::uuid, %(type)s::text, 'business', %(position)s::text, %(message)s::text, %(data)s::json);
