-- name: lock
-- The number of the next turn. Who appends to a scope goes one after the other until they commit: numbers are without gaps.
SELECT s.next_seq FROM weft.memory_scopes s WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint FOR UPDATE;

-- name: advance
UPDATE weft.memory_scopes s SET next_seq = s.next_seq + %(number)s::bigint WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint;

-- name: known
SELECT encode(m.digest, 'hex') AS digest FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = %(kind)s::text AND m.retracted_at IS NULL
  AND m.digest IN (SELECT decode(d, 'hex') FROM unnest(%(digests)s::text[]) AS d);

-- name: last
-- Newest first.
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'turn' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int AND m.seq > %(after)s::bigint
  AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
ORDER BY m.seq DESC LIMIT %(limit)s::int;

-- name: size
SELECT count(*) AS turns FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'turn' AND m.series = %(series)s::text
  AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int AND m.seq > %(after)s::bigint
  AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp());
