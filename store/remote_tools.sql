-- name: source
SELECT s.connection, s.kind, s.target, s.title, s.protocol, s.listed_at, s.latency_ms, s.refused, s.error, s.error_at
FROM weft.remote_sources s WHERE s.org_id = %(org_id)s::uuid AND s.connection = %(connection)s::text;

-- name: sources
SELECT s.connection, s.kind, s.target, s.title, s.protocol, s.listed_at, s.latency_ms, s.refused, s.error, s.error_at
FROM weft.remote_sources s WHERE s.org_id = %(org_id)s::uuid ORDER BY s.connection;

-- name: lock
-- Who lists the tools of a connection, or approves one, waits here for whoever does so already.
SELECT s.target FROM weft.remote_sources s WHERE s.org_id = %(org_id)s::uuid AND s.connection = %(connection)s::text FOR UPDATE;

-- name: listed
INSERT INTO weft.remote_sources (org_id, connection, kind, target, title, protocol, listed_at, latency_ms, refused)
VALUES (%(org_id)s::uuid, %(connection)s::text, %(kind)s::text, %(target)s::text, %(title)s::text, %(protocol)s::text, clock_timestamp(),
  %(latency_ms)s::int, %(refused)s::json)
ON CONFLICT (org_id, connection) DO UPDATE SET kind = excluded.kind, target = excluded.target, title = excluded.title,
  protocol = excluded.protocol, listed_at = excluded.listed_at, latency_ms = excluded.latency_ms, refused = excluded.refused, error = NULL,
  error_at = NULL;

-- name: reached
UPDATE weft.remote_sources s SET listed_at = clock_timestamp(), latency_ms = %(latency_ms)s::int, error = NULL, error_at = NULL
WHERE s.org_id = %(org_id)s::uuid AND s.connection = %(connection)s::text;

-- name: failed
INSERT INTO weft.remote_sources (org_id, connection, kind, target, error, error_at)
VALUES (%(org_id)s::uuid, %(connection)s::text, %(kind)s::text, %(target)s::text, %(error)s::text, clock_timestamp())
ON CONFLICT (org_id, connection) DO UPDATE SET error = excluded.error, error_at = excluded.error_at;

-- name: tools
SELECT t.connection, t.name, t.definition, t.digest, t.effect, t.offered, t.offered_digest, t.state, t.approved_by, t.approved_at, t.updated_at
FROM weft.remote_tools t WHERE t.org_id = %(org_id)s::uuid AND (%(connection)s::text IS NULL OR t.connection = %(connection)s::text)
ORDER BY t.connection, t.name;

-- name: tool
SELECT t.connection, t.name, t.definition, t.digest, t.effect, t.offered, t.offered_digest, t.state, t.approved_by, t.approved_at, t.updated_at
FROM weft.remote_tools t
WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text AND t.name = %(name)s::text;

-- name: offer
-- What the server offers now. Once it differs from what was approved, only a person lets it be called again, even if it changes back.
INSERT INTO weft.remote_tools (org_id, connection, name, offered, offered_digest)
VALUES (%(org_id)s::uuid, %(connection)s::text, %(name)s::text, %(offered)s::json, %(offered_digest)s::text)
ON CONFLICT (org_id, connection, name) DO UPDATE SET offered = excluded.offered, offered_digest = excluded.offered_digest,
  suspended = remote_tools.suspended OR remote_tools.digest IS DISTINCT FROM excluded.offered_digest, updated_at = clock_timestamp()
WHERE remote_tools.offered_digest IS DISTINCT FROM excluded.offered_digest
  OR (remote_tools.digest IS DISTINCT FROM excluded.offered_digest AND NOT remote_tools.suspended);

-- name: withdraw
-- What the server offers no more; what nobody has ever approved is forgotten.
WITH forgotten AS (
  DELETE FROM weft.remote_tools t WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text
    AND t.digest IS NULL AND NOT t.disabled AND t.name <> ALL (%(names)s::text[]))
UPDATE weft.remote_tools t SET offered = NULL, offered_digest = NULL, updated_at = clock_timestamp()
WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text AND t.name <> ALL (%(names)s::text[]) AND t.offered_digest IS NOT NULL
  AND (t.digest IS NOT NULL OR t.disabled);

-- name: moved
-- The connection leads elsewhere: what was approved there holds no longer.
UPDATE weft.remote_tools t SET suspended = true, updated_at = clock_timestamp()
WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text AND t.digest IS NOT NULL;

-- name: approve
-- Only what the person has seen: the digest must still be the one that is offered.
UPDATE weft.remote_tools t SET definition = t.offered, digest = t.offered_digest, effect = %(effect)s::text, suspended = false, disabled = false,
  approved_by = %(user_id)s::uuid, approved_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text AND t.name = %(name)s::text AND t.offered_digest = %(digest)s::text;

-- name: disable
UPDATE weft.remote_tools t SET disabled = true, updated_at = clock_timestamp()
WHERE t.org_id = %(org_id)s::uuid AND t.connection = %(connection)s::text AND t.name = %(name)s::text;

-- name: forget
DELETE FROM weft.remote_sources s WHERE s.org_id = %(org_id)s::uuid AND s.connection = %(connection)s::text;
