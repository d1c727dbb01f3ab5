-- name: older
-- Documents of a source and their pieces, other than one, that are trusted no more than it is.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind IN ('document', 'chunk')
  AND m.collection = %(collection)s::text AND m.source = %(source)s::text AND m.retracted_at IS NULL AND m.trust <= %(max_trust)s::int
  AND m.id <> %(except_id)s::uuid AND m.series IS DISTINCT FROM %(except_id)s::text;

-- name: pieces
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories d JOIN weft.memories m ON m.org_id = d.org_id AND m.scope_id = d.scope_id AND m.series = d.id::text AND m.kind = 'chunk'
WHERE d.org_id = %(org_id)s::uuid AND d.id = %(document_id)s::uuid
ORDER BY m.seq;

-- name: collections
SELECT m.collection AS name, count(*) FILTER (WHERE m.kind = 'document') AS documents, count(*) FILTER (WHERE m.kind = 'chunk') AS chunks
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.kind IN ('document', 'chunk') AND m.retracted_at IS NULL
GROUP BY m.collection ORDER BY m.collection;

-- name: piece_ids
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.series = %(document_id)s::text AND m.kind = 'chunk';
