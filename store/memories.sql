-- name: find_scope
SELECT id, kind, name, user_id::text FROM weft.memory_scopes
WHERE org_id = %(org_id)s::uuid AND kind = %(kind)s::text AND name = %(name)s::text AND user_id IS NOT DISTINCT FROM %(user_id)s::uuid;

-- name: get_scope
SELECT id, kind, name, user_id::text FROM weft.memory_scopes WHERE org_id = %(org_id)s::uuid AND id = %(scope_id)s::bigint;

-- name: make_scope
-- The update changes nothing: it makes the row that another has just written come back.
INSERT INTO weft.memory_scopes AS s (org_id, kind, name, user_id) VALUES (%(org_id)s::uuid, %(kind)s::text, %(name)s::text, %(user_id)s::uuid)
ON CONFLICT (org_id, kind, name, user_id) DO UPDATE SET name = s.name
RETURNING id, kind, name, user_id::text;

-- name: visible_scopes
SELECT id, kind, name, user_id::text FROM weft.memory_scopes
WHERE org_id = %(org_id)s::uuid AND (user_id IS NULL OR user_id = %(user_id)s::uuid) AND (%(kind)s::text IS NULL OR kind = %(kind)s::text)
ORDER BY id;

-- name: insert
-- What is there already stays as it was said, and is used once more. In the order of digests, so that two writers do not wait for each other.
INSERT INTO weft.memories AS m (org_id, id, scope_id, kind, collection, series, seq, speaker, role, title, body, data, terms, length, tokens,
  language, occurred_at, valid_from, valid_to, importance, confidence, pinned, expires_at, origin, source, author, trust, labels, run_id,
  created_by, digest, recorded_at)
SELECT %(org_id)s::uuid, coalesce(r.id, weft.uuid7()), %(scope_id)s::bigint, r.kind, r.collection, r.series, r.seq, r.speaker, r.role, r.title,
  r.body, r.data, r.terms::tsvector, r.length, r.tokens, r.language, r.occurred_at, r.valid_from, r.valid_to, r.importance, r.confidence,
  r.pinned, r.expires_at, r.origin, r.source, r.author, r.trust, r.labels, r.run_id, r.created_by, decode(r.digest, 'hex'), coalesce(r.recorded_at, clock_timestamp())
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, kind text, collection text, series text, seq bigint, speaker text, role text, title text,
  body text, data json, terms text, length int, tokens int, language text, occurred_at timestamptz, valid_from timestamptz,
  valid_to timestamptz, importance real, confidence real, pinned boolean, expires_at timestamptz, origin text, source text, author text,
  trust smallint, labels text[], run_id uuid, created_by uuid, digest text, recorded_at timestamptz)
ORDER BY r.digest
ON CONFLICT (org_id, scope_id, kind, digest) WHERE retracted_at IS NULL DO UPDATE SET uses = m.uses + 1, used_at = clock_timestamp()
RETURNING id::text, xmax = 0 AS created, encode(digest, 'hex') AS digest;

-- name: trust_of
SELECT id::text, trust FROM weft.memories WHERE org_id = %(org_id)s::uuid AND id = ANY (%(ids)s::uuid[]);

-- name: heard
-- How far those of these words are believed that came from outside, as far as this user may know; none when a person has said the same.
SELECT min(m.trust) AS trust
FROM (SELECT DISTINCT weft.wording(t) AS wording FROM unnest(%(texts)s::text[]) AS t) w
  JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.wording = w.wording
  JOIN weft.memory_scopes s ON s.org_id = m.org_id AND s.id = m.scope_id AND (s.user_id IS NULL OR s.user_id = %(user_id)s::uuid)
WHERE m.trust <= 1 AND m.kind <> 'vector' AND NOT EXISTS (
  SELECT FROM weft.memories p JOIN weft.memory_scopes o ON o.org_id = p.org_id AND o.id = p.scope_id
  WHERE p.org_id = m.org_id AND p.wording = w.wording AND p.trust = 3 AND (o.user_id IS NULL OR o.user_id = %(user_id)s::uuid));

-- name: descend
-- Also their labels: those of what a memory was made of are its own.
WITH line AS (
    INSERT INTO weft.memory_lineage (org_id, child, parent)
    SELECT m.org_id, l.child, m.id FROM unnest(%(children)s::uuid[], %(parents)s::uuid[]) AS l(child, parent)
    JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = l.parent
    ON CONFLICT DO NOTHING)
UPDATE weft.memories c SET labels = s.labels
FROM (SELECT l.child, array_agg(DISTINCT t.label ORDER BY t.label) AS labels
      FROM unnest(%(children)s::uuid[], %(parents)s::uuid[]) AS l(child, parent)
        JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id IN (l.child, l.parent) CROSS JOIN LATERAL unnest(m.labels) AS t(label)
      GROUP BY l.child) s
WHERE c.org_id = %(org_id)s::uuid AND c.id = s.child AND c.labels <> s.labels;

-- name: distrust
-- No more than what they were made of.
UPDATE weft.memories c SET trust = s.trust
FROM (SELECT l.child, min(m.trust) AS trust FROM unnest(%(children)s::uuid[], %(parents)s::uuid[]) AS l(child, parent)
      JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = l.parent GROUP BY l.child) s
WHERE c.org_id = %(org_id)s::uuid AND c.id = s.child AND c.trust > s.trust;

-- name: put_vectors
-- Of memories that are still there: who forgets one meanwhile waits for us, or we find it gone. Answers with the space that is active now.
WITH put AS (
    INSERT INTO weft.memory_vectors_0 (org_id, memory_id, scope_id, e)
    SELECT m.org_id, m.id, m.scope_id, v.e::halfvec FROM unnest(%(ids)s::uuid[], %(vectors)s::text[]) AS v(id, e)
    JOIN LATERAL (SELECT m.org_id, m.id, m.scope_id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = v.id FOR KEY SHARE) m ON true
    ON CONFLICT (org_id, memory_id) DO UPDATE SET e = excluded.e)
SELECT id, provider, model, dimensions FROM weft.memory_spaces WHERE org_id = %(org_id)s::uuid AND state = 'active' AND collection IS NULL;

-- name: vectorless
SELECT m.id::text, m.title, m.body, m.speaker, m.occurred_at FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.kind <> 'vector'
  AND NOT EXISTS (SELECT FROM weft.memory_vectors_0 v WHERE v.org_id = m.org_id AND v.memory_id = m.id)
  AND NOT EXISTS (SELECT FROM weft.memory_entries e WHERE e.org_id = m.org_id AND e.memory_id = m.id AND NOT e.indexed);

-- name: active_space
SELECT id, provider, model, dimensions FROM weft.memory_spaces
WHERE org_id = %(org_id)s::uuid AND state = 'active' AND collection IS NULL
  AND provider = %(provider)s::text AND model = %(model)s::text AND dimensions = %(dimensions)s::int;

-- name: get
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS wanted(id, place) JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = wanted.id
ORDER BY wanted.place;

-- name: page
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (%(scope_ids)s::bigint[])
  AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
  AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(retracted)s::boolean OR m.retracted_at IS NULL)
  AND (%(hidden)s::boolean IS NULL OR %(hidden)s::boolean = (m.trust = 0))
  AND (%(before)s::uuid IS NULL OR m.id < %(before)s::uuid)
ORDER BY m.id DESC LIMIT %(limit)s::int;

-- name: count
SELECT count(*) AS count FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (%(scope_ids)s::bigint[])
  AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
  AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(retracted)s::boolean OR m.retracted_at IS NULL)
  AND (%(hidden)s::boolean IS NULL OR %(hidden)s::boolean = (m.trust = 0));

-- name: touch
UPDATE weft.memories SET uses = uses + 1, used_at = clock_timestamp() WHERE org_id = %(org_id)s::uuid AND id = ANY (%(ids)s::uuid[]);

-- name: delete
DELETE FROM weft.memories WHERE org_id = %(org_id)s::uuid AND id = ANY (%(ids)s::uuid[]) RETURNING id::text;
