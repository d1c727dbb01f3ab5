-- name: create
-- Once: under the id that an idempotency key makes it may be there already.
INSERT INTO weft.chats (org_id, id, user_id, title) VALUES (%(org_id)s::uuid, %(id)s::uuid, %(user_id)s::uuid, %(title)s::text)
ON CONFLICT (org_id, id) DO NOTHING;

-- name: get
-- Only to its user.
SELECT c.id::text, c.title, c.head::text, c.auto_approve, c.archived_at, c.created_at, c.updated_at
FROM weft.chats c WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid;

-- name: list
-- The one that was written in last first; with words, those in which all of them were said in one message or the title.
SELECT c.id::text, c.title, c.head::text, c.auto_approve, c.archived_at, c.created_at, c.updated_at
FROM weft.chats c
WHERE c.org_id = %(org_id)s::uuid AND c.user_id = %(user_id)s::uuid
  AND (%(archived)s::boolean IS NULL OR (c.archived_at IS NOT NULL) = %(archived)s::boolean)
  AND (%(among)s::uuid[] IS NULL OR c.id = ANY(%(among)s::uuid[]))
  AND (%(words)s::text IS NULL OR to_tsvector('simple', c.title) @@ plainto_tsquery('simple', %(words)s::text)
       OR EXISTS (SELECT FROM weft.chat_messages m WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = c.id
                  AND to_tsvector('simple', m.text) @@ plainto_tsquery('simple', %(words)s::text)))
  AND (%(before)s::timestamptz IS NULL OR (c.updated_at, c.id) < (%(before)s::timestamptz, %(before_id)s::uuid))
ORDER BY c.updated_at DESC, c.id DESC LIMIT %(limit)s::int;

-- name: change
UPDATE weft.chats c SET title = coalesce(%(title)s::text, c.title), auto_approve = coalesce(%(auto_approve)s::text[], c.auto_approve),
  archived_at = CASE WHEN %(archived)s::boolean IS NULL THEN c.archived_at WHEN %(archived)s::boolean THEN clock_timestamp() END,
  head = coalesce((SELECT m.id FROM weft.chat_messages m WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = c.id AND m.id = %(head)s::uuid), c.head)
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid;

-- name: delete
DELETE FROM weft.chats c WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid;

-- name: drop_runs
-- The runs of its turns, and what repeats them, with all that is recorded of them.
SELECT weft.drop_private_runs(%(org_id)s::uuid, %(user_id)s::uuid, ARRAY(SELECT m.run_id FROM weft.chat_messages m
  WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = %(id)s::uuid AND m.run_id IS NOT NULL)) AS dropped;

-- name: under_way
-- Turns that go on: answers whose run has not ended, or is about to begin.
SELECT count(*)::int AS turns FROM weft.chat_messages m LEFT JOIN weft.runs r ON r.org_id = m.org_id AND r.id = m.run_id
WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = %(id)s::uuid AND m.state = 'writing' AND r.finished_at IS NULL
  AND (r.id IS NOT NULL OR m.created_at > clock_timestamp() - interval '1 minute');

-- name: lock
-- One after the other: what is written next follows what was written last.
SELECT c.head::text AS head, (SELECT m.state FROM weft.chat_messages m WHERE m.org_id = c.org_id AND m.chat_id = c.id AND m.id = c.head) AS state,
       (SELECT count(*) FROM weft.chat_messages m WHERE m.org_id = c.org_id AND m.chat_id = c.id)::int AS messages
FROM weft.chats c WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid FOR UPDATE;

-- name: add
INSERT INTO weft.chat_messages (org_id, id, chat_id, parent_id, role, state, content, text, run_id)
VALUES (%(org_id)s::uuid, %(id)s::uuid, %(chat_id)s::uuid, %(parent_id)s::uuid, %(role)s::text, %(state)s::text, %(content)s::json, %(text)s::text,
        %(run_id)s::uuid);

-- name: move
UPDATE weft.chats c SET head = %(head)s::uuid, updated_at = clock_timestamp() WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid;

-- name: messages
-- The whole tree, in the order in which it was said; an answer with the state of the run that writes it.
SELECT m.id::text, m.parent_id::text, m.role, m.state, m.content, m.text, m.error, m.run_id::text, m.created_at,
       (SELECT r.state FROM weft.runs r WHERE r.org_id = m.org_id AND r.id = m.run_id) AS run_state,
       (SELECT r.error FROM weft.runs r WHERE r.org_id = m.org_id AND r.id = m.run_id) AS run_error
FROM weft.chat_messages m JOIN weft.chats c ON c.org_id = m.org_id AND c.id = m.chat_id
WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = %(chat_id)s::uuid AND c.user_id = %(user_id)s::uuid
ORDER BY m.created_at, m.id LIMIT %(limit)s::int;

-- name: message
SELECT m.id::text, m.parent_id::text, m.role, m.state, m.content, m.text, m.error, m.run_id::text, m.created_at,
       (SELECT r.state FROM weft.runs r WHERE r.org_id = m.org_id AND r.id = m.run_id) AS run_state,
       (SELECT r.error FROM weft.runs r WHERE r.org_id = m.org_id AND r.id = m.run_id) AS run_error
FROM weft.chat_messages m JOIN weft.chats c ON c.org_id = m.org_id AND c.id = m.chat_id
WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = %(chat_id)s::uuid AND m.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid;

-- name: upward
-- From a message up to the first one, the last first, with what was attached.
WITH RECURSIVE up AS (
    SELECT m.*, 1 AS depth FROM weft.chat_messages m JOIN weft.chats c ON c.org_id = m.org_id AND c.id = m.chat_id
    WHERE m.org_id = %(org_id)s::uuid AND m.chat_id = %(chat_id)s::uuid AND m.id = %(id)s::uuid AND c.user_id = %(user_id)s::uuid
  UNION ALL
    SELECT m.*, u.depth + 1 FROM up u JOIN weft.chat_messages m ON m.org_id = %(org_id)s::uuid AND m.chat_id = %(chat_id)s::uuid AND m.id = u.parent_id
    WHERE u.depth < %(limit)s::int)
SELECT u.id::text, u.parent_id::text, u.role, u.state, u.content, u.text, u.error, u.run_id::text, u.created_at,
       (SELECT r.state FROM weft.runs r WHERE r.org_id = u.org_id AND r.id = u.run_id) AS run_state,
       (SELECT r.error FROM weft.runs r WHERE r.org_id = u.org_id AND r.id = u.run_id) AS run_error
FROM up u ORDER BY u.depth;

-- name: settle
-- An answer comes to its end once: done, failed or stopped. What has been said by then stays.
UPDATE weft.chat_messages m SET state = %(state)s::text, content = %(content)s::json, text = %(text)s::text, error = %(error)s::json
FROM weft.chats c
WHERE c.org_id = %(org_id)s::uuid AND c.id = %(chat_id)s::uuid AND c.user_id = %(user_id)s::uuid
  AND m.org_id = %(org_id)s::uuid AND m.chat_id = c.id AND m.id = %(id)s::uuid AND m.role = 'assistant'
  AND (m.state = 'writing' OR (m.state IN ('failed', 'stopped') AND %(state)s::text = 'done'));
