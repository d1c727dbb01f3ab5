-- name: new_id
-- An organization's row may only be written from within that organization, so its id has to be known before.
SELECT weft.uuid7() AS id;

-- name: create_organization
INSERT INTO weft.organizations (id, slug, name) VALUES (%(org_id)s, %(slug)s, %(name)s) RETURNING id, slug, name, max_running, created_at;

-- name: get_organization
SELECT id, slug, name, max_running, created_at FROM weft.organizations WHERE id = %(org_id)s;

-- name: find_organization
SELECT weft.find_organization(%(slug)s) AS id;

-- name: all_organizations
-- For the chores that are done in one organization after the other.
SELECT o.id::text AS id FROM weft.all_organizations() AS o(id);

-- name: limit_organization
UPDATE weft.organizations SET max_running = %(max_running)s::int WHERE id = %(org_id)s RETURNING id, slug, name, max_running, created_at;

-- name: create_user
INSERT INTO weft.users (org_id, name, role) VALUES (%(org_id)s, %(name)s, %(role)s) RETURNING id, name, role, created_at;

-- name: get_user
SELECT id, name, role, created_at FROM weft.users WHERE org_id = %(org_id)s AND id = %(user_id)s;

-- name: find_user
SELECT id, name, role, created_at FROM weft.users WHERE org_id = %(org_id)s AND name = %(name)s;

-- name: list_users
SELECT id, name, role, created_at FROM weft.users WHERE org_id = %(org_id)s ORDER BY name;

-- name: create_key
INSERT INTO weft.api_keys (org_id, id, user_id, name, digest, expires_at)
VALUES (%(org_id)s, %(key_id)s, %(user_id)s, %(name)s, %(digest)s, now() + %(lifetime)s)
RETURNING id, name, user_id, expires_at, revoked_at, created_at;

-- name: list_keys
SELECT id, name, user_id, expires_at, revoked_at, created_at FROM weft.api_keys WHERE org_id = %(org_id)s ORDER BY created_at, id;

-- name: revoke_key
-- Revoking twice keeps the first time.
UPDATE weft.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE org_id = %(org_id)s AND id = %(key_id)s
RETURNING id, name, user_id, expires_at, revoked_at, created_at;

-- name: find_key
-- Crosses organizations: whose key it is shows only afterwards.
SELECT org_id, id, digest, user_id, user_name, role, (revoked_at IS NOT NULL) AS revoked,
       extract(epoch FROM expires_at - now)::float8 AS seconds_left
FROM weft.find_api_key(%(key_id)s);
