-- name: create
-- The definition is there before the workflow refers to it: foreign keys are looked at when the statement ends.
WITH stored AS (
  INSERT INTO weft.definitions (org_id, digest, body) VALUES (%(org_id)s, %(digest)s, %(body)s)
  ON CONFLICT (org_id, digest) DO NOTHING)
INSERT INTO weft.workflows AS w (org_id, name, description, draft, created_by)
VALUES (%(org_id)s, %(name)s, %(description)s, %(digest)s, %(user_id)s)
RETURNING w.id, w.name, w.description, %(body)s::json AS draft, w.draft AS draft_digest, w.revision, w.active_version, w.created_by,
          w.created_at, w.updated_at;

-- name: get
-- By id or by name; a name that looks like somebody else's id loses against the id.
SELECT w.id, w.name, w.description, d.body AS draft, w.draft AS draft_digest, w.revision, w.active_version, w.created_by, w.created_at,
       w.updated_at
FROM weft.workflows w JOIN weft.definitions d ON d.org_id = w.org_id AND d.digest = w.draft
WHERE w.org_id = %(org_id)s AND w.deleted_at IS NULL AND (w.id = %(id)s::uuid OR w.name = %(name)s)
ORDER BY w.id = %(id)s::uuid DESC NULLS LAST LIMIT 1;

-- name: list
-- In order of names, which are unique, so a name is a place in the list. One row too many tells that there is a next page.
SELECT w.id, w.name, w.description, w.revision, w.active_version, w.created_at, w.updated_at
FROM weft.workflows w
WHERE w.org_id = %(org_id)s AND w.deleted_at IS NULL AND (%(after)s::text IS NULL OR w.name > %(after)s)
  AND (%(search)s::text IS NULL OR strpos(lower(w.name || ' ' || w.description), lower(%(search)s)) > 0)
ORDER BY w.name LIMIT %(limit)s + 1;

-- name: count
SELECT count(*) AS total
FROM weft.workflows w
WHERE w.org_id = %(org_id)s AND w.deleted_at IS NULL
  AND (%(search)s::text IS NULL OR strpos(lower(w.name || ' ' || w.description), lower(%(search)s)) > 0);

-- name: names
SELECT name FROM weft.workflows WHERE org_id = %(org_id)s AND deleted_at IS NULL ORDER BY name LIMIT %(limit)s;

-- name: save_draft
-- No row: the workflow is not there, or is not at the revision the edit is based on.
WITH stored AS (
  INSERT INTO weft.definitions (org_id, digest, body) VALUES (%(org_id)s, %(digest)s, %(body)s)
  ON CONFLICT (org_id, digest) DO NOTHING)
UPDATE weft.workflows w
SET name = %(name)s, description = %(description)s, draft = %(digest)s, revision = w.revision + 1, updated_at = now()
WHERE w.org_id = %(org_id)s AND w.id = %(workflow_id)s AND w.revision = %(revision)s AND w.deleted_at IS NULL
RETURNING w.id, w.name, w.description, %(body)s::json AS draft, w.draft AS draft_digest, w.revision, w.active_version, w.created_by,
          w.created_at, w.updated_at;

-- name: delete
UPDATE weft.workflows SET deleted_at = now(), updated_at = now()
WHERE org_id = %(org_id)s AND id = %(workflow_id)s AND deleted_at IS NULL;

-- name: lock
-- Publishing in turn: the statement after this one sees every version that was published before the lock was given.
SELECT revision FROM weft.workflows WHERE org_id = %(org_id)s AND id = %(workflow_id)s AND deleted_at IS NULL FOR UPDATE;

-- name: publish
WITH published AS (
  INSERT INTO weft.versions (org_id, workflow_id, number, digest, note, published_by)
  SELECT w.org_id, w.id, coalesce((SELECT max(v.number) FROM weft.versions v WHERE v.org_id = w.org_id AND v.workflow_id = w.id), 0) + 1,
         w.draft, %(note)s, %(user_id)s
  FROM weft.workflows w WHERE w.org_id = %(org_id)s AND w.id = %(workflow_id)s
  RETURNING org_id, workflow_id, number, digest, note, published_by, published_at),
activated AS (
  UPDATE weft.workflows w SET active_version = p.number, updated_at = now()
  FROM published p WHERE w.org_id = p.org_id AND w.id = p.workflow_id)
SELECT p.workflow_id, p.number, p.digest, p.note, p.published_by, p.published_at, d.body AS definition
FROM published p JOIN weft.definitions d ON d.org_id = p.org_id AND d.digest = p.digest;

-- name: set_active
-- Only a version that exists can be the active one.
UPDATE weft.workflows w SET active_version = v.number, updated_at = now()
FROM weft.versions v
WHERE w.org_id = %(org_id)s AND w.id = %(workflow_id)s AND w.deleted_at IS NULL
  AND v.org_id = w.org_id AND v.workflow_id = w.id AND v.number = %(number)s;

-- name: get_version
SELECT v.workflow_id, v.number, v.digest, v.note, v.published_by, v.published_at, d.body AS definition
FROM weft.versions v JOIN weft.definitions d ON d.org_id = v.org_id AND d.digest = v.digest
WHERE v.org_id = %(org_id)s AND v.workflow_id = %(workflow_id)s AND v.number = %(number)s;

-- name: list_versions
SELECT v.number, v.digest, v.note, v.published_by, v.published_at
FROM weft.versions v
WHERE v.org_id = %(org_id)s AND v.workflow_id = %(workflow_id)s
ORDER BY v.number DESC LIMIT %(limit)s;

-- name: published
SELECT w.id AS workflow_id, w.name, w.description, v.number AS version, v.digest, d.body AS definition
FROM weft.workflows w
JOIN weft.versions v ON v.org_id = w.org_id AND v.workflow_id = w.id AND v.number = w.active_version
JOIN weft.definitions d ON d.org_id = v.org_id AND d.digest = v.digest
WHERE w.org_id = %(org_id)s AND w.deleted_at IS NULL AND (%(name)s::text IS NULL OR w.name = %(name)s)
ORDER BY w.name;

-- name: store_definition
INSERT INTO weft.definitions (org_id, digest, body) VALUES (%(org_id)s, %(digest)s, %(body)s) ON CONFLICT (org_id, digest) DO NOTHING;

-- name: definition
SELECT body FROM weft.definitions WHERE org_id = %(org_id)s AND digest = %(digest)s;
