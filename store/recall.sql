-- name: recall
-- Words, vectors, neighbours, people, days and entities in one statement. Its parts, all between 0 and 1, are added up and come back with each
-- hit. What each is worth was measured (docs/memory.md); the words' part is BM25 of the memory and of the passage it stands in (two turns
-- before to two after). With the filters that every memory must pass: live (or as it was known), valid, trusted, and what the caller wants.
WITH moment AS MATERIALIZED (SELECT coalesce(%(as_of)s::timestamptz, clock_timestamp()) AS at),
readable AS MATERIALIZED (   -- nobody else's private scopes, whatever ids were asked for
    SELECT coalesce(array_agg(s.id), '{}') AS ids FROM weft.memory_scopes s
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (%(scope_ids)s::bigint[]) AND (s.user_id IS NULL OR s.user_id = %(user_id)s::uuid)),
asked AS MATERIALIZED (      -- one lexeme per scope and term
    SELECT k.place::int AS key, k.term FROM unnest(%(terms)s::int[]) WITH ORDINALITY AS k(term, place)),
hits AS MATERIALIZED (
    SELECT a.term, h.id, h.scope_id, h.series, h.seq, h.length, h.tf
    FROM readable, moment, weft.memory_hits(readable.ids, %(keys)s::text[], %(least_trust)s::int, moment.at, %(known_at)s::timestamptz,
        %(kinds)s::text[], %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[]) h
      JOIN asked a ON a.key = h.key),
measure AS MATERIALIZED (    -- of the scopes: how many memories, how long; a sample tells the length of a big one
    SELECT greatest(count(*), 1)::float8 AS n, greatest(avg(m.length), 1)::float8 AS length FROM weft.memories m, readable
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (readable.ids)),
weights AS MATERIALIZED (    -- rare here says more
    SELECT h.term, ln(1 + (greatest(measure.n - count(*), 0) + 0.5) / (count(*) + 0.5)) AS idf FROM hits h, measure GROUP BY h.term, measure.n),
worded AS MATERIALIZED (     -- BM25, k1 1.2, b 0.75
    SELECT h.id, sum(w.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.length / measure.length))) AS score
    FROM hits h JOIN weights w ON w.term = h.term, measure GROUP BY h.id ORDER BY score DESC LIMIT 400),
near AS MATERIALIZED (       -- exact: a shared index would lose what other scopes crowd out
    SELECT v.memory_id AS id, 1 - (v.e <=> %(vector)s::text::halfvec) AS score FROM weft.memory_vectors_0 v, readable
    WHERE %(vector)s::text IS NOT NULL AND v.org_id = %(org_id)s::uuid AND v.scope_id = ANY (readable.ids)
    ORDER BY v.e <=> %(vector)s::text::halfvec LIMIT CASE WHEN %(filtered)s::boolean THEN NULL ELSE 400 END),
named AS MATERIALIZED (
    SELECT DISTINCT n.entity_id FROM weft.memory_names n, readable
    WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = ANY (readable.ids) AND n.name = ANY (%(names)s::text[]) LIMIT 20),
linked AS MATERIALIZED (     -- what is said of an entity the question names, and its relations
    (SELECT x.memory_id AS id FROM weft.memory_mentions x JOIN named ON x.org_id = %(org_id)s::uuid AND x.entity_id = named.entity_id LIMIT 200)
    UNION
    (SELECT e.memory_id FROM weft.memory_edges e JOIN named ON e.org_id = %(org_id)s::uuid AND named.entity_id IN (e.from_id, e.to_id) LIMIT 200)),
pool AS (
    SELECT id, max(word) AS word, max(vec) AS vec FROM (
      SELECT id, score AS word, NULL::float8 AS vec FROM worded UNION ALL SELECT id, NULL, score FROM near UNION ALL SELECT id, NULL, NULL FROM linked
    ) found GROUP BY id),
seeds AS MATERIALIZED (      -- the best by either
    SELECT m.scope_id, m.series, m.seq, m.id FROM (
      SELECT id, row_number() OVER (ORDER BY word DESC NULLS LAST) AS by_word, row_number() OVER (ORDER BY vec DESC NULLS LAST) AS by_vec,
        word, vec FROM pool) p
      JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = p.id
    WHERE (p.word IS NOT NULL AND p.by_word <= 80) OR (p.vec IS NOT NULL AND p.by_vec <= 80)),
around AS (                  -- and what stands beside them
    SELECT id FROM pool
    UNION
    SELECT m.id FROM seeds s JOIN weft.memories m
      ON m.org_id = %(org_id)s::uuid AND m.scope_id = s.scope_id AND m.series = s.series AND m.seq BETWEEN s.seq - 2 AND s.seq + 2
    UNION
    (SELECT m.id FROM readable, weft.memories m   -- and the newest, when little was found
     WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY (readable.ids) ORDER BY m.id DESC
     LIMIT CASE WHEN %(filtered)s::boolean THEN NULL ELSE %(many)s::int END)),
field AS MATERIALIZED (
    SELECT m.id, m.scope_id, coalesce(m.series, m.id::text) AS series, coalesce(m.seq, 0) AS seq, m.length, m.tokens, m.kind, m.trust, m.role,
      m.importance, m.pinned, coalesce(m.occurred_at, m.recorded_at) AS told_at, coalesce(w.score, 0) AS word,
      coalesce(n.score, 1 - (v.e <=> %(vector)s::text::halfvec)) AS vec,
      (lower(m.speaker) = ANY (%(names)s::text[]) OR split_part(lower(m.speaker), ' ', 1) = ANY (%(names)s::text[])) IS TRUE AS spoken,
      (strpos(m.body, '?') > 0 OR strpos(m.body, '？') > 0)::int AS asks,
      (%(expected)s::text IS NOT NULL AND left(m.body, 2000) ~ %(expected)s::text) AS expected,
      EXISTS (SELECT FROM linked l WHERE l.id = m.id) AS linked,
      EXISTS (SELECT FROM unnest(%(days_from)s::timestamptz[], %(days_to)s::timestamptz[]) AS d(f, t)
        WHERE m.occurred_at >= d.f AND m.occurred_at < d.t OR m.valid_from >= d.f AND m.valid_from < d.t) AS dated
    FROM around a JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = a.id
      LEFT JOIN worded w ON w.id = m.id LEFT JOIN near n ON n.id = m.id
      LEFT JOIN weft.memory_vectors_0 v ON %(vector)s::text IS NOT NULL AND v.org_id = %(org_id)s::uuid AND v.memory_id = m.id,
      readable, moment
    WHERE m.scope_id = ANY (readable.ids) AND m.trust >= %(least_trust)s::int
      AND CASE WHEN %(known_at)s::timestamptz IS NULL THEN m.retracted_at IS NULL
          ELSE m.recorded_at <= %(known_at)s::timestamptz AND (m.retracted_at IS NULL OR m.retracted_at > %(known_at)s::timestamptz) END
      AND (m.valid_from IS NULL OR m.valid_from <= moment.at) AND (m.valid_to IS NULL OR m.valid_to > moment.at)
      AND (m.expires_at IS NULL OR m.expires_at > moment.at)
      AND (%(kinds)s::text[] IS NULL OR m.kind = ANY (%(kinds)s::text[])) AND (%(collection)s::text IS NULL OR m.collection = %(collection)s::text)
      AND (%(series)s::text IS NULL OR m.series = %(series)s::text) AND (%(speaker)s::text IS NULL OR m.speaker = %(speaker)s::text)
      AND (%(source)s::text IS NULL OR m.source = %(source)s::text) AND (%(labels)s::text[] IS NULL OR m.labels @> %(labels)s::text[])),
passages AS (                -- each term over two before to two after; what no vector or word found has no passage to stand in
    SELECT f.id, w.term, w.idf, sum(h.tf) AS tf
    FROM field f
      CROSS JOIN generate_series(-2, 2) AS step(by)
      JOIN hits h ON h.scope_id = f.scope_id AND h.series = f.series AND h.seq = f.seq + step.by
      JOIN weights w ON w.term = h.term
    GROUP BY f.id, w.term, w.idf),
lengths AS (
    SELECT id, sum(length) OVER beside AS length FROM field
    WINDOW beside AS (PARTITION BY scope_id, series ORDER BY seq RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING)),
passaged AS (
    SELECT p.id, sum(p.idf * p.tf * 2.2 / (p.tf + 1.2 * (0.25 + 0.75 * l.length / (4.5 * measure.length)))) AS score
    FROM passages p JOIN lengths l ON l.id = p.id, measure GROUP BY p.id),
scaled AS (
    SELECT f.*, CASE WHEN max(f.word) OVER () > 0 THEN f.word / max(f.word) OVER () ELSE 0 END AS alone,
      CASE WHEN max(p.score) OVER () > 0 THEN coalesce(p.score, 0) / max(p.score) OVER () ELSE 0 END AS passage,
      coalesce((f.vec - min(f.vec) OVER ()) / nullif(max(f.vec) OVER () - min(f.vec) OVER (), 0), 0) AS close
    FROM field f LEFT JOIN passaged p ON p.id = f.id),
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
            THEN 1 + 0.04 * exp(-greatest(0, extract(epoch FROM moment.at - told_at)) / 7776000.0) ELSE 1 END AS factor
    FROM neighboured n, moment),
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
