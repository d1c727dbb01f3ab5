-- name: after
-- Numbered within the run: the column counts over all organizations, and would tell one how busy the others are. Events are only ever added
-- at the end of a run's list, since whoever adds one holds a lock on the run.
SELECT %(after)s::bigint + row_number() OVER (ORDER BY later.seq) AS seq, later.at, later.type, later.level, later.position, later.message, later.data
FROM (SELECT * FROM weft.events e WHERE e.org_id = %(org_id)s::uuid AND e.run_id = %(run_id)s::uuid
      ORDER BY e.seq OFFSET %(after)s::bigint LIMIT %(limit)s::int) AS later
ORDER BY later.seq;

-- name: append
INSERT INTO weft.events (org_id, run_id, type, level, position, message, data)
VALUES (%(org_id)s::uuid, %(run_id)s::uuid, %(type)s::text, 'business', %(position)s::text, %(message)s::text, %(data)s::json);
