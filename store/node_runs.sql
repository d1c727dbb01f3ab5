-- name: latest
-- The last attempt of every step, in the order in which they settled: what a driver needs to go on.
SELECT * FROM (
    SELECT DISTINCT ON (n.position) n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.input, n.output, n.error, n.taken, n.vars, n.started_at,
           n.finished_at, n.retry_at
    FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid
    ORDER BY n.position, n.attempt DESC) AS latest
ORDER BY latest.seq;

-- name: trace
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.input, n.output, n.error, n.taken, n.vars, n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND (n.started_at, n.position, n.attempt) >
      (coalesce(%(after_at)s::timestamptz, '-infinity'), coalesce(%(after_position)s::text, ''), coalesce(%(after_attempt)s::int, 0))
ORDER BY n.started_at, n.position, n.attempt LIMIT %(limit)s::int;

-- name: find
-- By exact position, or by node id (then the latest).
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.input, n.output, n.error, n.taken, n.vars, n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND (n.position = %(wanted)s::text OR n.node_id = %(wanted)s::text)
ORDER BY n.position = %(wanted)s::text DESC, n.started_at DESC, n.attempt DESC LIMIT 1;

-- name: positions
SELECT DISTINCT n.position FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid ORDER BY n.position LIMIT 500;

-- name: attempt
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.input, n.output, n.error, n.taken, n.vars, n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.position = %(position)s::text AND n.attempt = %(attempt)s::int;
