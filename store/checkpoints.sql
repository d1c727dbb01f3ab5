-- name: save
INSERT INTO weft.checkpoints AS c (org_id, thread_id, ns, id, parent_id, kind, body, metadata)
VALUES (%(org_id)s::uuid, %(thread_id)s::text, %(ns)s::text, %(id)s::text, %(parent_id)s::text, %(kind)s::text, %(body)s::bytea, %(metadata)s::json)
ON CONFLICT (org_id, thread_id, ns, id) DO UPDATE SET kind = excluded.kind, body = excluded.body, metadata = excluded.metadata;

-- name: save_write
-- Ordinary writes of a task are kept as first written; the special ones (negative idx: error, interrupt, resume) may change.
INSERT INTO weft.checkpoint_writes AS w (org_id, thread_id, ns, checkpoint_id, task_id, task_path, idx, channel, kind, body)
VALUES (%(org_id)s::uuid, %(thread_id)s::text, %(ns)s::text, %(checkpoint_id)s::text, %(task_id)s::text, %(task_path)s::text, %(idx)s::int,
        %(channel)s::text, %(kind)s::text, %(body)s::bytea)
ON CONFLICT (org_id, thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE SET channel = excluded.channel, kind = excluded.kind, body = excluded.body
WHERE w.idx < 0;

-- name: find
-- One checkpoint by id, or the latest of the thread; `writes` are its pending writes in the order LangGraph applies them.
SELECT c.thread_id, c.ns, c.id, c.parent_id, c.kind, c.body, c.metadata,
       coalesce((SELECT json_agg(json_build_array(w.task_id, w.channel, w.kind, encode(w.body, 'base64')) ORDER BY w.task_path, w.task_id, w.idx)
                 FROM weft.checkpoint_writes w WHERE w.org_id = c.org_id AND w.thread_id = c.thread_id AND w.ns = c.ns AND w.checkpoint_id = c.id),
                '[]'::json) AS writes
FROM weft.checkpoints c
WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = %(thread_id)s::text AND c.ns = %(ns)s::text
  AND (%(id)s::text IS NULL OR c.id = %(id)s::text)
ORDER BY c.id DESC LIMIT 1;

-- name: list
SELECT c.thread_id, c.ns, c.id, c.parent_id, c.kind, c.body, c.metadata,
       coalesce((SELECT json_agg(json_build_array(w.task_id, w.channel, w.kind, encode(w.body, 'base64')) ORDER BY w.task_path, w.task_id, w.idx)
                 FROM weft.checkpoint_writes w WHERE w.org_id = c.org_id AND w.thread_id = c.thread_id AND w.ns = c.ns AND w.checkpoint_id = c.id),
                '[]'::json) AS writes
FROM weft.checkpoints c
WHERE c.org_id = %(org_id)s::uuid
  AND (%(thread_id)s::text IS NULL OR c.thread_id = %(thread_id)s::text)
  AND (%(ns)s::text IS NULL OR c.ns = %(ns)s::text)
  AND (%(id)s::text IS NULL OR c.id = %(id)s::text)
  AND (%(before)s::text IS NULL OR c.id < %(before)s::text)
  AND (%(filter)s::jsonb IS NULL OR c.metadata::jsonb @> %(filter)s::jsonb)
ORDER BY c.id DESC LIMIT %(limit)s::int;

-- name: delete_threads
WITH writes AS (DELETE FROM weft.checkpoint_writes w WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = ANY(%(thread_ids)s::text[]))
DELETE FROM weft.checkpoints c WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = ANY(%(thread_ids)s::text[]);

-- name: delete_for_runs
-- By the run_id that LangGraph notes in the metadata.
WITH gone AS (
    DELETE FROM weft.checkpoints c WHERE c.org_id = %(org_id)s::uuid AND c.metadata->>'run_id' = ANY(%(run_ids)s::text[])
    RETURNING c.thread_id, c.ns, c.id)
DELETE FROM weft.checkpoint_writes w USING gone
WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = gone.thread_id AND w.ns = gone.ns AND w.checkpoint_id = gone.id;

-- name: keep_latest
-- Of every namespace of the threads only the latest checkpoint stays.
WITH gone AS (
    DELETE FROM weft.checkpoints c WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = ANY(%(thread_ids)s::text[])
      AND EXISTS (SELECT FROM weft.checkpoints l WHERE l.org_id = c.org_id AND l.thread_id = c.thread_id AND l.ns = c.ns AND l.id > c.id)
    RETURNING c.thread_id, c.ns, c.id)
DELETE FROM weft.checkpoint_writes w USING gone
WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = gone.thread_id AND w.ns = gone.ns AND w.checkpoint_id = gone.id;

-- name: copy_thread
WITH copied AS (
    INSERT INTO weft.checkpoints (org_id, thread_id, ns, id, parent_id, kind, body, metadata)
    SELECT c.org_id, %(target)s::text, c.ns, c.id, c.parent_id, c.kind, c.body, c.metadata
    FROM weft.checkpoints c WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = %(source)s::text)
INSERT INTO weft.checkpoint_writes (org_id, thread_id, ns, checkpoint_id, task_id, task_path, idx, channel, kind, body)
SELECT w.org_id, %(target)s::text, w.ns, w.checkpoint_id, w.task_id, w.task_path, w.idx, w.channel, w.kind, w.body
FROM weft.checkpoint_writes w WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = %(source)s::text;

-- name: checkpoints_of_thread
SELECT c.thread_id, c.ns, c.id, c.parent_id, c.kind, c.body, c.metadata FROM weft.checkpoints c
WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = %(thread_id)s::text ORDER BY c.id;

-- name: writes_of_thread
SELECT w.thread_id, w.ns, w.checkpoint_id, w.task_id, w.task_path, w.idx, w.channel, w.kind, w.body FROM weft.checkpoint_writes w
WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = %(thread_id)s::text ORDER BY w.checkpoint_id, w.task_id, w.idx;

-- name: compact
-- A run that ended long ago goes on from none; were it retried, the journal knows all it did.
WITH ended AS (
    SELECT r.id::text AS thread_id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.finished_at < clock_timestamp() - %(age)s::interval
      AND EXISTS (SELECT FROM weft.checkpoints c WHERE c.org_id = r.org_id AND c.thread_id = r.id::text) LIMIT %(limit)s::int),
  writes AS (DELETE FROM weft.checkpoint_writes w USING ended e WHERE w.org_id = %(org_id)s::uuid AND w.thread_id = e.thread_id)
DELETE FROM weft.checkpoints c USING ended e WHERE c.org_id = %(org_id)s::uuid AND c.thread_id = e.thread_id;
