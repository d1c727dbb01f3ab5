-- name: get
-- What is private to somebody else than `viewer` is not there.
SELECT t.id::text, t.run_id::text, t.position, t.kind, t.state, t.title, t.description, t.form, t.assign_to, t.priority, t.due_at, t.answer,
       (SELECT u.name FROM weft.users u WHERE u.org_id = t.org_id AND u.id = t.answered_by) AS answered_by, t.answered_via, t.comment, t.created_at, t.answered_at,
       (SELECT r.name FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id) AS workflow,
       (SELECT 'voice' FROM weft.voice_calls c WHERE c.org_id = t.org_id AND c.run_id = t.run_id AND c.wait = t.position LIMIT 1) AS channel
FROM weft.tasks t WHERE t.org_id = %(org_id)s::uuid AND t.id = %(id)s::uuid
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id AND r.private_to <> %(viewer)s::uuid);

-- name: list
SELECT t.id::text, t.run_id::text, t.position, t.kind, t.state, t.title, t.description, t.form, t.assign_to, t.priority, t.due_at, t.answer,
       (SELECT u.name FROM weft.users u WHERE u.org_id = t.org_id AND u.id = t.answered_by) AS answered_by, t.answered_via, t.comment, t.created_at, t.answered_at,
       (SELECT r.name FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id) AS workflow,
       (SELECT 'voice' FROM weft.voice_calls c WHERE c.org_id = t.org_id AND c.run_id = t.run_id AND c.wait = t.position LIMIT 1) AS channel
FROM weft.tasks t
WHERE t.org_id = %(org_id)s::uuid
  AND (%(state)s::text IS NULL OR t.state = %(state)s::text)
  AND (%(run_id)s::uuid IS NULL OR t.run_id = %(run_id)s::uuid)
  AND (%(assigned_to)s::text IS NULL OR t.assign_to->>'user' = %(assigned_to)s::text OR t.assign_to->>'group' = %(assigned_to)s::text)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id AND r.private_to <> %(viewer)s::uuid)
  AND (%(before)s::uuid IS NULL OR t.id < %(before)s::uuid)
ORDER BY t.id DESC LIMIT %(limit)s::int;

-- name: count
SELECT count(*)::int AS total FROM weft.tasks t
WHERE t.org_id = %(org_id)s::uuid
  AND (%(state)s::text IS NULL OR t.state = %(state)s::text)
  AND (%(run_id)s::uuid IS NULL OR t.run_id = %(run_id)s::uuid)
  AND (%(assigned_to)s::text IS NULL OR t.assign_to->>'user' = %(assigned_to)s::text OR t.assign_to->>'group' = %(assigned_to)s::text)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id AND r.private_to <> %(viewer)s::uuid);

-- name: answer
-- The first valid answer wins: the task, the wait it resolves and the run's wake-up change together. The run is locked first, as the journal does.
WITH run AS (
    UPDATE weft.runs r SET signal = r.signal + 1, wake_at = CASE WHEN r.state IN ('waiting', 'queued') THEN clock_timestamp() ELSE r.wake_at END
    FROM weft.tasks t WHERE t.org_id = %(org_id)s::uuid AND t.id = %(id)s::uuid AND t.state = 'open'
      AND (t.due_at IS NULL OR t.due_at > clock_timestamp()) AND r.org_id = t.org_id AND r.id = t.run_id AND r.finished_at IS NULL
    RETURNING r.id),
  wait AS (           -- wait before task, as everywhere, so that two of these cannot block each other
    UPDATE weft.waits w SET state = 'resolved', resolved_at = clock_timestamp(),
      payload = json_build_object('answer', %(answer)s::json, 'by', %(user_name)s::text, 'comment', %(comment)s::text)
    FROM run, weft.tasks t WHERE t.org_id = %(org_id)s::uuid AND t.id = %(id)s::uuid AND w.org_id = %(org_id)s::uuid AND w.run_id = run.id
      AND w.position = t.position AND w.state = 'open'
    RETURNING w.run_id),
  task AS (
    UPDATE weft.tasks t SET state = 'answered', answer = %(answer)s::json, comment = %(comment)s::text, answered_by = %(user_id)s::uuid,
      answered_via = %(via)s::text, answered_at = clock_timestamp()
    FROM wait WHERE t.org_id = %(org_id)s::uuid AND t.id = %(id)s::uuid AND t.state = 'open'
    RETURNING t.run_id, t.position, t.title),
  told AS (
    INSERT INTO weft.events (org_id, run_id, type, level, position, message, data)
    SELECT %(org_id)s::uuid, run_id, 'task.answered', 'business', position, title || ': answered by ' || %(user_name)s::text, %(answer)s::json FROM task)
SELECT run_id::text FROM task;

-- name: call
-- The digest of the very call that a task asks about, where it asks about one.
SELECT w.correlation FROM weft.tasks t JOIN weft.waits w ON w.org_id = t.org_id AND w.run_id = t.run_id AND w.position = t.position
WHERE t.org_id = %(org_id)s::uuid AND t.id = %(id)s::uuid AND w.kind = 'task' AND w.correlation IS NOT NULL LIMIT 1;

-- name: at
-- The last task that was put at a position of a run.
SELECT t.id::text, t.run_id::text, t.position, t.kind, t.state, t.title, t.description, t.form, t.assign_to, t.priority, t.due_at, t.answer,
       (SELECT u.name FROM weft.users u WHERE u.org_id = t.org_id AND u.id = t.answered_by) AS answered_by, t.answered_via, t.comment, t.created_at, t.answered_at,
       (SELECT r.name FROM weft.runs r WHERE r.org_id = t.org_id AND r.id = t.run_id) AS workflow,
       (SELECT 'voice' FROM weft.voice_calls c WHERE c.org_id = t.org_id AND c.run_id = t.run_id AND c.wait = t.position LIMIT 1) AS channel
FROM weft.tasks t WHERE t.org_id = %(org_id)s::uuid AND t.run_id = %(run_id)s::uuid AND t.position = %(position)s::text
ORDER BY t.id DESC LIMIT 1;
