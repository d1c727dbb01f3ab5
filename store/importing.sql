-- name: known
-- Memories of a kind that are there already, by what makes them the same.
SELECT m.id::text, encode(m.digest, 'hex') AS digest FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = %(kind)s::text AND m.retracted_at IS NULL
  AND m.digest = ANY(SELECT decode(d, 'hex') FROM unnest(%(digests)s::text[]) AS d);

-- name: standing
-- Pieces of a document that count, by id, after one; not those that are believed more than whoever asks.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.series = %(document_id)s::text AND m.kind = 'chunk'
  AND m.retracted_at IS NULL AND m.trust <= %(max_trust)s::int AND (%(after)s::uuid IS NULL OR m.id > %(after)s::uuid)
ORDER BY m.id LIMIT %(limit)s::int;

-- name: pieces
SELECT count(*)::int AS pieces FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.series = %(document_id)s::text AND m.kind = 'chunk' AND m.retracted_at IS NULL;
