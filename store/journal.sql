-- name: known_events
-- Those that are there already, by their number. Two events of a run are the same when they are of one type, place and moment.
SELECT x.n FROM json_to_recordset(%(events)s::json) AS x(n int, run_id uuid, type text, position text, at timestamptz)
JOIN weft.events e ON e.org_id = %(org_id)s::uuid AND e.run_id = x.run_id AND e.type = x.type AND e.position IS NOT DISTINCT FROM x.position AND e.at = x.at;

-- name: known_ends
-- Runs that were put down as told, under the fence of who told it.
SELECT r.id::text AS run_id FROM json_to_recordset(%(settles)s::json) AS x(run_id uuid, fence bigint, state text)
JOIN weft.runs r ON r.org_id = %(org_id)s::uuid AND r.id = x.run_id AND r.fence = x.fence
WHERE r.state = x.state OR (x.state = 'waiting' AND r.state = 'queued');   -- woken since

-- name: record
-- The steps and events that transitions of many runs leave behind, in one statement, for the runs whose fence still is the one their driver
-- got; the answer names them. JSON values travel as text inside the lists: json_to_recordset reads every escape in what it is given, and
-- would refuse a NUL or half a surrogate pair in somebody's data. The statements below follow in the same transaction, each only when there
-- is something for it: one statement for everything spends most of its time on tables that it does not touch. Run ids are an array beside
-- the lists: of a function's rows the planner knows nothing, and it would rather read all runs of the organization than look these up.
WITH driven AS (      -- FOR SHARE: a claim that would raise the fence waits until we are done, or we see its fence
    SELECT r.org_id, r.id FROM weft.runs r
    WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.state = 'running'
      AND r.fence = (%(fences)s::bigint[])[array_position(%(run_ids)s::uuid[], r.id)]
    ORDER BY r.id FOR SHARE OF r),
  steps AS (
    INSERT INTO weft.node_runs AS n (org_id, run_id, position, attempt, node_id, node_type, state, seq, series, effect, effect_key, input, output,
                                     input_digest, output_digest, error, taken, vars, undo, started_at, finished_at, retry_at)
    SELECT d.org_id, x.run_id, x.position, x.attempt, x.node_id, x.node_type, x.state, x.seq, coalesce(x.series, 1), x.effect, x.effect_key,
           x.input::json, x.output::json, decode(x.input_digest, 'hex'), decode(x.output_digest, 'hex'), x.error::json, x.taken::json, x.vars::json,
           x.undo::json, x.started_at, x.finished_at, x.retry_at
    FROM json_to_recordset(%(node_runs)s::json) AS x(run_id uuid, position text, attempt int, node_id text, node_type text, state text, seq bigint,
         series int, effect text, effect_key text, input text, output text, input_digest text, output_digest text, error text, taken text, vars text,
         undo text, started_at timestamptz, finished_at timestamptz, retry_at timestamptz)
    JOIN driven d ON d.id = x.run_id
    ON CONFLICT (org_id, run_id, position, attempt) DO UPDATE SET state = excluded.state, seq = excluded.seq,
      series = greatest(excluded.series, n.series), effect = coalesce(excluded.effect, n.effect), effect_key = coalesce(excluded.effect_key, n.effect_key),
      input = CASE WHEN excluded.input IS NULL AND excluded.input_digest IS NULL THEN n.input ELSE excluded.input END,
      input_digest = CASE WHEN excluded.input IS NULL THEN coalesce(excluded.input_digest, n.input_digest) END,
      output = excluded.output, output_digest = excluded.output_digest, error = excluded.error, taken = excluded.taken, vars = coalesce(excluded.vars, n.vars),
      undo = coalesce(excluded.undo, n.undo), finished_at = excluded.finished_at, retry_at = excluded.retry_at),
  happenings AS (
    INSERT INTO weft.events (org_id, run_id, at, type, level, position, message, data)
    SELECT d.org_id, x.run_id, x.at, x.type, x.level, x.position, x.message, x.data::json
    FROM json_to_recordset(%(events)s::json) AS x(n int, run_id uuid, at timestamptz, type text, level text, position text, message text, data text)
    JOIN driven d ON d.id = x.run_id ORDER BY x.n)
SELECT d.id::text AS run_id FROM driven d;

-- name: begin_waits
-- A wait is recorded once; replaying the step finds it. A task stands for a wait that a person ends. `told_at`: what the driver took for
-- now when it worked out a length of time; the clock of the database may have been set since, and is the one that counts.
WITH waiting AS (
    INSERT INTO weft.waits (org_id, run_id, position, kind, due_at, lasting, event_name, correlation)
    SELECT d.org_id, x.run_id, x.position, x.kind, coalesce(clock_timestamp() + (x.due_at - x.told_at), x.due_at),
           x.told_at IS NOT NULL, x.event_name, x.correlation
    FROM json_to_recordset(%(waits)s::json) AS x(run_id uuid, fence bigint, position text, kind text, due_at timestamptz, told_at timestamptz, event_name text,
         correlation text)
    JOIN weft.runs d ON d.org_id = %(org_id)s::uuid AND d.id = ANY(%(run_ids)s::uuid[]) AND d.id = x.run_id AND d.fence = x.fence
    AND d.state = 'running' ON CONFLICT DO NOTHING)
INSERT INTO weft.tasks (org_id, id, run_id, position, kind, title, description, form, assign_to, priority, due_at)
SELECT d.org_id, x.id, x.run_id, x.position, x.kind, x.title, x.description, x.form::json, x.assign_to::json, x.priority,
       coalesce(clock_timestamp() + (x.due_at - x.told_at), x.due_at)
FROM json_to_recordset(%(tasks)s::json) AS x(id uuid, run_id uuid, fence bigint, position text, kind text, title text, description text, form text,
     assign_to text, priority text, due_at timestamptz, told_at timestamptz)
JOIN weft.runs d ON d.org_id = %(org_id)s::uuid AND d.id = ANY(%(run_ids)s::uuid[]) AND d.id = x.run_id AND d.fence = x.fence
    AND d.state = 'running' ON CONFLICT DO NOTHING;

-- name: begin_children
-- A child waits its turn like any other start: its delay, and the place under its concurrency key, which a claim gives it.
INSERT INTO weft.runs (org_id, id, workflow_id, version, digest, name, mode, input, input_digest, parent_run_id, parent_position, depth, priority,
                       concurrency_key, concurrency_limit, begin_at, deadline_at, created_by, private_to, wake_at)
SELECT d.org_id, x.id, x.workflow_id, x.version, decode(x.digest, 'hex'), x.name, x.mode, coalesce(x.input, 'null')::json,
       decode(x.input_digest, 'hex'), x.run_id, x.parent_position, x.depth, x.priority, x.concurrency_key, x.concurrency_limit,
       m.begin_at, m.deadline_at, x.created_by, d.private_to, least(coalesce(m.begin_at, clock_timestamp()), m.deadline_at)
FROM json_to_recordset(%(children)s::json) AS x(id uuid, run_id uuid, fence bigint, workflow_id uuid, version int, digest text, name text, mode text,
     input text, input_digest text, parent_position text, depth int, priority int, timeout double precision, delay double precision,
     deadline timestamptz, concurrency_key text, concurrency_limit int, created_by uuid)
CROSS JOIN LATERAL (SELECT clock_timestamp() + make_interval(secs => x.delay) AS begin_at,
     least(clock_timestamp() + make_interval(secs => coalesce(x.delay, 0) + x.timeout), x.deadline) AS deadline_at) AS m
JOIN weft.runs d ON d.org_id = %(org_id)s::uuid AND d.id = ANY(%(run_ids)s::uuid[]) AND d.id = x.run_id AND d.fence = x.fence
    AND d.state = 'running' ON CONFLICT DO NOTHING;

-- name: save_checkpoints
INSERT INTO weft.checkpoints AS c (org_id, thread_id, ns, id, parent_id, kind, body, metadata)
SELECT d.org_id, x.thread_id, x.ns, x.id, x.parent_id, x.kind, decode(x.body, 'base64'), x.metadata::json
FROM json_to_recordset(%(checkpoints)s::json) AS x(run_id uuid, fence bigint, thread_id text, ns text, id text, parent_id text, kind text, body text,
     metadata text)
JOIN weft.runs d ON d.org_id = %(org_id)s::uuid AND d.id = ANY(%(run_ids)s::uuid[]) AND d.id = x.run_id AND d.fence = x.fence
    AND d.state = 'running'
ON CONFLICT (org_id, thread_id, ns, id) DO UPDATE SET kind = excluded.kind, body = excluded.body, metadata = excluded.metadata;

-- name: store_payloads
-- Large values, before the rows that refer to them. One that is there already is touched, so that housekeeping lets it live (store/payloads.sql).
INSERT INTO weft.payloads AS p (org_id, digest, body, size)
SELECT %(org_id)s::uuid, decode(x.digest, 'hex'), x.body::json, x.size
FROM json_to_recordset(%(payloads)s::json) AS x(digest text, body text, size int)
ON CONFLICT (org_id, digest) DO UPDATE SET created_at = clock_timestamp() WHERE p.created_at < clock_timestamp() - interval '10 minutes';

-- name: note_endings
-- How these runs end once their compensation is done.
UPDATE weft.runs r SET ending = x.ending::json
FROM json_to_recordset(%(endings)s::json) AS x(run_id uuid, fence bigint, ending text)
WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.id = x.run_id AND r.fence = x.fence AND r.state = 'running';

-- name: mark_compensated
UPDATE weft.node_runs n SET state = 'compensated'
FROM json_to_recordset(%(compensated)s::json) AS x(run_id uuid, fence bigint, position text, attempt int)
JOIN weft.runs d ON d.org_id = %(org_id)s::uuid AND d.id = ANY(%(run_ids)s::uuid[]) AND d.id = x.run_id AND d.fence = x.fence AND d.state = 'running'
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = x.run_id AND n.position = x.position AND n.attempt = x.attempt;

-- name: settle
-- A run ends or is put down. Parking names the signal it has seen: if another came meanwhile the run stays with its driver.
UPDATE weft.runs r SET state = x.state, output = x.output::json, output_digest = decode(x.output_digest, 'hex'), error = x.error::json,
  worker = NULL, lease_until = NULL, claims = 0,
  wake_at = CASE WHEN x.wake_now THEN clock_timestamp() WHEN r.ending IS NOT NULL THEN clock_timestamp() + (x.wake_at - x.told_at)
                 ELSE least(clock_timestamp() + (x.wake_at - x.told_at), r.deadline_at) END,  -- while it is undone no deadline counts
  request = CASE WHEN x.state = 'waiting' THEN r.request END,
  finished_at = CASE WHEN x.state IN ('succeeded', 'failed', 'cancelled') THEN clock_timestamp() END,
  ending = CASE WHEN x.state NOT IN ('succeeded', 'failed', 'cancelled') THEN r.ending END,
  admitted = r.admitted AND x.state NOT IN ('succeeded', 'failed', 'cancelled'),
  dead_at = CASE WHEN x.dead THEN clock_timestamp() END
FROM json_to_recordset(%(settles)s::json) AS x(run_id uuid, fence bigint, state text, output text, output_digest text, error text,
     wake_at timestamptz, told_at timestamptz, wake_now boolean, signal bigint, dead boolean)
WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.id = x.run_id AND r.fence = x.fence AND r.state = 'running'
  AND (x.signal IS NULL OR r.signal = x.signal)
RETURNING r.id::text AS run_id;

-- name: close_finished
-- What a finished run leaves open is closed, and a parent that waits for it is woken. Follows `settle` in the same transaction.
WITH finished AS (
    SELECT r.id, r.state, r.output, r.output_digest, r.error, r.parent_run_id, r.parent_position, r.concurrency_key FROM weft.runs r
    WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.finished_at IS NOT NULL),
  closed_steps AS (   -- what was under way ended with the run; whether a call that must not be repeated took effect, nobody knows
    UPDATE weft.node_runs n SET state = CASE WHEN n.state = 'running' AND n.effect = 'write-once' THEN 'ambiguous' ELSE 'cancelled' END, finished_at = clock_timestamp() FROM finished f
    WHERE n.org_id = %(org_id)s::uuid AND n.run_id = ANY(%(run_ids)s::uuid[]) AND n.run_id = f.id AND n.state IN ('running', 'waiting', 'retrying')
      AND NOT EXISTS (SELECT FROM weft.node_runs l WHERE l.org_id = n.org_id AND l.run_id = n.run_id AND l.position = n.position AND l.attempt > n.attempt)),
  closed_waits AS (
    UPDATE weft.waits w SET state = 'cancelled', resolved_at = clock_timestamp() FROM finished f
    WHERE w.org_id = %(org_id)s::uuid AND w.run_id = ANY(%(run_ids)s::uuid[]) AND w.run_id = f.id AND w.state = 'open'),
  closed_tasks AS (
    UPDATE weft.tasks t SET state = 'cancelled' FROM finished f WHERE t.org_id = %(org_id)s::uuid AND t.run_id = ANY(%(run_ids)s::uuid[])
      AND t.run_id = f.id AND t.state = 'open'),
  answered AS (
    UPDATE weft.waits w SET state = 'resolved', resolved_at = clock_timestamp(),
      payload = json_build_object('run_id', f.id, 'state', f.state, 'error', f.error, 'output', coalesce(f.output,
        (SELECT p.body FROM weft.payloads p WHERE p.org_id = %(org_id)s::uuid AND p.digest = f.output_digest)))
    FROM finished f WHERE w.org_id = %(org_id)s::uuid AND w.run_id = f.parent_run_id AND w.position = f.parent_position AND w.state = 'open'
    RETURNING w.run_id),
  first AS (          -- who stands first before a concurrency key of which a place is free now (weft.line_up put them aside); never one of the
    SELECT n.id FROM (SELECT f.concurrency_key, count(*) AS places FROM finished f WHERE f.concurrency_key IS NOT NULL GROUP BY 1) AS free
    CROSS JOIN LATERAL (    -- orphans: a row is changed once in a statement
      SELECT q.id FROM weft.runs q WHERE q.org_id = %(org_id)s::uuid AND q.concurrency_key = free.concurrency_key AND q.state = 'queued'
        AND NOT q.admitted AND q.begin_at IS NULL AND coalesce(q.parent_run_id <> ALL (%(run_ids)s::uuid[]), true)
      ORDER BY -q.priority, q.id LIMIT free.places FOR UPDATE OF q SKIP LOCKED) AS n),
  called AS (
    UPDATE weft.runs q SET wake_at = clock_timestamp() FROM first
    WHERE q.org_id = %(org_id)s::uuid AND q.id = first.id AND coalesce(q.wake_at > clock_timestamp(), true) RETURNING q.id),
  touched AS (        -- parents, and children nobody waits for any more; one may be both, and a row is changed once in a statement
    SELECT t.id, bool_or(t.orphan) AS orphan
    FROM (SELECT a.run_id AS id, false AS orphan FROM answered a
          UNION ALL
          SELECT c.id, true FROM finished f JOIN weft.runs c ON c.parent_run_id = f.id
          WHERE c.org_id = %(org_id)s::uuid AND c.parent_run_id = ANY(%(run_ids)s::uuid[]) AND c.finished_at IS NULL) AS t
    GROUP BY t.id),
  told AS (
    UPDATE weft.runs p SET signal = p.signal + 1, request = CASE WHEN t.orphan THEN 'cancel' ELSE p.request END,
      state = CASE WHEN t.orphan AND p.state = 'paused' THEN 'queued' ELSE p.state END,
      wake_at = CASE WHEN p.state IN ('waiting', 'queued') OR (t.orphan AND p.state = 'paused') THEN clock_timestamp() ELSE p.wake_at END
    FROM touched t WHERE p.org_id = %(org_id)s::uuid AND p.id = t.id AND NOT (t.orphan AND p.finished_at IS NOT NULL) RETURNING p.id)
SELECT id::text AS run_id FROM called UNION ALL SELECT id::text FROM told;

-- name: drop_checkpoints
-- A run that has ended goes on from none.
WITH ended AS (
    SELECT r.id::text AS thread_id FROM weft.runs r
    WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.finished_at IS NOT NULL),
  writes AS (DELETE FROM weft.checkpoint_writes w USING ended e WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = e.thread_id)
DELETE FROM weft.checkpoints c USING ended e WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = e.thread_id;
