-- name: older
-- Others of the same key in a collection, trusted no more than the one that takes their place.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'vector' AND m.collection = %(collection)s::text
  AND m.series = %(key)s::text AND m.retracted_at IS NULL AND m.id <> %(except_id)s::uuid AND m.trust <= %(max_trust)s::int;

-- name: cosine
-- Exact, per scope: an index over all would lose those of small scopes. The score is the similarity, at most 1.
SELECT m.id::text, m.body, m.data, m.trust, 1 - (v.e <=> %(vector)s::halfvec) AS score
FROM weft.memory_vectors_0 v JOIN weft.memories m ON m.org_id = v.org_id AND m.id = v.memory_id
WHERE v.org_id = %(org_id)s::uuid AND v.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
  AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
  AND (%(threshold)s::float8 IS NULL OR 1 - (v.e <=> %(vector)s::halfvec) >= %(threshold)s::float8)
ORDER BY v.e <=> %(vector)s::halfvec, m.id LIMIT %(k)s::int;

-- name: l2
-- The score is 1 / (1 + distance): 1 for the same, near 0 far away.
SELECT m.id::text, m.body, m.data, m.trust, 1 / (1 + (v.e <-> %(vector)s::halfvec)) AS score
FROM weft.memory_vectors_0 v JOIN weft.memories m ON m.org_id = v.org_id AND m.id = v.memory_id
WHERE v.org_id = %(org_id)s::uuid AND v.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
  AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
  AND (%(threshold)s::float8 IS NULL OR 1 / (1 + (v.e <-> %(vector)s::halfvec)) >= %(threshold)s::float8)
ORDER BY v.e <-> %(vector)s::halfvec, m.id LIMIT %(k)s::int;

-- name: ip
-- The score is the inner product.
SELECT m.id::text, m.body, m.data, m.trust, -(v.e <#> %(vector)s::halfvec) AS score
FROM weft.memory_vectors_0 v JOIN weft.memories m ON m.org_id = v.org_id AND m.id = v.memory_id
WHERE v.org_id = %(org_id)s::uuid AND v.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.retracted_at IS NULL AND m.trust >= %(min_trust)s::int
  AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
  AND (%(threshold)s::float8 IS NULL OR -(v.e <#> %(vector)s::halfvec) >= %(threshold)s::float8)
ORDER BY v.e <#> %(vector)s::halfvec, m.id LIMIT %(k)s::int;
