-- name: append
-- Everything that transitions of many runs leave behind, in one statement and one commit, for the runs whose fence still is the one
-- their driver was given. Answers with every run accepted, and whether its state change was made. JSON values travel as text inside the
-- lists: json_to_recordset reads every escape in what it is given, and would refuse a NUL or half a surrogate pair in somebody's data.
WITH driven AS (      -- FOR SHARE: a claim that would raise the fence waits until we are done, or we see its fence
    SELECT r.org_id, r.id FROM json_to_recordset(%(fences)s::json) AS f(run_id uuid, fence bigint)
    JOIN weft.runs r ON r.org_id = %(org_id)s::uuid AND r.id = f.run_id AND r.fence = f.fence AND r.state = 'running' FOR SHARE OF r),
  steps AS (
    INSERT INTO weft.node_runs AS n (org_id, run_id, position, attempt, node_id, node_type, state, seq, input, output, error, taken, vars,
                                     started_at, finished_at, retry_at)
    SELECT d.org_id, x.run_id, x.position, x.attempt, x.node_id, x.node_type, x.state, x.seq, x.input::json, x.output::json, x.error::json,
           x.taken::json, x.vars::json,
           x.started_at, x.finished_at, x.retry_at
    FROM json_to_recordset(%(node_runs)s::json) AS x(run_id uuid, position text, attempt int, node_id text, node_type text, state text, seq bigint,
         input text, output text, error text, taken text, vars text, started_at timestamptz, finished_at timestamptz, retry_at timestamptz)
    JOIN driven d ON d.id = x.run_id
    ON CONFLICT (org_id, run_id, position, attempt) DO UPDATE SET state = excluded.state, seq = excluded.seq,
      input = coalesce(excluded.input, n.input), output = excluded.output, error = excluded.error, taken = excluded.taken, vars = excluded.vars,
      finished_at = excluded.finished_at, retry_at = excluded.retry_at),
  happenings AS (
    INSERT INTO weft.events (org_id, run_id, type, level, position, message, data)
    SELECT d.org_id, x.run_id, x.type, x.level, x.position, x.message, x.data::json
    FROM json_to_recordset(%(events)s::json) AS x(n int, run_id uuid, type text, level text, position text, message text, data text)
    JOIN driven d ON d.id = x.run_id ORDER BY x.n),
  waiting AS (        -- a wait is recorded once; replaying the step finds it
    INSERT INTO weft.waits (org_id, run_id, position, kind, due_at, event_name, correlation)
    SELECT d.org_id, x.run_id, x.position, x.kind, x.due_at, x.event_name, x.correlation
    FROM json_to_recordset(%(waits)s::json) AS x(run_id uuid, position text, kind text, due_at timestamptz, event_name text, correlation text)
    JOIN driven d ON d.id = x.run_id ON CONFLICT DO NOTHING),
  asked AS (
    INSERT INTO weft.tasks (org_id, id, run_id, position, kind, title, description, form, assign_to, priority, due_at)
    SELECT d.org_id, x.id, x.run_id, x.position, x.kind, x.title, x.description, x.form::json, x.assign_to::json, x.priority, x.due_at
    FROM json_to_recordset(%(tasks)s::json) AS x(id uuid, run_id uuid, position text, kind text, title text, description text, form text,
         assign_to text, priority text, due_at timestamptz)
    JOIN driven d ON d.id = x.run_id ON CONFLICT DO NOTHING),
  born AS (
    INSERT INTO weft.runs (org_id, id, workflow_id, version, digest, name, mode, input, parent_run_id, parent_position, depth, priority,
                           deadline_at, created_by, wake_at)
    SELECT d.org_id, x.id, x.workflow_id, x.version, decode(x.digest, 'hex'), x.name, x.mode, x.input::json, x.run_id, x.parent_position, x.depth,
           x.priority, clock_timestamp() + make_interval(secs => x.timeout), x.created_by, clock_timestamp()
    FROM json_to_recordset(%(children)s::json) AS x(id uuid, run_id uuid, workflow_id uuid, version int, digest text, name text, mode text,
         input text, parent_position text, depth int, priority int, timeout double precision, created_by uuid)
    JOIN driven d ON d.id = x.run_id ON CONFLICT DO NOTHING),
  saved AS (
    INSERT INTO weft.checkpoints AS c (org_id, thread_id, ns, id, parent_id, kind, body, metadata)
    SELECT d.org_id, x.thread_id, x.ns, x.id, x.parent_id, x.kind, decode(x.body, 'base64'), x.metadata::json
    FROM json_to_recordset(%(checkpoints)s::json) AS x(run_id uuid, thread_id text, ns text, id text, parent_id text, kind text, body text, metadata text)
    JOIN driven d ON d.id = x.run_id
    ON CONFLICT (org_id, thread_id, ns, id) DO UPDATE SET kind = excluded.kind, body = excluded.body, metadata = excluded.metadata),
  locked AS (         -- all of `driven` is read before the first run changes: a row that this statement has changed could not be locked any more
    SELECT count(*) AS n FROM driven),
  settled AS (        -- parking names the signal it has seen: if another came meanwhile the run stays with its driver
    UPDATE weft.runs r SET state = x.state, output = x.output::json, error = x.error::json, worker = NULL, lease_until = NULL, claims = 0,
      wake_at = CASE WHEN x.wake_now THEN clock_timestamp() WHEN x.wake_at IS NULL THEN r.deadline_at ELSE least(x.wake_at, r.deadline_at) END,
      request = CASE WHEN x.state = 'waiting' THEN r.request END,
      finished_at = CASE WHEN x.state IN ('succeeded', 'failed', 'cancelled') THEN clock_timestamp() END
    FROM json_to_recordset(%(settles)s::json) AS x(run_id uuid, fence bigint, state text, output text, error text, wake_at timestamptz,
         wake_now boolean, signal bigint), locked
    WHERE locked.n > 0 AND r.org_id = %(org_id)s::uuid AND r.id = x.run_id AND r.fence = x.fence AND r.state = 'running'
      AND (x.signal IS NULL OR r.signal = x.signal)
    RETURNING r.id)
SELECT d.id::text AS run_id, EXISTS (SELECT FROM settled s WHERE s.id = d.id) AS settled FROM driven d;

-- name: close_finished
-- What a finished run leaves open is closed, and a parent that waits for it is woken. Follows `append` in the same transaction.
WITH finished AS (
    SELECT r.id, r.state, r.output, r.error, r.parent_run_id, r.parent_position FROM weft.runs r
    WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.finished_at IS NOT NULL),
  closed_steps AS (   -- what was under way ended with the run
    UPDATE weft.node_runs n SET state = 'cancelled', finished_at = clock_timestamp() FROM finished f
    WHERE n.org_id = %(org_id)s::uuid AND n.run_id = f.id AND n.state IN ('running', 'waiting', 'retrying')),
  closed_waits AS (
    UPDATE weft.waits w SET state = 'cancelled', resolved_at = clock_timestamp() FROM finished f
    WHERE w.org_id = %(org_id)s::uuid AND w.run_id = f.id AND w.state = 'open'),
  closed_tasks AS (
    UPDATE weft.tasks t SET state = 'cancelled' FROM finished f WHERE t.org_id = %(org_id)s::uuid AND t.run_id = f.id AND t.state = 'open'),
  orphans AS (        -- children nobody waits for any more
    UPDATE weft.runs c SET request = 'cancel', signal = c.signal + 1, wake_at = CASE WHEN c.state IN ('queued', 'waiting', 'paused') THEN clock_timestamp() END,
      state = CASE WHEN c.state = 'paused' THEN 'queued' ELSE c.state END
    FROM finished f WHERE c.org_id = %(org_id)s::uuid AND c.parent_run_id = f.id AND c.finished_at IS NULL),
  answered AS (
    UPDATE weft.waits w SET state = 'resolved', resolved_at = clock_timestamp(),
      payload = json_build_object('run_id', f.id, 'state', f.state, 'output', f.output, 'error', f.error)
    FROM finished f WHERE w.org_id = %(org_id)s::uuid AND w.run_id = f.parent_run_id AND w.position = f.parent_position AND w.state = 'open'
    RETURNING w.run_id)
UPDATE weft.runs p SET signal = p.signal + 1, wake_at = CASE WHEN p.state IN ('waiting', 'queued') THEN clock_timestamp() ELSE p.wake_at END
FROM answered a WHERE p.org_id = %(org_id)s::uuid AND p.id = a.run_id
RETURNING p.id::text AS run_id;
