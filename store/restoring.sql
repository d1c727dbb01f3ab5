-- name: matching
-- Memories of an export that are there: under the same id in their scope, as the same words that still count, or as they were restored before.
SELECT x.id::text AS old, m.id::text AS id
FROM json_to_recordset(%(rows)s::json) AS x(id uuid, derived uuid, scope_id bigint, kind text, digest text, live boolean)
JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.scope_id = x.scope_id AND m.kind = x.kind AND (
  m.id = x.derived OR (m.id = x.id AND m.digest = decode(x.digest, 'hex'))
  OR (x.live AND m.retracted_at IS NULL AND m.digest = decode(x.digest, 'hex')));

-- name: insert
-- Instants that have not come yet are not when something was recorded.
INSERT INTO weft.memories (org_id, id, scope_id, kind, collection, series, seq, speaker, role, title, body, data, terms, length, tokens,
  language, occurred_at, valid_from, valid_to, recorded_at, retracted_at, importance, confidence, pinned, uses, used_at, expires_at, origin,
  source, author, trust, labels, created_by, digest)
SELECT %(org_id)s::uuid, r.id, r.scope_id, r.kind, r.collection, r.series, r.seq, r.speaker, r.role, r.title, r.body, r.data, r.terms::tsvector,
  r.length, r.tokens, r.language, r.occurred_at, r.valid_from, r.valid_to, least(r.recorded_at, clock_timestamp()),
  CASE WHEN r.retracted_at IS NOT NULL THEN least(r.retracted_at, clock_timestamp()) END, r.importance, r.confidence, r.pinned, greatest(r.uses, 0),
  CASE WHEN r.used_at IS NOT NULL THEN least(r.used_at, clock_timestamp()) END, r.expires_at, r.origin, r.source, r.author, r.trust, r.labels, %(user_id)s::uuid, decode(r.digest, 'hex')
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, scope_id bigint, kind text, collection text, series text, seq bigint, speaker text,
  role text, title text, body text, data json, terms text, length int, tokens int, language text, occurred_at timestamptz,
  valid_from timestamptz, valid_to timestamptz, recorded_at timestamptz, retracted_at timestamptz, importance real, confidence real,
  pinned boolean, uses int, used_at timestamptz, expires_at timestamptz, origin text, source text, author text, trust smallint, labels text[],
  digest text)
ORDER BY r.digest ON CONFLICT DO NOTHING RETURNING id::text;

-- name: places
-- The next place in a conversation, which nobody else gets before the transaction ends.
SELECT s.next_seq FROM weft.memory_scopes s WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint FOR UPDATE;

-- name: taken
-- Places in a conversation where there is a turn.
SELECT DISTINCT m.seq FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'turn' AND m.seq = ANY(%(places)s::bigint[]);

-- name: move_places
UPDATE weft.memory_scopes s SET next_seq = greatest(s.next_seq, %(next)s::bigint) WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint;

-- name: relate
-- What memories were made of, their names, what they mention, the entities they relate, what they were merged into.
WITH lines AS (
    INSERT INTO weft.memory_lineage (org_id, child, parent)
    SELECT %(org_id)s::uuid, x.child, x.parent FROM json_to_recordset(%(parents)s::json) AS x(child uuid, parent uuid)
    WHERE x.child <> x.parent ON CONFLICT DO NOTHING),
  named AS (
    INSERT INTO weft.memory_names (org_id, scope_id, name, entity_id, trigrams)
    SELECT %(org_id)s::uuid, x.scope_id, x.name, x.entity_id, x.trigrams
    FROM json_to_recordset(%(names)s::json) AS x(scope_id bigint, name text, entity_id uuid, trigrams text[]) ON CONFLICT DO NOTHING),
  mentioned AS (
    INSERT INTO weft.memory_mentions (org_id, entity_id, memory_id)
    SELECT %(org_id)s::uuid, x.entity_id, x.memory_id FROM json_to_recordset(%(mentions)s::json) AS x(entity_id uuid, memory_id uuid)
    ON CONFLICT DO NOTHING),
  related AS (
    INSERT INTO weft.memory_edges (org_id, memory_id, from_id, to_id, type, weight)
    SELECT %(org_id)s::uuid, x.memory_id, x.from_id, x.to_id, x.type, x.weight
    FROM json_to_recordset(%(edges)s::json) AS x(memory_id uuid, from_id uuid, to_id uuid, type text, weight float8) ON CONFLICT DO NOTHING)
INSERT INTO weft.memory_merges (org_id, from_id, into_id, root_id, method, score, by_user)
SELECT %(org_id)s::uuid, x.from_id, x.into_id, x.root_id, x.method, x.score, %(user_id)s::uuid
FROM json_to_recordset(%(merges)s::json) AS x(from_id uuid, into_id uuid, root_id uuid, method text, score real) ON CONFLICT DO NOTHING;

-- name: state
-- Facts; one that contradicts what is held here is not held, and says why.
INSERT INTO weft.memory_facts (org_id, memory_id, scope_id, subject, predicate, object, single, vouched, valid, live, retraction)
SELECT %(org_id)s::uuid, x.memory_id, x.scope_id, x.subject, x.predicate, x.object, x.single, x.vouched, tstzrange(x.valid_from, x.valid_to),
  x.live AND NOT c.contradicted, CASE WHEN x.live AND c.contradicted THEN 'contradicts what is known here' ELSE x.retraction END
FROM json_to_recordset(%(facts)s::json) AS x(memory_id uuid, scope_id bigint, subject text, predicate text, object text, single boolean,
  vouched boolean, valid_from timestamptz, valid_to timestamptz, live boolean, retraction text)
CROSS JOIN LATERAL (SELECT x.single AND EXISTS (
    SELECT FROM weft.memory_facts f WHERE f.org_id = %(org_id)s::uuid AND f.scope_id = x.scope_id AND f.subject = x.subject
      AND f.predicate = x.predicate AND f.vouched = x.vouched AND f.single AND f.live AND f.memory_id <> x.memory_id
      AND f.valid && tstzrange(x.valid_from, x.valid_to)) AS contradicted) c
ON CONFLICT (org_id, memory_id) DO NOTHING;

-- name: unheld
-- Memories of facts that are not held are retracted as well.
UPDATE weft.memories m SET retracted_at = clock_timestamp() FROM weft.memory_facts f
WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND f.org_id = m.org_id AND f.memory_id = m.id AND NOT f.live AND m.retracted_at IS NULL;

-- name: distrust
-- Nothing is trusted more than the least of what it was made of.
UPDATE weft.memories m SET trust = l.least FROM (
    SELECT x.child, min(p.trust) AS least FROM weft.memory_lineage x JOIN weft.memories p ON p.org_id = x.org_id AND p.id = x.parent
    WHERE x.org_id = %(org_id)s::uuid AND x.child = ANY(%(ids)s::uuid[]) GROUP BY x.child) l
WHERE m.org_id = %(org_id)s::uuid AND m.id = l.child AND m.trust > l.least;
