-- name: by_id
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND m.id = ANY(%(ids)s::uuid[]);

-- name: by_source
-- From a source, or from something below it: a page of a site, a part of a file.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[])
  AND (m.source = %(source)s::text OR starts_with(m.source, rtrim(%(source)s::text, '/') || '/') OR starts_with(m.source, %(source)s::text || '#'));

-- name: by_words
-- What holds all of the words, or the text as it stands anywhere a memory has text; also what was retracted.
SELECT m.id::text, m.body, m.title, m.speaker, m.data FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint
  AND ((%(terms)s::text <> '' AND m.terms @@ %(terms)s::text::tsquery)
    OR position(lower(%(needle)s::text) IN lower(concat_ws(chr(31), m.speaker, m.title, m.body, m.collection, m.series, m.source, m.author,
      array_to_string(m.labels, chr(31))))) > 0
    OR position(lower(%(escaped)s::text) IN lower(m.data::text)) > 0);

-- name: about
-- What mentions, describes or relates entities, says a fact of or with one of the names, or is said by one of them.
SELECT m.id::text FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND (
  m.id = ANY(%(entity_ids)s::uuid[]) OR lower(m.speaker) = ANY(%(speakers)s::text[])
  OR EXISTS (SELECT FROM weft.memory_mentions x WHERE x.org_id = m.org_id AND x.memory_id = m.id AND x.entity_id = ANY(%(entity_ids)s::uuid[]))
  OR EXISTS (SELECT FROM weft.memory_edges e WHERE e.org_id = m.org_id AND e.memory_id = m.id
    AND (e.from_id = ANY(%(entity_ids)s::uuid[]) OR e.to_id = ANY(%(entity_ids)s::uuid[])))
  OR EXISTS (SELECT FROM weft.memory_facts f WHERE f.org_id = m.org_id AND f.memory_id = m.id
    AND (f.subject = ANY(%(names)s::text[]) OR f.object = ANY(%(names)s::text[]))));

-- name: emptied
-- Documents of which no piece would be left.
SELECT d.id::text FROM weft.memories d
WHERE d.org_id = %(org_id)s::uuid AND d.kind = 'document' AND d.id <> ALL(%(ids)s::uuid[])
  AND d.id IN (SELECT c.series::uuid FROM weft.memories c WHERE c.org_id = %(org_id)s::uuid AND c.kind = 'chunk' AND c.id = ANY(%(ids)s::uuid[]))
  AND NOT EXISTS (SELECT FROM weft.memories c WHERE c.org_id = d.org_id AND c.scope_id = d.scope_id AND c.kind = 'chunk' AND c.series = d.id::text
    AND c.id <> ALL(%(ids)s::uuid[]));

-- name: count
SELECT m.kind, count(*) AS number FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) GROUP BY m.kind ORDER BY 1;

-- name: by_key
SELECT r.id::text, r.at, r.by_user::text, r.reason, r.selector, r.forgotten, cardinality(r.digests) AS size, r.redacted FROM weft.memory_receipts r
WHERE r.org_id = %(org_id)s::uuid AND r.key = %(key)s::text;

-- name: erase
-- Vectors, names, merges, mentions, edges, facts and lineage go with the rows; the receipt stays, with digests and without a word.
WITH gone AS (
    DELETE FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) RETURNING m.kind, m.digest)
INSERT INTO weft.memory_receipts (org_id, by_user, reason, selector, redacted, key, forgotten, digests)
SELECT %(org_id)s::uuid, %(by_user)s::uuid, %(reason)s::text, %(selector)s::text, %(redacted)s::json, %(key)s::text,
       coalesce((SELECT json_object_agg(k.kind, k.number) FROM (SELECT kind, count(*) AS number FROM gone GROUP BY kind ORDER BY kind) k), '{}'::json),
       coalesce((SELECT array_agg(digest ORDER BY digest) FROM gone), '{}'::bytea[])
RETURNING id::text, at, by_user::text, reason, selector, forgotten, cardinality(digests) AS size, redacted;

-- name: receipts
SELECT r.id::text, r.at, r.by_user::text, r.reason, r.selector, r.forgotten, cardinality(r.digests) AS size, r.redacted
FROM weft.memory_receipts r WHERE r.org_id = %(org_id)s::uuid ORDER BY r.id DESC LIMIT %(limit)s::int;

-- name: was_forgotten
-- Whether a memory with this digest was among what was forgotten.
SELECT EXISTS (SELECT FROM weft.memory_receipts r WHERE r.org_id = %(org_id)s::uuid AND decode(%(digest)s::text, 'hex') = ANY(r.digests)) AS forgotten;
