-- name: page
-- Part of a stored text, from `skipped` characters on.
SELECT substr(p.body::text, %(skipped)s::int + 1, %(limit)s::int) AS text, p.size FROM weft.payloads p
WHERE p.org_id = %(org_id)s::uuid AND p.digest = decode(%(digest)s::text, 'hex');

-- name: store
INSERT INTO weft.payloads AS p (org_id, digest, body, size)
VALUES (%(org_id)s::uuid, decode(%(digest)s::text, 'hex'), %(body)s::json, %(size)s::int)
ON CONFLICT (org_id, digest) DO UPDATE SET created_at = clock_timestamp() WHERE p.created_at < clock_timestamp() - interval '10 minutes';

-- name: purge
-- Values nothing refers to any more. Whoever is about to refer to one has just touched it (store_payloads in store/journal.sql); if that
-- happens while this looks, Postgres looks at the row again, and the row lives.
DELETE FROM weft.payloads p WHERE p.org_id = %(org_id)s::uuid AND p.created_at < clock_timestamp() - %(unused)s::interval
  AND NOT EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = p.org_id AND n.input_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = p.org_id AND n.output_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = p.org_id AND r.input_digest = p.digest)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = p.org_id AND r.output_digest = p.digest);
