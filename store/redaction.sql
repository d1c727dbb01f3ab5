-- Forgotten words leave the records of runs. JSON travels as text inside the lists, as in journal.sql: Postgres would refuse a NUL in it.

-- name: note_uses
-- Memories that a run wrote or is told of: those that are still there. Whoever is just forgetting one is waited for. `recalled`: what was said
-- in a chat is left out where others may read the run.
WITH there AS (
    SELECT m.id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[])
      AND (NOT %(recalled)s::boolean OR (coalesce(m.series, '') !~ '^chat:[0-9a-f]{8}-' AND coalesce(m.source, '') !~ '^chat [0-9a-f]{8}-') OR EXISTS (
        SELECT FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = %(run_id)s::uuid AND r.private_to IS NOT NULL))
    ORDER BY m.id FOR KEY SHARE),
  noted AS (
    INSERT INTO weft.memory_uses (org_id, memory_id, run_id) SELECT %(org_id)s::uuid, t.id, %(run_id)s::uuid FROM there t ON CONFLICT DO NOTHING)
SELECT t.id::text FROM there t;

-- name: hold
-- Nobody is told of these memories any more until the transaction ends.
SELECT m.id::text FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) ORDER BY m.id FOR UPDATE;

-- name: told
-- The texts of memories that are to be forgotten, with the names of entities.
SELECT m.kind, m.title, m.body, m.data,
       coalesce((SELECT json_agg(n.name) FROM weft.memory_names n WHERE n.org_id = m.org_id AND n.entity_id = m.id), '[]'::json) AS names
FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]);

-- name: surviving
-- Which of these lexemes are in memories of the same scopes that stay.
SELECT DISTINCT t.lexeme AS lexeme FROM weft.memories m CROSS JOIN LATERAL unnest(m.terms) t
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.id <> ALL(%(ids)s::uuid[]) AND t.lexeme = ANY(%(lexemes)s::text[]);

-- name: scopes_of
SELECT DISTINCT m.scope_id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]);

-- name: tied
-- Runs that wrote these memories or were told of them, and their families: whom they started, who started them, forks of each other.
WITH RECURSIVE tied AS (
    SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND (r.id = ANY(%(run_ids)s::uuid[])
      OR r.id IN (SELECT m.run_id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]))
      OR r.id IN (SELECT u.run_id FROM weft.memory_uses u WHERE u.org_id = %(org_id)s::uuid AND u.memory_id = ANY(%(ids)s::uuid[])))
    UNION
    SELECT o.id FROM tied t CROSS JOIN LATERAL (
      SELECT p.parent_run_id AS id FROM weft.runs p WHERE p.org_id = %(org_id)s::uuid AND p.id = t.id AND p.parent_run_id IS NOT NULL
      UNION ALL SELECT p.forked_from FROM weft.runs p WHERE p.org_id = %(org_id)s::uuid AND p.id = t.id AND p.forked_from IS NOT NULL
      UNION ALL SELECT c.id FROM weft.runs c WHERE c.org_id = %(org_id)s::uuid AND c.parent_run_id = t.id
      UNION ALL SELECT f.id FROM weft.runs f WHERE f.org_id = %(org_id)s::uuid AND f.forked_from = t.id) o)
SELECT t.id::text FROM tied t ORDER BY 1;

-- name: holding
-- Runs whose records match one of the patterns; `user_id`: only of those that this user started.
SELECT DISTINCT r.id::text FROM weft.runs r JOIN (
    SELECT r.id AS run_id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND concat_ws(chr(31), r.input::text, r.output::text, r.error::text,
        r.mocks::text, r.ending::text, r.idempotency_key, r.concurrency_key) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT n.run_id FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid
      AND concat_ws(chr(31), n.input::text, n.output::text, n.error::text, n.vars::text, n.undo::text) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT e.run_id FROM weft.events e WHERE e.org_id = %(org_id)s::uuid
      AND concat_ws(chr(31), e.message, e.data::text) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT w.run_id FROM weft.waits w WHERE w.org_id = %(org_id)s::uuid
      AND concat_ws(chr(31), w.payload::text, w.correlation) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT t.run_id FROM weft.tasks t WHERE t.org_id = %(org_id)s::uuid
      AND concat_ws(chr(31), t.title, t.description, t.form::text, t.answer::text, t.comment) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT c.run_id FROM weft.voice_calls c WHERE c.org_id = %(org_id)s::uuid
      AND concat_ws(chr(31), c.script::text, c.answers::text, c.transcript::text, c.error) ~* ANY(%(patterns)s::text[])
    UNION ALL SELECT l.run_id FROM (SELECT p.digest FROM weft.payloads p WHERE p.org_id = %(org_id)s::uuid AND p.body::text ~* ANY(%(patterns)s::text[])) p
      CROSS JOIN LATERAL (
        SELECT n.run_id FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.input_digest = p.digest
        UNION ALL SELECT n.run_id FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.output_digest = p.digest
        UNION ALL SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.input_digest = p.digest
        UNION ALL SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.output_digest = p.digest) l) f ON f.run_id = r.id
WHERE r.org_id = %(org_id)s::uuid AND (%(user_id)s::uuid IS NULL OR r.created_by = %(user_id)s::uuid) ORDER BY 1;

-- name: lock
-- Nothing is added to the journals of these runs until the transaction ends. `over`: only of those that have ended.
SELECT r.id::text FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[])
  AND (r.finished_at IS NOT NULL OR NOT %(over)s::boolean) ORDER BY r.id FOR NO KEY UPDATE;

-- name: in_a_call
-- Driven runs that are in the middle of a call that must not be repeated.
SELECT DISTINCT r.id::text FROM weft.runs r JOIN weft.node_runs n ON n.org_id = r.org_id AND n.run_id = r.id
WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.state = 'running' AND n.state = 'running' AND n.effect = 'write-once' ORDER BY 1;

-- name: put_down
-- Driven runs are taken from their drivers, who have the words in memory: the fence grows, and the next driver begins with what is here.
WITH taken AS (
    UPDATE weft.runs r SET state = 'queued', fence = r.fence + 1, worker = NULL, lease_until = NULL, wake_at = clock_timestamp(), signal = r.signal + 1
    WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND r.state = 'running' RETURNING r.id)
SELECT t.id::text, pg_notify('weft', %(org_id)s::text || ' ' || t.id::text) FROM taken t;

-- name: drop_checkpoints
-- A run goes on from its journal as well; so also what is sealed goes.
WITH writes AS (DELETE FROM weft.checkpoint_writes w WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = ANY(%(run_ids)s::text[]))
DELETE FROM weft.checkpoints c WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = ANY(%(run_ids)s::text[]);

-- name: runs
SELECT json_build_array(r.id) AS place, json_build_object('input', r.input::text, 'output', r.output::text, 'error', r.error::text,
    'mocks', r.mocks::text, 'ending', r.ending::text) AS json,
  json_build_object('idempotency_key', r.idempotency_key, 'concurrency_key', r.concurrency_key) AS texts
FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]);

-- name: node_runs
SELECT json_build_array(n.run_id, n.position, n.attempt) AS place, json_build_object('input', n.input::text, 'output', n.output::text,
    'error', n.error::text, 'vars', n.vars::text, 'undo', n.undo::text) AS json, '{}'::json AS texts
FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = ANY(%(run_ids)s::uuid[]);

-- name: events
SELECT json_build_array(e.run_id, e.seq) AS place, json_build_object('data', e.data::text) AS json, json_build_object('message', e.message) AS texts
FROM weft.events e WHERE e.org_id = %(org_id)s::uuid AND e.run_id = ANY(%(run_ids)s::uuid[]);

-- name: waits
SELECT json_build_array(w.run_id, w.position) AS place, json_build_object('payload', w.payload::text) AS json,
  json_build_object('correlation', w.correlation) AS texts
FROM weft.waits w WHERE w.org_id = %(org_id)s::uuid AND w.run_id = ANY(%(run_ids)s::uuid[]);

-- name: tasks
-- Who an open task is for is an address, without which nobody could answer it.
SELECT json_build_array(t.id) AS place, json_build_object('form', t.form::text, 'answer', t.answer::text,
    'assign_to', CASE WHEN t.state <> 'open' THEN t.assign_to::text END) AS json,
  json_build_object('title', t.title, 'description', t.description, 'comment', t.comment) AS texts
FROM weft.tasks t WHERE t.org_id = %(org_id)s::uuid AND t.run_id = ANY(%(run_ids)s::uuid[]);

-- name: voice_calls
-- What was said; the number is an address, which the provider has as well.
SELECT json_build_array(c.run_id, c.id) AS place, json_build_object('script', c.script::text, 'answers', c.answers::text,
    'transcript', c.transcript::text) AS json, json_build_object('error', c.error) AS texts
FROM weft.voice_calls c WHERE c.org_id = %(org_id)s::uuid AND c.run_id = ANY(%(run_ids)s::uuid[]);

-- name: received_events
-- Events that these runs sent or were woken by, and others that match one of the patterns.
SELECT json_build_array(e.id) AS place, json_build_object('payload', e.payload::text) AS json,
  json_build_object('correlation', e.correlation, 'idempotency_key', e.idempotency_key) AS texts
FROM weft.received_events e WHERE e.org_id = %(org_id)s::uuid AND (
  substr(e.idempotency_key, 6, 36) = ANY(%(run_ids)s::text[])
  OR e.id IN (SELECT w.event_id FROM weft.waits w WHERE w.org_id = e.org_id AND w.run_id = ANY(%(run_ids)s::uuid[]))
  OR concat_ws(chr(31), e.payload::text, e.correlation, e.idempotency_key) ~* ANY(%(patterns)s::text[]))
FOR NO KEY UPDATE;

-- name: payloads
SELECT json_build_array(encode(p.digest, 'hex')) AS place, json_build_object('body', p.body::text) AS json, '{}'::json AS texts
FROM weft.payloads p WHERE p.org_id = %(org_id)s::uuid AND p.digest IN (
    SELECT unnest(ARRAY[n.input_digest, n.output_digest]) FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = ANY(%(run_ids)s::uuid[])
    UNION SELECT unnest(ARRAY[r.input_digest, r.output_digest]) FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]));

-- name: write_runs
UPDATE weft.runs r SET input = coalesce(x.input::json, r.input), output = coalesce(x.output::json, r.output), error = coalesce(x.error::json, r.error),
  mocks = coalesce(x.mocks::json, r.mocks), ending = coalesce(x.ending::json, r.ending),
  idempotency_key = coalesce(x.idempotency_key, r.idempotency_key), concurrency_key = coalesce(x.concurrency_key, r.concurrency_key)
FROM json_to_recordset(%(rows)s::json) AS x(id uuid, input text, output text, error text, mocks text, ending text, idempotency_key text, concurrency_key text)
WHERE r.org_id = %(org_id)s::uuid AND r.id = x.id;

-- name: write_node_runs
UPDATE weft.node_runs n SET input = coalesce(x.input::json, n.input), output = coalesce(x.output::json, n.output),
  error = coalesce(x.error::json, n.error), vars = coalesce(x.vars::json, n.vars), undo = coalesce(x.undo::json, n.undo)
FROM json_to_recordset(%(rows)s::json) AS x(run_id uuid, position text, attempt int, input text, output text, error text, vars text, undo text)
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = x.run_id AND n.position = x.position AND n.attempt = x.attempt;

-- name: write_events
SELECT weft.redact_events(%(org_id)s::uuid, %(rows)s::json) AS changed;

-- name: write_waits
UPDATE weft.waits w SET payload = coalesce(x.payload::json, w.payload), correlation = coalesce(x.correlation, w.correlation)
FROM json_to_recordset(%(rows)s::json) AS x(run_id uuid, position text, payload text, correlation text)
WHERE w.org_id = %(org_id)s::uuid AND w.run_id = x.run_id AND w.position = x.position;

-- name: write_tasks
UPDATE weft.tasks t SET form = coalesce(x.form::json, t.form), answer = coalesce(x.answer::json, t.answer),
  assign_to = coalesce(x.assign_to::json, t.assign_to), title = coalesce(x.title, t.title), description = coalesce(x.description, t.description),
  comment = coalesce(x.comment, t.comment)
FROM json_to_recordset(%(rows)s::json) AS x(id uuid, form text, answer text, assign_to text, title text, description text, comment text)
WHERE t.org_id = %(org_id)s::uuid AND t.id = x.id;

-- name: write_voice_calls
UPDATE weft.voice_calls c SET script = coalesce(x.script::json, c.script), answers = coalesce(x.answers::json, c.answers),
  transcript = coalesce(x.transcript::json, c.transcript), error = coalesce(x.error, c.error)
FROM json_to_recordset(%(rows)s::json) AS x(run_id uuid, id uuid, script text, answers text, transcript text, error text)
WHERE c.org_id = %(org_id)s::uuid AND c.id = x.id;

-- name: write_received_events
UPDATE weft.received_events e SET payload = coalesce(x.payload::json, e.payload),
  correlation = coalesce(x.correlation, e.correlation), idempotency_key = coalesce(x.idempotency_key, e.idempotency_key)
FROM json_to_recordset(%(rows)s::json) AS x(id uuid, payload text, correlation text, idempotency_key text)
WHERE e.org_id = %(org_id)s::uuid AND e.id = x.id;

-- name: move_payload
-- Rows of these runs refer to the redacted value instead: by its own digest, or it stands in the row when it is short enough by now.
WITH steps AS (
    UPDATE weft.node_runs n SET
      input = CASE WHEN n.input_digest = decode(%(old)s::text, 'hex') THEN %(short)s::json ELSE n.input END,
      input_digest = CASE WHEN n.input_digest = decode(%(old)s::text, 'hex') THEN decode(%(new)s::text, 'hex') ELSE n.input_digest END,
      output = CASE WHEN n.output_digest = decode(%(old)s::text, 'hex') THEN %(short)s::json ELSE n.output END,
      output_digest = CASE WHEN n.output_digest = decode(%(old)s::text, 'hex') THEN decode(%(new)s::text, 'hex') ELSE n.output_digest END
    WHERE n.org_id = %(org_id)s::uuid AND n.run_id = ANY(%(run_ids)s::uuid[])
      AND decode(%(old)s::text, 'hex') IN (n.input_digest, n.output_digest))
UPDATE weft.runs r SET
  input = CASE WHEN r.input_digest = decode(%(old)s::text, 'hex') THEN coalesce(%(short)s::json, 'null'::json) ELSE r.input END,
  input_digest = CASE WHEN r.input_digest = decode(%(old)s::text, 'hex') THEN decode(%(new)s::text, 'hex') ELSE r.input_digest END,
  output = CASE WHEN r.output_digest = decode(%(old)s::text, 'hex') THEN %(short)s::json ELSE r.output END,
  output_digest = CASE WHEN r.output_digest = decode(%(old)s::text, 'hex') THEN decode(%(new)s::text, 'hex') ELSE r.output_digest END
WHERE r.org_id = %(org_id)s::uuid AND r.id = ANY(%(run_ids)s::uuid[]) AND decode(%(old)s::text, 'hex') IN (r.input_digest, r.output_digest);

-- name: drop_payloads
-- Those of them that nothing refers to any more.
DELETE FROM weft.payloads p WHERE p.org_id = %(org_id)s::uuid AND encode(p.digest, 'hex') = ANY(%(digests)s::text[])
  AND NOT EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = p.org_id AND n.input_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = p.org_id AND n.output_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = p.org_id AND r.input_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = p.org_id AND r.output_digest = p.digest);

-- name: tell
INSERT INTO weft.events (org_id, run_id, type, level, message)
SELECT %(org_id)s::uuid, x.id, 'run.redacted', 'business', 'Memories were forgotten: words of theirs are [forgotten] here'
FROM unnest(%(run_ids)s::uuid[]) AS x(id);

-- name: scopes
-- Scopes that hold nothing any more, and have a name.
SELECT s.id, s.name FROM weft.memory_scopes s WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY(%(scope_ids)s::bigint[])
  AND s.kind NOT IN ('organization', 'user') AND NOT EXISTS (SELECT FROM weft.memories m WHERE m.org_id = s.org_id AND m.scope_id = s.id);

-- name: drop_scopes
DELETE FROM weft.memory_scopes s WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY(%(scope_ids)s::bigint[]);
