-- name: tried
-- Every attempt of every step of a run with all its values, in the order in which they settled.
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.series, n.effect, n.effect_key,
       coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
       coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output,
       n.error, n.taken, n.vars, n.undo, encode(n.input_digest, 'hex') AS input_digest, encode(n.output_digest, 'hex') AS output_digest,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest) AS input_size,
       (SELECT p.size FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest) AS output_size,
       n.started_at, n.finished_at, n.retry_at
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid
ORDER BY n.seq, n.position, n.attempt LIMIT %(limit)s::int;

-- name: weight
-- How much there is to read: attempts, and characters of their values, those kept beside the rows included.
SELECT count(*)::int AS attempts, coalesce(sum(coalesce(length(n.input::text), 0) + coalesce(length(n.output::text), 0)
         + coalesce((SELECT sum(p.size) FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest IN (n.input_digest, n.output_digest)), 0)), 0)::bigint
         AS characters
FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid;

-- name: marks
-- What the events of a run say that its steps do not: with what it began, which boundaries fired when, what people did to it, whether
-- words of it were forgotten, and what a replay made up. `after`: steps that had ended before.
SELECT m.type, m.position, m.message, m.data, m.after::int AS after
FROM (SELECT e.type, e.position, e.message, e.data,
             count(*) FILTER (WHERE e.type IN ('step.succeeded', 'step.failed', 'step.retrying', 'step.cancelled')) OVER (ORDER BY e.seq) AS after
      FROM weft.events e WHERE e.org_id = %(org_id)s::uuid AND e.run_id = %(run_id)s::uuid) AS m
WHERE m.type IN ('run.started', 'boundary.fired', 'run.skip_requested', 'run.redacted')
   OR (m.type = 'step.progress' AND m.message = %(simulated)s::text)
ORDER BY m.after;
