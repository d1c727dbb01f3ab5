-- name: issue
-- Those that have run out go by the way.
WITH gone AS (DELETE FROM weft.tickets t WHERE t.org_id = %(org_id)s AND t.expires_at < now() - interval '1 day')
INSERT INTO weft.tickets AS t (org_id, digest, purpose, connection, kind, user_id, key_id, wrapped, sealed, expires_at)
VALUES (%(org_id)s, %(digest)s, %(purpose)s, %(connection)s, %(kind)s, %(user_id)s, %(key_id)s, %(wrapped)s, %(sealed)s,
        now() + make_interval(secs => %(seconds)s::float8))
RETURNING t.expires_at;

-- name: get
-- Only one that is good still.
SELECT t.purpose, t.connection, t.kind, t.user_id, t.key_id, t.wrapped, t.sealed, t.expires_at
FROM weft.tickets t WHERE t.org_id = %(org_id)s AND t.digest = %(digest)s AND t.used_at IS NULL AND t.expires_at > now();

-- name: use
-- Once: of two at the same time one gets no row.
UPDATE weft.tickets t SET used_at = now()
WHERE t.org_id = %(org_id)s AND t.digest = %(digest)s AND t.used_at IS NULL AND t.expires_at > now()
RETURNING t.purpose, t.connection, t.kind, t.user_id, t.key_id, t.wrapped, t.sealed, t.expires_at;
