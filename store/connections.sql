-- name: create
INSERT INTO weft.connections AS c (org_id, name, kind, description, settings, roles, created_by)
VALUES (%(org_id)s, %(name)s, %(kind)s, %(description)s, %(settings)s, %(roles)s, %(user_id)s)
RETURNING c.id, c.name, c.kind, c.description, c.settings, c.roles, c.revision, c.health, c.health_note, c.checked_at, c.created_by,
          c.created_at, c.updated_at;

-- name: get
SELECT c.id, c.name, c.kind, c.description, c.settings, c.roles, c.revision, c.health, c.health_note, c.checked_at, c.created_by, c.created_at,
       c.updated_at
FROM weft.connections c WHERE c.org_id = %(org_id)s AND c.name = %(name)s AND c.deleted_at IS NULL;

-- name: by_id
SELECT c.id, c.name, c.kind, c.description, c.settings, c.roles, c.revision, c.health, c.health_note, c.checked_at, c.created_by, c.created_at,
       c.updated_at
FROM weft.connections c WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.deleted_at IS NULL;

-- name: list
-- In order of names. One row too many tells that there is a next page.
SELECT c.id, c.name, c.kind, c.description, c.settings, c.roles, c.revision, c.health, c.health_note, c.checked_at, c.created_by, c.created_at,
       c.updated_at
FROM weft.connections c
WHERE c.org_id = %(org_id)s AND c.deleted_at IS NULL AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
  AND (%(after)s::text IS NULL OR c.name > %(after)s)
ORDER BY c.name LIMIT %(limit)s + 1;

-- name: count
SELECT count(*) AS total FROM weft.connections c
WHERE c.org_id = %(org_id)s AND c.deleted_at IS NULL AND (%(kind)s::text IS NULL OR c.kind = %(kind)s);

-- name: kinds
SELECT c.name, c.kind FROM weft.connections c WHERE c.org_id = %(org_id)s AND c.deleted_at IS NULL ORDER BY c.name LIMIT %(limit)s;

-- name: roles
SELECT c.name, c.roles FROM weft.connections c WHERE c.org_id = %(org_id)s AND c.deleted_at IS NULL ORDER BY c.name LIMIT %(limit)s;

-- name: update
-- No row: it is not there, or is not at that revision.
UPDATE weft.connections c
SET settings = %(settings)s, description = %(description)s, roles = %(roles)s, revision = c.revision + 1, health = 'unknown', health_note = '',
    checked_at = NULL, updated_at = now()
WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.revision = %(revision)s AND c.deleted_at IS NULL
RETURNING c.id, c.name, c.kind, c.description, c.settings, c.roles, c.revision, c.health, c.health_note, c.checked_at, c.created_by,
          c.created_at, c.updated_at;

-- name: checked
UPDATE weft.connections c SET health = %(health)s, health_note = %(note)s, checked_at = now()
WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.deleted_at IS NULL;

-- name: delete
-- Its name is free again; its row stays for what refers to it.
UPDATE weft.connections c SET deleted_at = now(), updated_at = now()
WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.deleted_at IS NULL;

-- name: lock
-- Everybody who refreshes its tokens or sets its secrets waits here for the one before.
SELECT c.revision FROM weft.connections c WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.deleted_at IS NULL FOR UPDATE;

-- name: next_version
-- Also locks the row: versions of secrets are never used twice.
UPDATE weft.connections c SET secrets_set = c.secrets_set + 1
WHERE c.org_id = %(org_id)s AND c.id = %(connection_id)s AND c.deleted_at IS NULL
RETURNING c.secrets_set;

-- name: used_by
-- Workflows whose draft or active version names it in any `connection` field, and models that are asked by it.
SELECT u.name FROM (
SELECT DISTINCT w.name FROM weft.workflows w
LEFT JOIN weft.versions v ON v.org_id = w.org_id AND v.workflow_id = w.id AND v.number = w.active_version
JOIN weft.definitions d ON d.org_id = w.org_id AND d.digest IN (w.draft, v.digest)
WHERE w.org_id = %(org_id)s AND w.deleted_at IS NULL AND strpos(d.body::text, to_json(%(name)s::text)::text) > 0
  AND jsonb_path_exists(d.body::jsonb, '$.**.connection ? (@ == $name)', jsonb_build_object('name', %(name)s::text))
UNION ALL
SELECT m.name FROM weft.models m WHERE m.org_id = %(org_id)s AND m.connection = %(name)s::text) u
ORDER BY u.name LIMIT %(limit)s;

-- name: tell
INSERT INTO weft.connection_events (org_id, connection_id, act, user_id, via, data)
VALUES (%(org_id)s, %(connection_id)s, %(act)s, %(user_id)s, %(via)s, %(data)s);

-- name: events
SELECT e.act, e.user_id, u.name AS user_name, e.via, e.data, e.at
FROM weft.connection_events e LEFT JOIN weft.users u ON u.org_id = e.org_id AND u.id = e.user_id
WHERE e.org_id = %(org_id)s AND e.connection_id = %(connection_id)s ORDER BY e.id DESC LIMIT %(limit)s;
