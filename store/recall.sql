-- name: recall
-- Words, vectors, neighbours, people, days and entities in one statement. Its parts, all between 0 and 1, are added up and come back with each
-- hit. What each is worth was measured (docs/memory.md); the words' part is BM25 of the memory and of the passage it stands in (two turns
-- before to two after). The planner knows nothing of the sizes of these parts and would pair them row by row: where two of them meet it is by
-- FULL JOIN, which hashes, and rows of `memories` are fetched by lists of ids. With the filters that every memory must pass: live (or as it was known), valid, trusted, and what the caller wants.
WITH moment AS MATERIALIZED (SELECT coalesce(%(as_of)s::timestamptz, clock_timestamp()) AS at),
readable AS MATERIALIZED (   -- nobody else's private scopes, whatever ids were asked for
    SELECT coalesce(array_agg(s.id), '{}') AS ids FROM weft.memory_scopes s
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (%(scope_ids)s::bigint[]) AND (s.user_id IS NULL OR s.user_id = %(user_id)s::uuid)),
measure AS MATERIALIZED (    -- of the scopes: how many memories, how long
    SELECT greatest(count(*), 1)::float8 AS n, greatest(avg(m.length), 1)::float8 AS length FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY ((SELECT ids FROM readable)::bigint[])),
hits AS MATERIALIZED (       -- a lexeme per scope and term; what is rare here says more
    SELECT (%(terms)s::int[])[h.key] AS term, h.id, h.scope_id, h.series, h.seq, h.length, h.tf,
      ln(1 + (greatest((SELECT n FROM measure) - count(*) OVER same, 0) + 0.5) / (count(*) OVER same + 0.5)) AS idf
    FROM weft.memory_hits((SELECT ids FROM readable), %(keys)s::text[], %(least_trust)s::int, (SELECT at FROM moment),
        %(known_at)s::timestamptz, %(kinds)s::text[], %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text,
        %(labels)s::text[]) h
    WINDOW same AS (PARTITION BY (%(terms)s::int[])[h.key])),
worded AS MATERIALIZED (     -- BM25, k1 1.2, b 0.75
    SELECT h.id, sum(h.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.length / (SELECT length FROM measure)))) AS score
    FROM hits h GROUP BY h.id ORDER BY score DESC LIMIT 200),
near AS MATERIALIZED (       -- exact: a shared index would lose what other scopes crowd out
    SELECT v.memory_id AS id, 1 - (v.e <=> %(vector)s::text::halfvec) AS score FROM weft.memory_vectors_0 v
    WHERE %(vector)s::text IS NOT NULL AND v.org_id = %(org_id)s::uuid AND v.scope_id = ANY ((SELECT ids FROM readable)::bigint[])
      AND (NOT %(filtered)s::boolean OR EXISTS (SELECT FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.id = v.memory_id
      AND m.trust >= %(least_trust)s::int
      AND CASE WHEN %(known_at)s::timestamptz IS NULL THEN m.retracted_at IS NULL
          ELSE m.recorded_at <= %(known_at)s::timestamptz AND (m.retracted_at IS NULL OR m.retracted_at > %(known_at)s::timestamptz) END
      AND (m.valid_from IS NULL OR m.valid_from <= (SELECT at FROM moment)) AND (m.valid_to IS NULL OR m.valid_to > (SELECT at FROM moment))
      AND (m.expires_at IS NULL OR m.expires_at > (SELECT at FROM moment))
      AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
      AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(speaker)s::text IS NULL OR m.speaker = %(speaker)s::text)
      AND (%(source)s::text IS NULL OR m.source = %(source)s::text) AND (%(labels)s::text[] IS NULL OR m.labels @> %(labels)s::text[])))
    ORDER BY v.e <=> %(vector)s::text::halfvec LIMIT 200),
named AS MATERIALIZED (
    SELECT DISTINCT n.entity_id FROM weft.memory_names n
    WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = ANY ((SELECT ids FROM readable)::bigint[]) AND n.name = ANY (%(names)s::text[]) LIMIT 20),
linked AS MATERIALIZED (     -- what is said of an entity the question names, and its relations
    (SELECT x.memory_id AS id FROM weft.memory_mentions x
     WHERE x.org_id = %(org_id)s::uuid AND x.entity_id = ANY (ARRAY(SELECT entity_id FROM named)) LIMIT 200)
    UNION
    (SELECT e.memory_id FROM weft.memory_edges e
     WHERE e.org_id = %(org_id)s::uuid AND e.from_id = ANY (ARRAY(SELECT entity_id FROM named)) LIMIT 200)
    UNION
    (SELECT e.memory_id FROM weft.memory_edges e
     WHERE e.org_id = %(org_id)s::uuid AND e.to_id = ANY (ARRAY(SELECT entity_id FROM named)) LIMIT 200)),
best AS MATERIALIZED (       -- the best by either, whose neighbours are looked at as well
    (SELECT id FROM worded ORDER BY score DESC LIMIT 60) UNION (SELECT id FROM near ORDER BY score DESC LIMIT 60)),
around AS MATERIALIZED (
    SELECT id FROM worded UNION SELECT id FROM near UNION SELECT id FROM linked
    UNION
    SELECT m.id FROM weft.memories s CROSS JOIN LATERAL (
        SELECT m.id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = s.scope_id AND m.series = s.series
          AND m.seq BETWEEN s.seq - 2 AND s.seq + 2 ORDER BY m.seq LIMIT 5) m
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (ARRAY(SELECT id FROM best)) AND s.series IS NOT NULL
    UNION
    (SELECT m.id FROM weft.memories m                -- and the newest, for when little was found
     WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY ((SELECT ids FROM readable)::bigint[])
       AND m.trust >= %(least_trust)s::int
      AND CASE WHEN %(known_at)s::timestamptz IS NULL THEN m.retracted_at IS NULL
          ELSE m.recorded_at <= %(known_at)s::timestamptz AND (m.retracted_at IS NULL OR m.retracted_at > %(known_at)s::timestamptz) END
      AND (m.valid_from IS NULL OR m.valid_from <= (SELECT at FROM moment)) AND (m.valid_to IS NULL OR m.valid_to > (SELECT at FROM moment))
      AND (m.expires_at IS NULL OR m.expires_at > (SELECT at FROM moment))
      AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
      AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(speaker)s::text IS NULL OR m.speaker = %(speaker)s::text)
      AND (%(source)s::text IS NULL OR m.source = %(source)s::text) AND (%(labels)s::text[] IS NULL OR m.labels @> %(labels)s::text[])
     ORDER BY m.id DESC LIMIT %(many)s::int + %(skip)s::int)),
vectors AS MATERIALIZED (
    SELECT v.memory_id AS id, 1 - (v.e <=> %(vector)s::text::halfvec) AS score FROM weft.memory_vectors_0 v
    WHERE %(vector)s::text IS NOT NULL AND v.org_id = %(org_id)s::uuid AND v.memory_id = ANY (ARRAY(SELECT id FROM around))),
rows AS MATERIALIZED (
    SELECT m.id, m.scope_id, coalesce(m.series, m.id::text) AS series, coalesce(m.seq, 0) AS seq, m.length, m.tokens, m.kind, m.trust, m.role,
      m.importance, m.pinned, coalesce(m.occurred_at, m.recorded_at) AS told_at,
      (lower(m.speaker) = ANY (%(names)s::text[]) OR split_part(lower(m.speaker), ' ', 1) = ANY (%(names)s::text[])) IS TRUE AS spoken,
      (strpos(m.body, '?') > 0 OR strpos(m.body, '？') > 0)::int AS asks,
      CASE WHEN %(expected)s::text IS NULL OR m.id <> ALL (ARRAY(SELECT id FROM best)) THEN false ELSE left(m.body, 2000) ~ %(expected)s::text END AS expected,
      CASE WHEN %(days_from)s::timestamptz[] = '{}' THEN false ELSE
        EXISTS (SELECT FROM unnest(%(days_from)s::timestamptz[], %(days_to)s::timestamptz[]) AS d(f, t)
          WHERE m.occurred_at >= d.f AND m.occurred_at < d.t OR m.valid_from >= d.f AND m.valid_from < d.t) END AS dated
    FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT id FROM around)) AND m.scope_id = ANY ((SELECT ids FROM readable)::bigint[])
      AND m.trust >= %(least_trust)s::int
      AND CASE WHEN %(known_at)s::timestamptz IS NULL THEN m.retracted_at IS NULL
          ELSE m.recorded_at <= %(known_at)s::timestamptz AND (m.retracted_at IS NULL OR m.retracted_at > %(known_at)s::timestamptz) END
      AND (m.valid_from IS NULL OR m.valid_from <= (SELECT at FROM moment)) AND (m.valid_to IS NULL OR m.valid_to > (SELECT at FROM moment))
      AND (m.expires_at IS NULL OR m.expires_at > (SELECT at FROM moment))
      AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
      AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(speaker)s::text IS NULL OR m.speaker = %(speaker)s::text)
      AND (%(source)s::text IS NULL OR m.source = %(source)s::text) AND (%(labels)s::text[] IS NULL OR m.labels @> %(labels)s::text[])),
field AS MATERIALIZED (
    SELECT r.*, true AS here, coalesce(w.score, 0) AS word, v.score AS vec, l.id IS NOT NULL AS linked,
      sum(r.length) OVER (PARTITION BY r.scope_id, r.series ORDER BY r.seq RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) AS passage_length
    FROM rows r FULL JOIN worded w ON w.id = r.id FULL JOIN vectors v ON v.id = r.id FULL JOIN linked l ON l.id = r.id
    WHERE coalesce(r.tokens, -1) >= 0),
places AS (                  -- each term over two before to two after
    SELECT f.id, f.passage_length, h.idf, sum(h.tf) AS tf
    FROM (SELECT id, scope_id, series, seq + step AS seq, passage_length, true AS here FROM field CROSS JOIN unnest(ARRAY[-2, -1, 0, 1, 2]) AS step) f
      FULL JOIN hits h ON h.scope_id = f.scope_id AND h.series = f.series AND h.seq = f.seq
    WHERE coalesce(f.here, false) AND coalesce(h.tf, 0) > 0
    GROUP BY f.id, f.passage_length, h.term, h.idf),
passaged AS MATERIALIZED (
    SELECT p.id, sum(p.idf * p.tf * 2.2 / (p.tf + 1.2 * (0.25 + 0.75 * p.passage_length / (4.5 * (SELECT length FROM measure))))) AS score
    FROM places p GROUP BY p.id),
scaled AS (
    SELECT f.*, CASE WHEN max(f.word) OVER () > 0 THEN f.word / max(f.word) OVER () ELSE 0 END AS alone,
      CASE WHEN max(p.score) OVER () > 0 THEN coalesce(p.score, 0) / max(p.score) OVER () ELSE 0 END AS passage,
      coalesce((f.vec - min(f.vec) OVER ()) / nullif(max(f.vec) OVER () - min(f.vec) OVER (), 0), 0) AS close
    FROM field f FULL JOIN passaged p ON p.id = f.id WHERE coalesce(f.here, false)),
fused AS (
    SELECT s.*, (s.alone + s.passage) / 2 AS lexical,
      CASE WHEN %(vector)s::text IS NULL THEN (s.alone + s.passage) / 2 ELSE (s.alone + s.passage) / 4 + s.close / 2 END AS own
    FROM scaled s),
neighboured AS (
    SELECT f.*,
      0.15 * (coalesce(sum(own) OVER before, 0) + coalesce(sum(own) OVER after, 0))
        + 0.05 * (coalesce(sum(own) OVER (PARTITION BY scope_id, series ORDER BY seq RANGE BETWEEN 2 PRECEDING AND 2 PRECEDING), 0)
          + coalesce(sum(own) OVER (PARTITION BY scope_id, series ORDER BY seq RANGE BETWEEN 2 FOLLOWING AND 2 FOLLOWING), 0))
        + 0.2 * coalesce(sum(own * asks) OVER before, 0) AS neighbour,   -- an answer follows its question
      max(own) OVER (PARTITION BY scope_id, series) AS session,
      bool_or(spoken) OVER () AS somebody
    FROM fused f
    WINDOW before AS (PARTITION BY scope_id, series ORDER BY seq RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING),
      after AS (PARTITION BY scope_id, series ORDER BY seq RANGE BETWEEN 1 FOLLOWING AND 1 FOLLOWING)),
parts AS (
    SELECT n.*, 0.3 * session AS of_session,
      CASE WHEN somebody THEN 0.35 * spoken::int ELSE 0.2 * (role = 'user')::int END AS of_speaker,
      0.25 * dated::int AS of_date, 0.1 * expected::int AS of_type, 0.15 * linked::int AS of_graph,
      CASE trust WHEN 3 THEN 1.0 WHEN 2 THEN 0.95 WHEN 1 THEN 0.75 ELSE 0.3 END
        * (0.9 + 0.2 * importance) * (1 + 0.05 * pinned::int)
        * CASE WHEN kind IN ('turn', 'episode', 'summary')
            THEN 1 + 0.04 * exp(-greatest(0, extract(epoch FROM (SELECT at FROM moment) - told_at)::float8) / 7776000) ELSE 1 END AS factor
    FROM neighboured n),
ranked AS (
    SELECT p.*, (own + neighbour + of_session + coalesce(of_speaker, 0) + of_date + of_type + of_graph) * factor AS score FROM parts p
    ORDER BY score DESC, id DESC OFFSET %(skip)s::int LIMIT %(many)s::int)
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text,
  r.score::float8 AS score, r.lexical::float8 AS words, r.close::float8 AS vector, r.neighbour::float8 AS neighbours,
  r.of_session::float8 AS session, coalesce(r.of_speaker, 0)::float8 AS people, r.of_date::float8 AS date, r.of_type::float8 AS type,
  r.of_graph::float8 AS graph, r.factor::float8 AS factor
FROM ranked r JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = r.id
ORDER BY r.score DESC, r.id DESC;
