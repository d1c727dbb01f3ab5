-- Values too large for a row are in weft.payloads. Who reads one row, or goes on with a run, gets them; a list only tells their size.

-- name: latest
-- The last attempt of every step, in the order in which they settled: what a driver needs to go on.
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.series, n.effect, n.effect_key,
       coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
       coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output,
       n.error, n.taken, n.vars, n.undo, encode(n.input_digest, 'hex') AS input_digest, encode(n.output_digest, 'hex') AS output_digest,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest) AS input_size,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest) AS output_size,
       n.started_at, n.finished_at, n.retry_at
FROM (SELECT DISTINCT ON (l.position) l.* FROM weft.node_runs l WHERE l.org_id = %(org_id)s::uuid AND l.run_id = %(run_id)s::uuid
      ORDER BY l.position, l.attempt DESC) AS n
ORDER BY n.seq;

-- name: trace
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.series, n.effect, n.effect_key,
       n.input, n.output,
       n.error, n.taken, n.vars, n.undo, encode(n.input_digest, 'hex') AS input_digest, encode(n.output_digest, 'hex') AS output_digest,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest) AS input_size,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest) AS output_size,
       n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND (n.started_at, n.position, n.attempt) >
      (coalesce(%(after_at)s::timestamptz, '-infinity'), coalesce(%(after_position)s::text, ''), coalesce(%(after_attempt)s::int, 0))
ORDER BY n.started_at, n.position, n.attempt LIMIT %(limit)s::int;

-- name: find
-- By exact position, or by node id (then the latest).
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.series, n.effect, n.effect_key,
       coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
       coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output,
       n.error, n.taken, n.vars, n.undo, encode(n.input_digest, 'hex') AS input_digest, encode(n.output_digest, 'hex') AS output_digest,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest) AS input_size,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest) AS output_size,
       n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND (n.position = %(wanted)s::text OR n.node_id = %(wanted)s::text)
ORDER BY n.position = %(wanted)s::text DESC, n.started_at DESC, n.attempt DESC LIMIT 1;

-- name: positions
SELECT DISTINCT n.position FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid ORDER BY n.position LIMIT 500;

-- name: attempt
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.series, n.effect, n.effect_key,
       coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
       coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output,
       n.error, n.taken, n.vars, n.undo, encode(n.input_digest, 'hex') AS input_digest, encode(n.output_digest, 'hex') AS output_digest,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest) AS input_size,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest) AS output_size,
       n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.position = %(position)s::text AND n.attempt = %(attempt)s::int;
