-- name: of_run
SELECT w.position, w.kind, w.state, w.due_at, w.lasting, w.event_name, w.correlation, w.payload, w.created_at FROM weft.waits w
WHERE w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid;

-- name: attention
-- What the driver of a running run looks at when it is signalled: the signal and request it now has, and the waits that ended.
SELECT r.signal, r.request, r.compensate,
       coalesce((SELECT json_agg(json_build_object('position', w.position, 'state', w.state, 'payload', w.payload))
                 FROM weft.waits w WHERE w.org_id = r.org_id AND w.run_id = r.id AND w.position = ANY(%(positions)s::text[])
                   AND w.state <> 'open'), '[]'::json) AS ended
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(run_id)s::uuid;

-- name: expire
-- The time of a wait is up, unless its answer came first: the state it really ended with is the answer.
WITH expired AS (
    UPDATE weft.waits w SET state = 'expired', resolved_at = clock_timestamp()
    WHERE w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid AND w.position = %(position)s::text AND w.state = 'open'
    RETURNING w.position, w.state, w.payload),
  task AS (
    UPDATE weft.tasks t SET state = 'expired' FROM expired
    WHERE t.org_id = %(org_id)s::uuid AND t.run_id = %(run_id)s::uuid AND t.position = expired.position AND t.state = 'open')
SELECT position, state, payload FROM expired
UNION ALL
SELECT w.position, w.state, w.payload FROM weft.waits w
WHERE NOT EXISTS (SELECT FROM expired) AND w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid AND w.position = %(position)s::text;

-- name: drop
-- A step that was cancelled waits no longer.
WITH dropped AS (
    UPDATE weft.waits w SET state = 'cancelled', resolved_at = clock_timestamp()
    WHERE w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid AND w.position = ANY(%(positions)s::text[]) AND w.state = 'open'
      AND EXISTS (SELECT FROM weft.runs r WHERE r.org_id = w.org_id AND r.id = w.run_id AND r.fence = %(fence)s::bigint)
    RETURNING w.position),
  orphans AS (        -- a child run nobody waits for any more
    UPDATE weft.runs c SET request = 'cancel', signal = c.signal + 1,
      wake_at = CASE WHEN c.state IN ('queued', 'waiting', 'paused') THEN clock_timestamp() END,
      state = CASE WHEN c.state = 'paused' THEN 'queued' ELSE c.state END
    FROM dropped WHERE c.org_id = %(org_id)s::uuid AND c.parent_run_id = %(run_id)s::uuid AND c.parent_position = dropped.position
      AND c.finished_at IS NULL)
UPDATE weft.tasks t SET state = 'cancelled' FROM dropped
WHERE t.org_id = %(org_id)s::uuid AND t.run_id = %(run_id)s::uuid AND t.position = dropped.position AND t.state = 'open';

-- name: lock_event
-- Whoever sends an event and whoever has just begun to wait for one of that name go one after the other, and look after they have the lock:
-- otherwise each could miss the other's row.
SELECT pg_advisory_xact_lock(hashtext('weft event'), hashtext(%(org_id)s::text || ' ' || %(name)s::text));

-- name: receive
-- Keeps an event from outside and answers every open wait for it, in one statement: the runs are locked first, as the journal does.
-- `stand_in`: what forgetting has put in the place of such a correlation (store/redaction.py).
WITH kept AS (
    INSERT INTO weft.received_events (org_id, name, correlation, payload, idempotency_key)
    VALUES (%(org_id)s::uuid, %(name)s::text, %(correlation)s::text, %(payload)s::json, %(idempotency_key)s::text)
    ON CONFLICT (org_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id),
  listening AS (
    SELECT w.run_id, w.position FROM weft.waits w, kept
    WHERE w.org_id = %(org_id)s::uuid AND w.event_name = %(name)s::text AND w.state = 'open' AND w.kind = 'event'
      AND (w.correlation IS NULL OR w.correlation IN (%(correlation)s::text, %(stand_in)s::text))),
  woken AS (
    UPDATE weft.runs r SET signal = r.signal + 1, wake_at = CASE WHEN r.state IN ('waiting', 'queued') THEN clock_timestamp() ELSE r.wake_at END
    WHERE r.org_id = %(org_id)s::uuid AND r.id IN (SELECT run_id FROM listening) RETURNING r.id),
  answered AS (
    UPDATE weft.waits w SET state = 'resolved', payload = %(payload)s::json, event_id = (SELECT id FROM kept), resolved_at = clock_timestamp()
    FROM listening l WHERE w.org_id = %(org_id)s::uuid AND w.run_id = l.run_id AND w.position = l.position AND w.state = 'open'
    RETURNING w.run_id, w.position),
  told AS (
    INSERT INTO weft.events (org_id, run_id, type, level, position, message)
    SELECT %(org_id)s::uuid, run_id, 'event.received', 'business', position, 'Event ' || %(name)s::text || ' received' FROM answered)
SELECT coalesce((SELECT id FROM kept), (SELECT e.id FROM weft.received_events e
         WHERE e.org_id = %(org_id)s::uuid AND e.idempotency_key = %(idempotency_key)s::text))::text AS id,
       NOT EXISTS (SELECT FROM kept) AS duplicate,
       coalesce((SELECT json_agg(id::text) FROM woken), '[]'::json) AS woken;

-- name: missed
-- An event that came after the run (or `since`) and before its wait was recorded is not lost: the oldest that no wait of this run has had.
WITH early AS (
    SELECT e.id, e.payload FROM weft.received_events e JOIN weft.runs r ON r.org_id = e.org_id AND r.id = %(run_id)s::uuid
    WHERE e.org_id = %(org_id)s::uuid AND e.name = %(name)s::text
      AND (%(correlation)s::text IS NULL OR e.correlation IN (%(correlation)s::text, %(stand_in)s::text))
      AND e.received_at >= coalesce(%(since)s::timestamptz, r.created_at)
      AND NOT EXISTS (SELECT FROM weft.waits had WHERE had.org_id = e.org_id AND had.run_id = r.id AND had.event_id = e.id)
    ORDER BY e.received_at, e.id LIMIT 1)
UPDATE weft.waits w SET state = 'resolved', payload = early.payload, event_id = early.id, resolved_at = clock_timestamp() FROM early
WHERE w.org_id = %(org_id)s::uuid AND w.run_id = %(run_id)s::uuid AND w.position = %(position)s::text AND w.state = 'open'
RETURNING w.position, w.state, w.payload;
