-- name: start
-- A run begins as queued, or already leased by the process that starts it (the inline fast path): not when it is delayed, has a concurrency
-- key, or its organization may only drive so many, which the claim decides. Time limits count from the beginning, which a delay puts off.
-- With an idempotency key the first start wins and later ones get its run. `while_active`: only if the version still is the active one.
WITH clock AS (SELECT coalesce(%(at)s::timestamptz, clock_timestamp()) AS now, make_interval(secs => %(delay)s::double precision) AS delay),
  moment AS (
    SELECT c.now, c.now + c.delay AS begin_at,
           least(c.now + coalesce(c.delay, interval '0') + make_interval(secs => %(timeout)s::double precision), %(deadline)s::timestamptz) AS deadline_at,
           CASE WHEN c.delay IS NULL AND %(concurrency_key)s::text IS NULL
                     AND NOT EXISTS (SELECT FROM weft.organizations o WHERE o.id = %(org_id)s::uuid AND o.max_running IS NOT NULL)
                THEN %(worker)s::bigint END AS worker
    FROM clock c
    WHERE NOT %(while_active)s::boolean OR EXISTS (
      SELECT FROM weft.workflows w WHERE w.org_id = %(org_id)s::uuid AND w.id = %(workflow_id)s::uuid AND w.name = %(name)s::text
        AND w.active_version = %(version)s::int AND w.deleted_at IS NULL)),
  started AS (
    INSERT INTO weft.runs (org_id, id, workflow_id, version, digest, name, mode, mocks, input, input_digest, idempotency_key, priority,
                           concurrency_key, concurrency_limit, depth, begin_at, deadline_at, created_by, private_to, state, worker, fence, lease_until,
                           wake_at, started_at)
    SELECT %(org_id)s::uuid, %(id)s::uuid, %(workflow_id)s::uuid, %(version)s::int, %(digest)s::bytea, %(name)s::text, %(mode)s::text, %(mocks)s::json,
           %(input)s::json, decode(%(input_digest)s::text, 'hex'), %(idempotency_key)s::text, %(priority)s::smallint,
           %(concurrency_key)s::text, %(concurrency_limit)s::int, %(depth)s::smallint, m.begin_at, m.deadline_at, %(created_by)s::uuid, %(private_to)s::uuid,
           CASE WHEN m.worker IS NULL THEN 'queued' ELSE 'running' END, m.worker, CASE WHEN m.worker IS NULL THEN 0 ELSE 1 END,
           CASE WHEN m.worker IS NOT NULL THEN m.now + %(lease)s::interval END,
           CASE WHEN m.worker IS NULL THEN least(coalesce(m.begin_at, m.now), m.deadline_at) END, CASE WHEN m.worker IS NOT NULL THEN m.now END
    FROM moment m
    ON CONFLICT (org_id, workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, input, worker, created_at, deadline_at),
  told AS (
    INSERT INTO weft.events (org_id, run_id, type, level, message)
    SELECT %(org_id)s::uuid, id, 'run.created', 'business', 'Started by ' || %(actor)s::text FROM started)
SELECT s.id::text AS run_id, true AS created, s.worker IS NOT NULL AS leased, s.input, m.now, s.created_at, s.deadline_at FROM started s, moment m
UNION ALL
SELECT r.id::text, false, false, coalesce((SELECT p.body FROM weft.payloads p WHERE p.org_id = r.org_id AND p.digest = r.input_digest), r.input),
       clock_timestamp(), r.created_at, r.deadline_at
FROM weft.runs r
WHERE NOT EXISTS (SELECT FROM started) AND r.org_id = %(org_id)s::uuid AND r.workflow_id = %(workflow_id)s::uuid
  AND r.idempotency_key = %(idempotency_key)s::text;

-- name: get
SELECT r.id::text, r.name AS workflow, r.version, r.mode, r.state, r.request,
       coalesce((SELECT p.body FROM weft.payloads p WHERE p.org_id = r.org_id AND p.digest = r.input_digest), r.input) AS input,
       coalesce(r.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = r.org_id AND p.digest = r.output_digest)) AS output,
       r.error, r.parent_run_id::text, r.created_at, r.started_at,
       r.finished_at, r.deadline_at, r.signal, r.forked_from::text, r.forked_at, r.dead_at, r.private_to::text,
       (SELECT count(*) FROM weft.node_runs n WHERE n.org_id = r.org_id AND n.run_id = r.id AND n.state = 'succeeded')::int AS steps_done,
       coalesce((SELECT json_agg(json_strip_nulls(json_build_object('position', w.position, 'kind', w.kind, 'due_at', w.due_at, 'event_name', w.event_name,
                   'correlation', w.correlation, 'task_id', t.id, 'title', t.title,
                   'child_run_id', (SELECT c.id FROM weft.runs c WHERE c.org_id = w.org_id AND c.parent_run_id = w.run_id AND c.parent_position = w.position)))
                 ORDER BY w.created_at)
           FROM weft.waits w LEFT JOIN weft.tasks t ON t.org_id = w.org_id AND t.run_id = w.run_id AND t.position = w.position
           WHERE w.org_id = r.org_id AND w.run_id = r.id AND w.state = 'open'), '[]'::json) AS waiting_for,
       (SELECT json_build_object('calls', count(*), 'input_tokens', sum(c.input_tokens), 'output_tokens', sum(c.output_tokens),
                 'cost_usd', CASE WHEN sum(coalesce(c.cost, c.reserved_cost)) > 0 OR bool_and(coalesce(c.cost, c.reserved_cost) IS NOT NULL)
                                  THEN round(sum(coalesce(c.cost, c.reserved_cost)), 6) END,
                 'unpriced', count(*) FILTER (WHERE coalesce(c.cost, c.reserved_cost) IS NULL))
        FROM weft.model_calls c WHERE c.org_id = r.org_id AND c.run_id = r.id HAVING count(*) > 0) AS spent
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid;

-- name: list
-- Newest first; `before` is the id of the last row of the page before. What is private to somebody else than `viewer` is left out.
SELECT r.id::text, r.name AS workflow, r.version, r.mode, r.state, r.request, r.error, r.parent_run_id::text, r.forked_from::text, r.dead_at, r.created_at, r.started_at,
       r.finished_at
FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(state)s::text IS NULL OR r.state = %(state)s::text)
  AND (r.dead_at IS NOT NULL OR NOT %(dead)s::boolean)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text)
  AND (r.private_to IS NULL OR %(viewer)s::uuid IS NULL OR r.private_to = %(viewer)s::uuid)
  AND (%(before)s::uuid IS NULL OR r.id < %(before)s::uuid)
ORDER BY r.id DESC LIMIT %(limit)s::int;

-- name: count
SELECT count(*)::int AS total FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(state)s::text IS NULL OR r.state = %(state)s::text)
  AND (r.dead_at IS NOT NULL OR NOT %(dead)s::boolean)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text)
  AND (r.private_to IS NULL OR %(viewer)s::uuid IS NULL OR r.private_to = %(viewer)s::uuid);

-- name: load
-- What a driver needs to know of the run it has claimed.
SELECT r.id::text, r.name, r.workflow_id::text, r.version, encode(r.digest, 'hex') AS digest, r.mode, r.mocks,
       coalesce((SELECT p.body FROM weft.payloads p WHERE p.org_id = r.org_id AND p.digest = r.input_digest), r.input) AS input, r.depth, r.request, r.claims,
       r.deadline_at, r.started_at, r.created_at, r.created_by::text, r.priority, r.signal,
       r.compensate, r.ending, r.forked_from::text, r.private_to::text
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid;

-- name: definition
SELECT d.body FROM weft.definitions d WHERE d.org_id = %(org_id)s::uuid AND d.digest = decode(%(digest)s::text, 'hex');

-- name: hand_back
-- A run its driver had to let go (Postgres did not answer) goes back to the queue, for `after` seconds, unless somebody has taken it already.
UPDATE weft.runs r SET state = 'queued', worker = NULL, lease_until = NULL, wake_at = clock_timestamp() + make_interval(secs => %(after)s::float8)
WHERE r.org_id = %(org_id)s::uuid AND r.id = %(id)s::uuid AND r.fence = %(fence)s::bigint AND r.state = 'running';

-- name: notify
-- Tells every process that listens to look at a run; a lost notice only costs the time until the next look.
SELECT pg_notify('weft', %(org_id)s::text || ' ' || %(run_id)s::text);

-- name: claim
SELECT org_id::text, id::text, fence, signal, claims, recovered, now
FROM weft.next_runs(%(slots)s::int, %(worker)s::bigint, %(lease)s::interval, %(at)s::timestamptz);

-- name: renew
SELECT org_id::text, id::text, fence, signal, request, coalesce(%(at)s::timestamptz, clock_timestamp()) AS now
FROM weft.renew_leases(%(worker)s::bigint, %(run_ids)s::uuid[], %(lease)s::interval, %(at)s::timestamptz);
