-- Calls by telephone. Every transition is one statement that names the states it may follow: what comes late, twice or out of order finds none.

-- name: begin
-- The call of this number of this attempt: made once, found again after a crash.
INSERT INTO weft.voice_calls AS c (org_id, run_id, position, attempt, number, wait, connection, recipient, script)
VALUES (%(org_id)s::uuid, %(run_id)s::uuid, %(position)s::text, %(attempt)s::int, %(number)s::int, %(wait)s::text, %(connection)s::text,
        %(recipient)s::text, %(script)s::json)
ON CONFLICT (org_id, run_id, position, attempt, number) DO UPDATE SET connection = c.connection
RETURNING c.id::text, c.state, c.provider_id;

-- name: dial
-- The intent, before the provider is asked: queued -> dialing, once. The same ticket again is the same intent.
UPDATE weft.voice_calls c SET state = 'dialing', kind = %(kind)s::text, ticket = %(ticket)s::bytea, dialed_at = coalesce(c.dialed_at, clock_timestamp())
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND (c.state = 'queued' OR (c.state = 'dialing' AND c.ticket = %(ticket)s::bytea));

-- name: name_it
-- The provider's name for the call, from its answer or from the first thing it tells of it. One that is over by our wish is to be hung up.
UPDATE weft.voice_calls c SET provider_id = %(provider_id)s::text,
  hang_up_at = CASE WHEN c.state IN ('cancelled', 'no_answer') THEN clock_timestamp() END
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.provider_id IS NULL;

-- name: get
SELECT c.id::text, c.run_id::text, c.position, c.attempt, c.number, c.wait, c.connection, c.kind, c.recipient, c.script, c.state, c.provider_id,
       c.turn, c.field, c.tries, c.answers, c.transcript, c.error, c.created_at, c.dialed_at, c.ringing_at, c.answered_at, c.ended_at,
       clock_timestamp() AS now,
       EXISTS (SELECT FROM weft.waits w WHERE w.org_id = c.org_id AND w.run_id = c.run_id AND w.position = c.wait AND w.state = 'open'
                 AND (w.due_at IS NULL OR w.due_at > clock_timestamp())) AS wanted,
       (SELECT t.id::text FROM weft.tasks t WHERE t.org_id = c.org_id AND t.run_id = c.run_id AND t.position = c.wait) AS task_id
FROM weft.voice_calls c WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid;

-- name: of_run
SELECT c.id::text, c.run_id::text, c.position, c.attempt, c.number, c.wait, c.connection, c.kind, c.recipient, c.script, c.state, c.provider_id,
       c.turn, c.field, c.tries, c.answers, c.transcript, c.error, c.created_at, c.dialed_at, c.ringing_at, c.answered_at, c.ended_at,
       clock_timestamp() AS now,
       EXISTS (SELECT FROM weft.waits w WHERE w.org_id = c.org_id AND w.run_id = c.run_id AND w.position = c.wait AND w.state = 'open'
                 AND (w.due_at IS NULL OR w.due_at > clock_timestamp())) AS wanted,
       (SELECT t.id::text FROM weft.tasks t WHERE t.org_id = c.org_id AND t.run_id = c.run_id AND t.position = c.wait) AS task_id
FROM weft.voice_calls c WHERE c.org_id = %(org_id)s::uuid AND c.run_id = %(run_id)s::uuid ORDER BY c.id LIMIT %(limit)s::int;

-- name: move
-- To another state, from one of those that may come before it. `hang_up`: the provider does not know of it yet.
UPDATE weft.voice_calls c SET state = %(state)s::text, error = coalesce(%(error)s::text, c.error),
  ringing_at = CASE WHEN %(state)s::text = 'ringing' THEN clock_timestamp() ELSE c.ringing_at END,
  answered_at = CASE WHEN %(state)s::text IN ('answered', 'asking', 'completed') THEN coalesce(c.answered_at, clock_timestamp()) ELSE c.answered_at END,
  ended_at = CASE WHEN %(state)s::text IN ('completed', 'busy', 'no_answer', 'failed', 'cancelled') THEN clock_timestamp() END,
  hang_up_at = CASE WHEN %(hang_up)s::boolean THEN clock_timestamp() END
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.state = ANY(%(before)s::text[])
RETURNING c.run_id::text, c.position;

-- name: turn
-- What was heard at a prompt, and what is asked next. Only once for each prompt, however often the provider tells of it.
UPDATE weft.voice_calls c SET turn = c.turn + 1, field = %(field)s::int, tries = %(tries)s::int, answers = %(answers)s::json,
  transcript = %(transcript)s::json
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.state IN ('answered', 'asking') AND c.turn = %(turn)s::int;

-- name: tell
-- What whoever watches the run sees of the call, as the step itself would show it.
INSERT INTO weft.events (org_id, run_id, type, level, position, message, data)
VALUES (%(org_id)s::uuid, %(run_id)s::uuid, 'step.progress', 'business', %(position)s::text, %(message)s::text, %(data)s::json);

-- name: find
SELECT f.org_id::text, f.id::text FROM weft.find_voice_call(%(ticket)s::bytea) AS f;

-- name: to_end
SELECT f.org_id::text, f.id::text FROM weft.calls_to_end(%(most)s::int) AS f;

-- name: wind_up
-- Takes a call that is to be ended, for the next seconds: whoever has it tells the provider. One that nobody waits for any longer is over.
UPDATE weft.voice_calls c SET state = CASE WHEN c.ended_at IS NULL THEN 'cancelled' ELSE c.state END,
  ended_at = coalesce(c.ended_at, clock_timestamp()), hang_ups = c.hang_ups + 1,
  hang_up_at = CASE WHEN c.hang_ups < %(most)s::int THEN clock_timestamp() + %(patience)s::interval END
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND (c.hang_up_at <= clock_timestamp()
  OR (c.ended_at IS NULL AND NOT EXISTS (SELECT FROM weft.waits w
        WHERE w.org_id = c.org_id AND w.run_id = c.run_id AND w.position = c.wait AND w.state = 'open')))
RETURNING c.run_id::text, c.position;

-- name: hung_up
UPDATE weft.voice_calls c SET hang_up_at = NULL WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid;
