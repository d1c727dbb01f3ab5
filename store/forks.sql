-- name: lock
-- Nothing is added to the journal of the run until the transaction ends.
SELECT r.id::text AS run_id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(run_id)s::uuid FOR NO KEY UPDATE;

-- name: outline
-- The last attempt of every step without what it was given and gave, in the order in which they settled.
SELECT n.position, n.attempt, n.node_id, n.node_type, n.state, n.seq, n.taken, n.started_at, n.finished_at
FROM (SELECT DISTINCT ON (l.position) l.* FROM weft.node_runs l WHERE l.org_id = %(org_id)s::uuid AND l.run_id = %(run_id)s::uuid
      ORDER BY l.position, l.attempt DESC LIMIT %(limit)s::int) AS n
ORDER BY n.seq;

-- name: copy
-- Takes over what stays of a run's journal, without its values leaving the database. The edges of a step whose output was edited are decided
-- again; a group that is entered again is under way from now on. Effects and what would undo them stay with the run that made them: two runs
-- must not both take them back.
INSERT INTO weft.node_runs (org_id, run_id, position, attempt, series, node_id, node_type, state, seq, input, input_digest, output, output_digest,
                            error, taken, vars, started_at, finished_at)
SELECT n.org_id, %(fork_id)s::uuid, n.position, n.attempt, n.series, n.node_id, n.node_type,
       CASE k.how WHEN 'edited' THEN 'succeeded' WHEN 'entered' THEN 'running' ELSE n.state END, n.seq,
       CASE WHEN k.anew THEN k.input::json ELSE n.input END, CASE WHEN k.anew THEN decode(k.input_digest, 'hex') ELSE n.input_digest END,
       CASE k.how WHEN 'edited' THEN k.output::json WHEN 'kept' THEN n.output END,
       CASE k.how WHEN 'edited' THEN decode(k.output_digest, 'hex') WHEN 'kept' THEN n.output_digest END,
       CASE k.how WHEN 'kept' THEN n.error END, CASE k.how WHEN 'kept' THEN k.taken::json END, n.vars,
       CASE k.how WHEN 'entered' THEN clock_timestamp() ELSE n.started_at END,
       CASE k.how WHEN 'entered' THEN NULL ELSE coalesce(n.finished_at, clock_timestamp()) END
FROM json_to_recordset(%(kept)s::json) AS k(position text, attempt int, how text, anew boolean, taken text, input text, input_digest text,
     output text, output_digest text)
JOIN weft.node_runs n ON n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.position = k.position AND n.attempt = k.attempt;

-- name: set_vars
-- Variables that somebody changed, as if a step had assigned them after all that stays.
INSERT INTO weft.node_runs (org_id, run_id, position, attempt, node_id, node_type, state, seq, output, taken, vars, finished_at)
SELECT %(org_id)s::uuid, %(fork_id)s::uuid, '#vars', coalesce(max(n.attempt) FILTER (WHERE n.position = '#vars'), 0) + 1, '#vars', 'set', 'succeeded',
       coalesce(max(n.seq), 0) + 1, %(vars)s::json, '[]'::json, %(vars)s::json, clock_timestamp()
FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(fork_id)s::uuid;

-- name: mark
UPDATE weft.runs r SET forked_from = %(run_id)s::uuid, forked_at = %(at)s::text WHERE r.org_id = %(org_id)s::uuid AND r.id = %(fork_id)s::uuid;
