-- What people ask of runs. Each statement takes many runs, locks them in the order of their ids, as the journal does, and answers with those
-- whose state allows it: what a person does to one run and what somebody does to thousands is the same statement.

-- name: cancel
-- The engine does the cancelling, so that there is one way to end a run; this asks for it and wakes it.
WITH chosen AS (
    SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(ids)s::uuid[]) AND r.finished_at IS NULL
    ORDER BY r.id FOR NO KEY UPDATE)
UPDATE weft.runs r SET request = 'cancel', compensate = coalesce(%(compensate)s::boolean, r.compensate), signal = r.signal + 1,
  state = CASE WHEN r.state = 'running' THEN r.state ELSE 'queued' END,
  wake_at = CASE WHEN r.state = 'running' THEN r.wake_at ELSE clock_timestamp() END
FROM chosen WHERE r.org_id = %(org_id)s::uuid AND r.id = chosen.id
RETURNING r.id::text AS run_id;

-- name: pause
WITH chosen AS (
    SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(ids)s::uuid[])
      AND r.state IN ('queued', 'running', 'waiting') AND r.request IS DISTINCT FROM 'cancel'
    ORDER BY r.id FOR NO KEY UPDATE)
UPDATE weft.runs r SET signal = r.signal + 1,
  request = CASE WHEN r.state = 'running' THEN 'pause' END,
  state = CASE WHEN r.state = 'running' THEN r.state ELSE 'paused' END,
  wake_at = CASE WHEN r.state = 'running' THEN r.wake_at END
FROM chosen WHERE r.org_id = %(org_id)s::uuid AND r.id = chosen.id
RETURNING r.id::text AS run_id;

-- name: resume
-- A start delay that is not over counts on.
WITH chosen AS (
    SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(ids)s::uuid[])
      AND (r.state = 'paused' OR (r.state = 'running' AND r.request = 'pause'))
    ORDER BY r.id FOR NO KEY UPDATE)
UPDATE weft.runs r SET signal = r.signal + 1, request = NULL,
  state = CASE WHEN r.state = 'paused' THEN 'queued' ELSE r.state END,
  wake_at = CASE WHEN r.state = 'paused' THEN least(greatest(clock_timestamp(), r.begin_at), r.deadline_at) ELSE r.wake_at END
FROM chosen WHERE r.org_id = %(org_id)s::uuid AND r.id = chosen.id
RETURNING r.id::text AS run_id;

-- name: retry
-- Failed and cancelled runs go on, `dead`: only those that recovery gave up. Steps that were under way or failed may be tried again, which
-- retry_at says; what succeeded stays, and so does what failed or was cancelled and led on by an edge (taken is known then). A call that must
-- not be repeated and was cut off (an intent without a receipt) is ambiguous and not merely cancelled.
WITH chosen AS (
    SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(ids)s::uuid[]) AND r.state IN ('failed', 'cancelled')
      AND (r.dead_at IS NOT NULL OR NOT %(dead)s::boolean)
    ORDER BY r.id FOR NO KEY UPDATE),
  reopened AS (
    UPDATE weft.runs r SET state = 'queued', request = NULL, compensate = false, ending = NULL, dead_at = NULL, admitted = false, begin_at = NULL,
      error = NULL, output = NULL, output_digest = NULL, finished_at = NULL, wake_at = clock_timestamp(), claims = 0,
      deadline_at = clock_timestamp() + (r.deadline_at - r.created_at), signal = r.signal + 1
    FROM chosen WHERE r.org_id = %(org_id)s::uuid AND r.id = chosen.id
    RETURNING r.id),
  last AS (           -- the attempts that count
    SELECT DISTINCT ON (n.run_id, n.position) n.run_id, n.position, n.attempt, n.state, n.seq, n.taken IS NULL AS undecided
    FROM weft.node_runs n JOIN reopened ON n.run_id = reopened.id WHERE n.org_id = %(org_id)s::uuid
    ORDER BY n.run_id, n.position, n.attempt DESC),
  steps AS (
    UPDATE weft.node_runs n SET finished_at = coalesce(n.finished_at, clock_timestamp()), retry_at = clock_timestamp(),
      state = CASE WHEN n.state IN ('failed', 'ambiguous') THEN n.state
                   WHEN n.effect = 'write-once' AND n.state <> 'retrying' AND n.error IS NULL THEN 'ambiguous' ELSE 'cancelled' END
    FROM last WHERE n.org_id = %(org_id)s::uuid AND n.run_id = last.run_id AND n.position = last.position AND n.attempt = last.attempt
      AND (last.state IN ('running', 'waiting', 'retrying') OR (last.state IN ('failed', 'cancelled', 'ambiguous') AND last.undecided))),
  groups AS (         -- of whose steps some were undone after the group had ended: they run again, so the group is entered again
    UPDATE weft.node_runs n SET state = 'compensated'
    FROM last WHERE n.org_id = %(org_id)s::uuid AND n.run_id = last.run_id AND n.position = last.position AND n.attempt = last.attempt
      AND last.state = 'succeeded' AND EXISTS (
        SELECT FROM last undo WHERE undo.run_id = last.run_id AND undo.seq > last.seq AND undo.state = 'succeeded' AND undo.position ~ '~undo[0-9]*$'
          AND left(undo.position, length(last.position) + 1) IN (last.position || '/', last.position || '[')))
SELECT id::text AS run_id FROM reopened;

-- name: wake
-- A run that nobody drives looks at its journal again; one that is paused when it is resumed. Locks the run until the transaction ends.
UPDATE weft.runs r SET signal = r.signal + 1, wake_at = CASE WHEN r.state = 'paused' THEN r.wake_at ELSE least(greatest(clock_timestamp(), r.begin_at), r.deadline_at) END
WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(ids)s::uuid[]) AND r.state IN ('queued', 'waiting', 'paused')
RETURNING r.id::text AS run_id;

-- name: close_step
-- A step that counts as done waits for nothing any more, nor does what is inside it.
WITH waits AS (
    UPDATE weft.waits w SET state = 'cancelled', resolved_at = clock_timestamp()
    WHERE w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid AND w.state = 'open' AND w.position !~ '~undo[0-9]*'
      AND (w.position = %(position)s::text OR left(w.position, length(%(position)s::text) + 1) IN
           (%(position)s::text || '~', %(position)s::text || '#', %(position)s::text || '/', %(position)s::text || '['))
    RETURNING w.position),
  tasks AS (
    UPDATE weft.tasks t SET state = 'cancelled' FROM waits
    WHERE t.org_id = %(org_id)s::uuid AND t.run_id = %(run_id)s::uuid AND t.position = waits.position AND t.state = 'open'),
  children AS (
    UPDATE weft.runs c SET request = 'cancel', signal = c.signal + 1,
      wake_at = CASE WHEN c.state IN ('queued', 'waiting', 'paused') THEN clock_timestamp() END,
      state = CASE WHEN c.state = 'paused' THEN 'queued' ELSE c.state END
    FROM waits WHERE c.org_id = %(org_id)s::uuid AND c.parent_run_id = %(run_id)s::uuid AND c.parent_position = waits.position
      AND c.finished_at IS NULL)
UPDATE weft.node_runs n SET state = 'cancelled', finished_at = clock_timestamp()
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.state IN ('running', 'waiting', 'retrying')
  AND (n.position = %(position)s::text OR left(n.position, length(%(position)s::text) + 1) IN (%(position)s::text || '/', %(position)s::text || '['));

-- name: skip
-- The step is done, as its next attempt; its edges are decided when the run goes on.
INSERT INTO weft.node_runs (org_id, run_id, position, attempt, series, node_id, node_type, state, seq, input, input_digest, output, output_digest,
                            started_at, finished_at)
SELECT %(org_id)s::uuid, %(run_id)s::uuid, %(position)s::text, coalesce(l.attempt, 0) + 1, coalesce(l.series, 1), %(node_id)s::text, %(node_type)s::text,
       'succeeded', (SELECT coalesce(max(n.seq), 0) + 1 FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid),
       l.input, l.input_digest, %(output)s::json, decode(%(output_digest)s::text, 'hex'), clock_timestamp(), clock_timestamp()
FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT n.attempt, n.series, n.input, n.input_digest FROM weft.node_runs n
    WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.position = %(position)s::text ORDER BY n.attempt DESC LIMIT 1) AS l ON true;

-- name: matching
-- Runs a filter finds, oldest first, after the last of the batch before. The code of an error is looked for in its text, which always begins
-- with it: to take JSON apart, Postgres reads every escape in it and refuses a NUL in somebody's message.
SELECT r.id::text AS run_id FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid AND r.state = ANY(%(states)s::text[]) AND (%(after)s::uuid IS NULL OR r.id > %(after)s::uuid)
  AND (r.dead_at IS NOT NULL OR NOT %(dead)s::boolean)
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text)
  AND (r.private_to IS NULL OR r.private_to = %(viewer)s::uuid)
  AND (%(error_code)s::text IS NULL OR starts_with(r.error::text, '{"code":"' || %(error_code)s::text || '"'))
  AND (%(older_than)s::double precision IS NULL OR r.created_at < clock_timestamp() - make_interval(secs => %(older_than)s::double precision))
  AND (%(created_before)s::timestamptz IS NULL OR r.created_at < %(created_before)s::timestamptz)
ORDER BY r.id LIMIT %(limit)s::int;

-- name: count
SELECT count(*)::int AS total FROM weft.runs r
WHERE r.org_id = %(org_id)s::uuid AND r.state = ANY(%(states)s::text[])
  AND (r.dead_at IS NOT NULL OR NOT %(dead)s::boolean)
  AND (%(workflow)s::text IS NULL OR r.name = %(workflow)s::text)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s::text)
  AND (r.private_to IS NULL OR r.private_to = %(viewer)s::uuid)
  AND (%(error_code)s::text IS NULL OR starts_with(r.error::text, '{"code":"' || %(error_code)s::text || '"'))
  AND (%(older_than)s::double precision IS NULL OR r.created_at < clock_timestamp() - make_interval(secs => %(older_than)s::double precision))
  AND (%(created_before)s::timestamptz IS NULL OR r.created_at < %(created_before)s::timestamptz);

-- name: tell
-- One event and one notice per run.
WITH told AS (
    INSERT INTO weft.events (org_id, run_id, type, level, message)
    SELECT %(org_id)s::uuid, x.id, %(type)s::text, 'business', %(message)s::text FROM unnest(%(ids)s::uuid[]) AS x(id))
SELECT pg_notify('weft', %(org_id)s::text || ' ' || x.id::text) FROM unnest(%(ids)s::uuid[]) AS x(id);
