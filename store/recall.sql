-- name: recall
-- Words, vectors, neighbours, people, days and entities in one statement. Its parts, all between 0 and 1, are added up and come back with each
-- hit. What each is worth was measured (docs/memory.md); the words' part is BM25 of the memory and of the passage it stands in (two turns
-- before to two after). The planner knows nothing of the sizes of these parts and would pair them row by row: where two of them meet it is by
-- FULL JOIN, which hashes, rows of `memories` are fetched by lists of ids, and each scope is reached by an index of its own (LATERAL).
-- A word that more than `common` memories have finds none by itself, and counts for those that something else finds: in what the rest is,
-- the order hardly changes, and in a scope of 100,000 the statement takes a tenth of the time. A scope of no more than that is read exactly.
WITH asked AS MATERIALIZED (SELECT %(vector)s::text::halfvec AS e),      -- read once: the plan is made without the parameters
readable AS MATERIALIZED (   -- nobody else's private scopes, whatever ids were asked for
    SELECT coalesce(array_agg(s.id), '{}') AS ids FROM weft.memory_scopes s
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (%(scope_ids)s::bigint[]) AND (s.user_id IS NULL OR s.user_id = %(user_id)s::uuid)),
fading AS MATERIALIZED (     -- scopes with half-lives of their own (memory/policies.py)
    SELECT s.id, s.policy -> 'half_life_days' AS days FROM weft.memory_scopes s
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY ((SELECT ids FROM readable)::bigint[]) AND s.policy -> 'half_life_days' IS NOT NULL
      AND (s.policy ->> 'enabled' IS DISTINCT FROM 'false')),
measure AS MATERIALIZED (    -- of the scopes: how many memories, how long; large ones are not counted each time
    SELECT coalesce(%(known_n)s::float8, greatest(sum(x.n), 1)) AS n,
      coalesce(%(known_length)s::float8, greatest(sum(x.length)::float8 / nullif(sum(x.n), 0)::float8, 1)) AS length
    FROM unnest(CASE WHEN %(known_n)s::float8 IS NULL THEN (SELECT ids FROM readable) ELSE '{}' END) AS s(id) CROSS JOIN LATERAL (
        SELECT count(*) AS n, sum(m.length) AS length FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = s.id) x),
parts_of AS MATERIALIZED (   -- many scopes are asked for at once, in at most 16 parts
    SELECT array_agg(s.id) AS ids, count(*) AS size FROM unnest((SELECT ids FROM readable)) WITH ORDINALITY AS s(id, number) GROUP BY s.number %% 16),
queries AS MATERIALIZED (
    SELECT row_number() OVER () AS place, t.term, t.word, p.size, (
        SELECT string_agg(weft.memory_key(s.id, t.word)::text, '|')::tsquery FROM unnest(p.ids) AS s(id)) AS query
    FROM unnest(%(terms)s::text[]) WITH ORDINALITY AS t(word, term) CROSS JOIN parts_of p),
found AS MATERIALIZED (
    SELECT q.term, q.size, f.place, f.id, f.scope_id, f.series, f.seq, f.length, f.vouched, f.rank * q.size AS rank
    FROM weft.memory_words((SELECT ids FROM readable), ARRAY(SELECT query FROM queries ORDER BY place), %(common)s::int, %(least_trust)s::int,
        coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[], %(collection)s::text,
        %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[]) f
      JOIN queries q ON q.place = f.place),
known AS MATERIALIZED (
    SELECT p.term, sum(p.n)::float8 AS n, bool_or(p.n >= %(common)s::int) AS common
    FROM (SELECT f.term, f.place, count(*) AS n FROM found f GROUP BY f.term, f.place) p GROUP BY p.term),
sample AS MATERIALIZED (     -- how many have a common word is told by the newest
    SELECT m.scope_id, m.terms FROM unnest((SELECT ids[1:10] FROM readable)) AS s(id) CROSS JOIN LATERAL (
        SELECT m.scope_id, m.terms FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = s.id ORDER BY m.id DESC
        LIMIT 100) m
    WHERE EXISTS (SELECT FROM known WHERE common)),
weighed AS MATERIALIZED (    -- what is rare here says more
    SELECT k.term, k.common, ln(1 + (greatest(e.n - k.df, 0) + 0.5) / (k.df + 0.5)) AS idf FROM measure e CROSS JOIN LATERAL (
        SELECT k.term, k.common, CASE WHEN NOT k.common THEN k.n ELSE greatest(k.n, e.n * (
            SELECT avg((ts_rank('{1,1,1,1}'::real[], s.terms, weft.memory_key(s.scope_id, (%(terms)s::text[])[k.term])) > 0)::int) FROM sample s)) END AS df
        FROM known k) k),
every AS MATERIALIZED (      -- where all words are common: who has all of them
    SELECT f.id FROM (SELECT ARRAY(SELECT (SELECT string_agg('(' || k.one || ')', '|')::tsquery FROM (
            SELECT string_agg(weft.memory_key(s.id, (%(terms)s::text[])[k.term])::text, '&') AS one FROM unnest(p.ids) AS s(id), known k GROUP BY s.id) k)
          FROM parts_of p) AS queries
        WHERE (SELECT count(*) > 0 AND bool_and(common) FROM known)) q
      CROSS JOIN LATERAL weft.memory_words((SELECT ids FROM readable), q.queries, %(common)s::int, %(least_trust)s::int,
        coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[], %(collection)s::text,
        %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[]) f),
near_any AS MATERIALIZED (   -- exact: a shared index would lose what other scopes crowd out
    SELECT x.id, x.score FROM unnest((SELECT ids FROM readable)) AS s(id) CROSS JOIN LATERAL (
        SELECT v.memory_id AS id, 1 - (v.e <=> (SELECT e FROM asked)) AS score FROM weft.memory_vectors_0 v
        WHERE v.org_id = %(org_id)s::uuid AND v.scope_id = s.id ORDER BY v.e <=> (SELECT e FROM asked) LIMIT 100) x
    WHERE %(vector)s::text IS NOT NULL AND NOT %(filtered)s::boolean ORDER BY x.score DESC LIMIT 100),
near_live AS MATERIALIZED (
    SELECT n.id, n.score FROM near_any n JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = n.id
    WHERE weft.memory_passes(m, %(least_trust)s::int, coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[],
        %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[])),
near AS MATERIALIZED (       -- where filters, or what was superseded, leave few: only what passes is compared
    SELECT n.id, n.score FROM near_live n
    UNION
    (SELECT x.id, x.score FROM unnest((SELECT ids FROM readable)) AS s(id) CROSS JOIN LATERAL (
        SELECT v.memory_id AS id, 1 - (v.e <=> (SELECT e FROM asked)) AS score
        FROM weft.memory_vectors_0 v JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = v.memory_id
        WHERE v.org_id = %(org_id)s::uuid AND v.scope_id = s.id AND m.scope_id = s.id
          AND weft.memory_passes(m, %(least_trust)s::int, coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[],
            %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[])
        ORDER BY v.e <=> (SELECT e FROM asked) LIMIT 100) x
     WHERE %(vector)s::text IS NOT NULL AND (%(filtered)s::boolean
         OR ((SELECT count(*) FROM near_any) = 100 AND (SELECT count(*) FROM near_live) < 60)) ORDER BY x.score DESC LIMIT 100)),
first AS MATERIALIZED (      -- by the words that are not common, or by all when all are
    (SELECT f.id FROM found f JOIN weighed w ON w.term = f.term
     WHERE NOT w.common OR (SELECT bool_and(common) FROM known) GROUP BY f.id ORDER BY sum(w.idf) DESC, f.id DESC LIMIT 400)
    UNION SELECT id FROM every UNION SELECT id FROM near),
hits AS MATERIALIZED (
    SELECT f.term, w.idf, f.id, f.scope_id, f.series, f.seq, f.length, f.vouched,
      greatest(1, round(1 / (1.6449340668 * (1.0000001 - f.rank)) - 0.5))::float8 AS tf
    FROM found f JOIN weighed w ON w.term = f.term AND NOT w.common
    UNION ALL
    SELECT r.term, r.idf, r.id, r.scope_id, r.series, r.seq, r.length, r.vouched,
      greatest(1, round(1 / (1.6449340668 * (1.0000001 - r.rank)) - 0.5))::float8
    FROM (SELECT w.term, w.idf, m.id, m.scope_id, coalesce(m.series, m.id::text) AS series, coalesce(m.seq, 0) AS seq, m.length, m.trust >= 2 AS vouched,
            ts_rank('{1,1,1,1}'::real[], m.terms, weft.memory_key(m.scope_id, (%(terms)s::text[])[w.term])) AS rank
          FROM (SELECT term, idf FROM weighed WHERE common) w CROSS JOIN weft.memories m
          WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT id FROM first))) r WHERE r.rank > 0),
bm25 AS MATERIALIZED (       -- k1 1.2, b 0.75; `covers`: how much of the question, by what its words weigh
    SELECT h.id, bool_or(h.vouched) AS vouched, sum(h.idf) / (SELECT sum(idf) FROM weighed) AS covers,
      sum(h.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.length / (SELECT length FROM measure)))) AS score
    FROM hits h GROUP BY h.id),
worded AS MATERIALIZED (     -- of what is not from outside some always: it is not to be crowded out
    (SELECT * FROM bm25 ORDER BY score DESC LIMIT 100) UNION (SELECT * FROM bm25 WHERE vouched ORDER BY score DESC LIMIT 40)),
named AS MATERIALIZED (
    SELECT DISTINCT x.entity_id FROM unnest((SELECT ids FROM readable)) AS s(id) CROSS JOIN LATERAL (
        SELECT n.entity_id FROM weft.memory_names n
        WHERE n.org_id = %(org_id)s::uuid AND n.scope_id = s.id AND n.name = ANY (%(names)s::text[]) LIMIT 20) x LIMIT 20),
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
    (SELECT id FROM worded ORDER BY score DESC LIMIT 40) UNION (SELECT id FROM near ORDER BY score DESC LIMIT 40)),
around AS MATERIALIZED (
    SELECT id FROM worded UNION SELECT id FROM near UNION SELECT id FROM linked
    UNION
    SELECT m.id FROM weft.memories s CROSS JOIN LATERAL (
        SELECT m.id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = s.scope_id AND m.series = s.series
          AND m.seq BETWEEN s.seq - 2 AND s.seq + 2 ORDER BY m.seq LIMIT 5) m
    WHERE s.org_id = %(org_id)s::uuid AND s.id = ANY (ARRAY(SELECT id FROM best)) AND s.series IS NOT NULL
    UNION
    (SELECT x.id FROM unnest((SELECT ids FROM readable)) AS s(id) CROSS JOIN LATERAL (      -- and the newest, when little was found
        SELECT m.id FROM weft.memories m WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = s.id
          AND weft.memory_passes(m, %(least_trust)s::int, coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[],
            %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[])
        ORDER BY m.id DESC LIMIT %(many)s::int + %(skip)s::int) x
     WHERE (SELECT count(*) FROM (SELECT id FROM worded UNION SELECT id FROM near) f) < %(many)s::int + %(skip)s::int
     ORDER BY x.id DESC LIMIT %(many)s::int + %(skip)s::int)),
vectors AS MATERIALIZED (
    SELECT v.memory_id AS id, 1 - (v.e <=> (SELECT e FROM asked)) AS score FROM weft.memory_vectors_0 v
    WHERE %(vector)s::text IS NOT NULL AND v.org_id = %(org_id)s::uuid AND v.memory_id = ANY (ARRAY(SELECT id FROM around))),
rows AS MATERIALIZED (
    SELECT m.id, m.scope_id, coalesce(m.series, m.id::text) AS series, coalesce(m.seq, 0) AS seq, m.length, m.tokens, m.kind, m.trust, m.role,
      m.origin, m.importance, m.pinned, coalesce(m.occurred_at, m.recorded_at) AS told_at,
      (lower(m.speaker) = ANY (%(names)s::text[]) OR split_part(lower(m.speaker), ' ', 1) = ANY (%(names)s::text[])) IS TRUE AS spoken,
      (m.data ->> 'duplicate_of' = ANY (ARRAY(SELECT id::text FROM around))) IS TRUE AS doubled,
      (strpos(m.body, '?') > 0 OR strpos(m.body, '？') > 0)::int AS asks,
      CASE WHEN %(expected)s::text IS NULL OR m.id <> ALL (ARRAY(SELECT id FROM best)) THEN false ELSE left(m.body, 2000) ~ %(expected)s::text END AS expected,
      CASE WHEN %(days_from)s::timestamptz[] = '{}' THEN false ELSE
        EXISTS (SELECT FROM unnest(%(days_from)s::timestamptz[], %(days_to)s::timestamptz[]) AS d(f, t)
          WHERE m.occurred_at >= d.f AND m.occurred_at < d.t OR m.valid_from >= d.f AND m.valid_from < d.t) END AS dated
    FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT id FROM around)) AND m.scope_id = ANY ((SELECT ids FROM readable)::bigint[])
      AND weft.memory_passes(m, %(least_trust)s::int, coalesce(%(as_of)s::timestamptz, statement_timestamp()), %(known_at)s::timestamptz, %(kinds)s::text[],
        %(collection)s::text, %(series)s::text, %(speaker)s::text, %(source)s::text, %(labels)s::text[])),
field AS MATERIALIZED (
    SELECT r.*, true AS here, coalesce(w.score, 0) AS word, coalesce(w.covers, 0) AS covers, v.score AS vec, l.id IS NOT NULL AS linked,
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
fused AS (                   -- `local`: how much the surroundings say; all of it for short turns, little for long texts
    SELECT s.*, t.local, s.alone + 0.6 * t.local * (s.passage - s.alone) AS lexical,
      CASE WHEN %(vector)s::text IS NULL THEN s.alone + 0.6 * t.local * (s.passage - s.alone)
        ELSE 0.55 * (s.alone + 0.6 * t.local * (s.passage - s.alone)) + 0.45 * s.close END AS own
    FROM scaled s CROSS JOIN (SELECT least(1, 15 / length) AS local FROM measure) t),
neighboured AS (             -- two before, two after; an answer follows its question
    SELECT f.*, local * (
        CASE seq - lag(seq) OVER line WHEN 1 THEN lag(own) OVER line * (0.15 + 0.2 * lag(asks) OVER line) WHEN 2 THEN 0.05 * lag(own) OVER line ELSE 0 END
        + CASE seq - lag(seq, 2) OVER line WHEN 2 THEN 0.05 * lag(own, 2) OVER line ELSE 0 END
        + CASE lead(seq) OVER line - seq WHEN 1 THEN 0.15 * lead(own) OVER line WHEN 2 THEN 0.05 * lead(own) OVER line ELSE 0 END
        + CASE lead(seq, 2) OVER line - seq WHEN 2 THEN 0.05 * lead(own, 2) OVER line ELSE 0 END) AS neighbour,
      max(own) OVER (PARTITION BY scope_id, series) AS session,
      bool_or(spoken) OVER () AS somebody
    FROM fused f WINDOW line AS (PARTITION BY scope_id, series ORDER BY seq)),
parts AS (
    SELECT n.*, 0.3 * local * session AS of_session,
      CASE WHEN somebody THEN 0.3 * spoken::int ELSE 0.2 * (role = 'user')::int END AS of_speaker,
      0.25 * dated::int AS of_date, 0.1 * expected::int AS of_type, 0.15 * linked::int AS of_graph,
      CASE trust WHEN 3 THEN 1.0 WHEN 2 THEN 0.95 WHEN 1 THEN 0.75 ELSE 0.3 END
        * (0.9 + 0.2 * importance) * (1 + 0.05 * pinned::int)
        * CASE WHEN doubled THEN 0.6 ELSE 1 END          -- says what another one that is here has said before it
        * CASE WHEN half_life IS NULL OR pinned THEN 1
            ELSE 1 + 0.04 * power(2, -least(60, greatest(0,
              extract(epoch FROM coalesce(%(as_of)s::timestamptz, statement_timestamp()) - told_at)::float8) / 86400 / greatest(half_life, 0.001))) END AS factor
    FROM (SELECT n.*, CASE WHEN json_typeof(f.days -> n.kind) = 'number' THEN (f.days ->> n.kind)::float8 WHEN f.days -> n.kind IS NOT NULL THEN NULL
            ELSE CASE n.kind WHEN 'turn' THEN 90 WHEN 'episode' THEN 180 WHEN 'summary' THEN 180 WHEN 'chunk' THEN 365 WHEN 'entity' THEN 365 END END AS half_life
          FROM neighboured n LEFT JOIN fading f ON f.id = n.scope_id) n),
summed AS (
    SELECT p.*, (own + neighbour + of_session + coalesce(of_speaker, 0) + of_date + of_type + of_graph) * factor AS sum FROM parts p),
barred AS (                  -- nothing that a tool or a page of the web says comes before what was said here about the question
    SELECT s.*, CASE WHEN s.trust < 2 AND s.origin <> 'document' THEN least(s.sum, 0.999 * s.sum / nullif(max(s.sum) OVER (), 0)
        * min(s.sum) FILTER (WHERE s.trust >= 2 AND (s.covers >= 0.4 OR s.covers > 0 AND s.close >= 0.6 OR s.close >= 0.8)) OVER ()) ELSE s.sum END AS score
    FROM summed s),
ranked AS (
    SELECT b.* FROM barred b ORDER BY score DESC, id DESC OFFSET %(skip)s::int LIMIT %(many)s::int)
SELECT m.id::text, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.tokens, m.occurred_at,
  m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin,
  m.source, m.author, m.trust, m.labels, m.run_id::text, m.created_by::text,
  r.score::float8 AS score, r.lexical::float8 AS words, r.close::float8 AS vector, r.neighbour::float8 AS neighbours,
  r.of_session::float8 AS session, coalesce(r.of_speaker, 0)::float8 AS people, r.of_date::float8 AS date, r.of_type::float8 AS type,
  r.of_graph::float8 AS graph, r.factor::float8 AS factor,
  (SELECT n FROM measure) AS scope_size, (SELECT length FROM measure) AS scope_length
FROM ranked r JOIN weft.memories m ON m.org_id = %(org_id)s::uuid AND m.id = r.id
ORDER BY r.score DESC, r.id DESC;
