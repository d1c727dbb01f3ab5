-- name: of
-- `fresh`: not about to expire.
SELECT s.field, s.version, s.key_id, s.wrapped, s.sealed,
       (s.expires_at IS NULL OR s.expires_at > clock_timestamp() + interval '60 seconds') AS fresh
FROM weft.secrets s JOIN weft.connections c ON c.org_id = s.org_id AND c.id = s.connection_id AND c.deleted_at IS NULL
WHERE s.org_id = %(org_id)s AND c.id = %(connection_id)s;

-- name: of_name
SELECT s.field, s.version, s.key_id, s.wrapped, s.sealed,
       (s.expires_at IS NULL OR s.expires_at > clock_timestamp() + interval '60 seconds') AS fresh
FROM weft.secrets s JOIN weft.connections c ON c.org_id = s.org_id AND c.id = s.connection_id AND c.deleted_at IS NULL
WHERE s.org_id = %(org_id)s AND c.org_id = %(org_id)s AND c.name = %(name)s;

-- name: shown
-- What may be known of secrets: which are set, when and by whom.
SELECT s.connection_id, s.field, s.version, s.set_at, u.name AS set_by, s.expires_at
FROM weft.secrets s LEFT JOIN weft.users u ON u.org_id = s.org_id AND u.id = s.set_by
WHERE s.org_id = %(org_id)s AND s.connection_id = ANY(%(connection_ids)s::uuid[]) ORDER BY s.connection_id, s.field;

-- name: put
INSERT INTO weft.secrets AS s (org_id, connection_id, field, version, key_id, wrapped, sealed, expires_at, set_by)
VALUES (%(org_id)s, %(connection_id)s, %(field)s, %(version)s, %(key_id)s, %(wrapped)s, %(sealed)s,
        now() + make_interval(secs => %(lifetime)s::float8), %(user_id)s)
ON CONFLICT (org_id, connection_id, field) DO UPDATE SET version = excluded.version, key_id = excluded.key_id, wrapped = excluded.wrapped,
  sealed = excluded.sealed, expires_at = excluded.expires_at, set_by = excluded.set_by, set_at = now();

-- name: remove
DELETE FROM weft.secrets s WHERE s.org_id = %(org_id)s AND s.connection_id = %(connection_id)s
  AND (%(field)s::text IS NULL OR s.field = %(field)s);

-- name: under_other_keys
SELECT s.connection_id, s.field, s.version, s.key_id, s.wrapped FROM weft.secrets s
WHERE s.org_id = %(org_id)s AND s.key_id <> %(key_id)s ORDER BY s.connection_id, s.field LIMIT %(limit)s;

-- name: rewrap
-- The sealed bytes stay. Nothing happens to one that was replaced meanwhile.
UPDATE weft.secrets s SET key_id = %(key_id)s, wrapped = %(wrapped)s
WHERE s.org_id = %(org_id)s AND s.connection_id = %(connection_id)s AND s.field = %(field)s AND s.version = %(version)s AND s.key_id = %(old_key_id)s;
