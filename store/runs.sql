-- name: start
-- A run begins as queued, or already leased by the process that starts it (the inline fast path). With an idempotency key the first
-- start wins and later ones get its run.
WITH started AS (
    INSERT INTO weft.runs (org_id, id, workflow_id, version, digest, name, mode, mocks, input, idempotency_key, priority, deadline_at, created_by,
                           state, worker, fence, lease_until, wake_at, started_at)
    VALUES (%(org_id)s::uuid, %(id)s::uuid, %(workflow_id)s::uuid, %(version)s::int, %(digest)s::bytea, %(name)s::text, %(mode)s::text, %(mocks)s::json,
            %(input)s::json, %(idempotency_key)s::text, %(priority)s::smallint, clock_timestamp() + make_interval(secs => %(timeout)s::double precision),
            %(created_by)s::uuid,
            CASE WHEN %(worker)s::bigint IS NULL THEN 'queued' ELSE 'running' END, %(worker)s::bigint, CASE WHEN %(worker)s::bigint IS NULL THEN 0 ELSE 1 END,
            CASE WHEN %(worker)s::bigint IS NULL THEN NULL ELSE clock_timestamp() + %(lease)s::interval END,
            CASE WHEN %(worker)s::bigint IS NULL THEN clock_timestamp() END, CASE WHEN %(worker)s::bigint IS NULL THEN NULL ELSE clock_timestamp() END)
    ON CONFLICT (org_id, workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, input, version),
  told AS (
    INSERT INTO weft.events (org_id, run_id, type, level, message)
    SELECT %(org_id)s::uuid, id, 'run.created', 'business', 'Started by ' || %(actor)s::text FROM started)
SELECT id::text AS run_id, true AS created, input, clock_timestamp() AS now FROM started
UNION ALL
SELECT r.id::text, false, r.input, clock_timestamp() FROM weft.runs r
WHERE NOT EXISTS (SELECT FROM started) AND r.org_id = %(org_id)s::uuid AND r.workflow_id = %(workflow_id)s::uuid
  AND r.idempotency_key = %(idempotency_key)s::text;

-- name: get
SELECT r.id::text, r.name AS workflow, r.version, r.mode, r.state, r.request, r.input, r.output, r.error, r.parent_run_id::text, r.created_at, r.started_at,
       r.finished_at, r.deadline_at, r.signal,
       (SELECT count(*) FROM weft.node_runs n WHERE n.org_id = r.org_id AND n.run_id = r.id AND n.state = 'succeeded')::int AS steps_done,
       coalesce((SELECT json_agg(json_strip_nulls(json_build_object('position', w.position, 'kind', w.kind, 'due_at', w.due_at, 'event_name', w.event_name,
                   'correlation', w.correlation, 'task_id', t.id, 'title', t.title,
                   'child_run_id', (SELECT c.id FROM weft.runs c WHERE c.org_id = w.org_id AND c.parent_run_id = w.run_id AND c.parent_position = w.position)))
                 ORDER BY w.created_at)
           FROM weft.waits w LEFT JOIN weft.tasks t ON t.org_id = w.org_id AND t.run_id = w.run_id AND t.position = w.position
           WHERE w.org_id = r.org_id AND w.run_id = r.id AND w.state = 'open'), '[]'::json) AS waiting_for
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid;

-- name: list
-- Newest first; `before` is the id of the last row of the page before.
SELECT r.id::text, r.name AS workflow, r.version, r.mode, r.state, r.request, r.error, r.parent_run_id::text, r.created_at, r.started_at, r.finished_at
FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(state)s::text IS NULL OR r.state = %(state)s::text)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text)
  AND (%(before)s::uuid IS NULL OR r.id < %(before)s::uuid)
ORDER BY r.id DESC LIMIT %(limit)s::int;

-- name: count
SELECT count(*)::int AS total FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(state)s::text IS NULL OR r.state = %(state)s::text)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text);

-- name: load
-- What a driver needs to know of the run it has claimed.
SELECT r.id::text, r.name, r.workflow_id::text, r.version, encode(r.digest, 'hex') AS digest, r.mode, r.mocks, r.input, r.depth, r.request, r.claims,
       r.deadline_at, r.started_at, r.created_at, r.created_by::text, r.priority, r.signal
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid;

-- name: definition
SELECT d.body FROM weft.definitions d WHERE d.org_id = %(org_id)s::uuid AND d.digest = decode(%(digest)s::text, 'hex');

-- name: cancel
-- The engine does the cancelling, so that there is one way to end a run; this asks for it and wakes it.
UPDATE weft.runs r SET request = 'cancel', signal = r.signal + 1,
  state = CASE WHEN r.state = 'running' THEN r.state ELSE 'queued' END,
  wake_at = CASE WHEN r.state = 'running' THEN r.wake_at ELSE clock_timestamp() END
WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND r.finished_at IS NULL
RETURNING r.id::text AS run_id;

-- name: pause
UPDATE weft.runs r SET signal = r.signal + 1,
  request = CASE WHEN r.state = 'running' THEN 'pause' END,
  state = CASE WHEN r.state = 'running' THEN r.state ELSE 'paused' END,
  wake_at = CASE WHEN r.state = 'running' THEN r.wake_at END
WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND r.state IN ('queued', 'running', 'waiting') AND r.request IS DISTINCT FROM 'cancel'
RETURNING r.id::text AS run_id;

-- name: resume
UPDATE weft.runs r SET signal = r.signal + 1, request = NULL,
  state = CASE WHEN r.state = 'paused' THEN 'queued' ELSE r.state END,
  wake_at = CASE WHEN r.state = 'paused' THEN clock_timestamp() ELSE r.wake_at END
WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND (r.state = 'paused' OR r.request = 'pause')
RETURNING r.id::text AS run_id;

-- name: retry
-- Steps that were under way or failed may be tried again, which retry_at says; what succeeded stays.
WITH reopened AS (
    UPDATE weft.runs r SET state = 'queued', request = NULL, error = NULL, output = NULL, finished_at = NULL, wake_at = clock_timestamp(), claims = 0,
      deadline_at = clock_timestamp() + (r.deadline_at - r.created_at), signal = r.signal + 1
    WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND r.state IN ('failed', 'cancelled')
    RETURNING r.id),
  steps AS (
    UPDATE weft.node_runs n SET state = CASE WHEN n.state = 'failed' THEN 'failed' ELSE 'cancelled' END,
      finished_at = coalesce(n.finished_at, clock_timestamp()), retry_at = clock_timestamp() FROM reopened
    WHERE n.org_id = %(org_id)s::uuid AND n.run_id = reopened.id
      AND (n.state IN ('running', 'waiting', 'retrying', 'cancelled') OR (n.state = 'failed' AND n.taken IS NULL))
      AND NOT EXISTS (SELECT FROM weft.node_runs l WHERE l.org_id = n.org_id AND l.run_id = n.run_id AND l.position = n.position AND l.attempt > n.attempt))
SELECT id::text AS run_id FROM reopened;

-- name: hand_back
-- A run its driver had to let go (Postgres did not answer) goes back to the queue, unless somebody has taken it already.
UPDATE weft.runs r SET state = 'queued', worker = NULL, lease_until = NULL, wake_at = clock_timestamp()
WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND r.fence = %(fence)s::bigint AND r.state = 'running';

-- name: notify
-- Tells every process that listens to look at a run; a lost notice only costs the time until the next look.
SELECT pg_notify('weft', %(org_id)s::text || ' ' || %(run_id)s::text);

-- name: claim
SELECT org_id::text, id::text, fence, signal, claims, recovered, now
FROM weft.claim_runs(%(slots)s::int, %(worker)s::bigint, %(lease)s::interval, %(at)s::timestamptz);

-- name: renew
SELECT org_id::text, id::text, fence, signal, request FROM weft.renew_leases(%(worker)s::bigint, %(run_ids)s::uuid[], %(lease)s::interval, %(at)s::timestamptz);
