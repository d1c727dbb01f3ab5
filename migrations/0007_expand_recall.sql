-- Recall in scopes of any size: how much is read of a word that everybody uses is bounded, and every scope is reached by its own index.

-- A lexeme of a scope as a query.
CREATE FUNCTION weft.memory_key(scope_id bigint, term text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('''' || replace(replace(scope_id::text || '.' || term, '\', '\\'), '''', '''''') || '''')::tsquery;

-- Whether a memory may be an answer: live (or as it was known), valid, trusted enough, and what the caller wants. Inlined into what asks.
CREATE FUNCTION weft.memory_passes(m weft.memories, least_trust int, at timestamptz, known_at timestamptz, wanted_kinds text[],
    wanted_collection text, wanted_series text, wanted_speaker text, wanted_source text, wanted_labels text[])
  RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN m.trust >= least_trust
  AND CASE WHEN known_at IS NULL THEN m.retracted_at IS NULL
      ELSE m.recorded_at <= known_at AND (m.retracted_at IS NULL OR m.retracted_at > known_at) END
  AND (m.valid_from IS NULL OR m.valid_from <= at) AND (m.valid_to IS NULL OR m.valid_to > at) AND (m.expires_at IS NULL OR m.expires_at > at)
  AND (wanted_kinds IS NULL OR m.kind = ANY (wanted_kinds)) AND (wanted_collection IS NULL OR m.collection = wanted_collection)
  AND (wanted_series IS NULL OR m.series = wanted_series) AND (wanted_speaker IS NULL OR m.speaker = wanted_speaker)
  AND (wanted_source IS NULL OR m.source = wanted_source) AND (wanted_labels IS NULL OR m.labels @> wanted_labels);

-- Memories of the scopes that match each query, of each at most so many, in no order. `rank` is ts_rank with weights of 1: of one lexeme
-- (1 + 1/4 + 1/9 … 1/tf²) / (pi²/6), and of an alternative of n lexemes an nth of that, from which the frequency comes back.
-- Under row security the index on terms would not be read at all, as @@ is not leakproof: so this function is of a role that sees all rows
-- (but not what they say), and minds the organization itself. It takes the place of memory_hits, which the version before still calls.
CREATE FUNCTION weft.memory_words(scopes bigint[], queries tsquery[], most int, least_trust int, at timestamptz, known_at timestamptz,
    wanted_kinds text[], wanted_collection text, wanted_series text, wanted_speaker text, wanted_source text, wanted_labels text[])
  RETURNS TABLE (place int, id uuid, scope_id bigint, series text, seq bigint, length int, vouched boolean, rank real)
  LANGUAGE sql STABLE ROWS 2000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT q.place::int, m.id, m.scope_id, coalesce(m.series, m.id::text), coalesce(m.seq, 0), m.length, m.trust >= 2,
    ts_rank('{1,1,1,1}'::real[], m.terms, q.query)
  FROM unnest(queries) WITH ORDINALITY AS q(query, place)
  CROSS JOIN LATERAL (
    SELECT m.id, m.scope_id, m.series, m.seq, m.length, m.trust, m.terms FROM weft.memories m
    WHERE m.terms @@ q.query AND m.org_id = (SELECT weft.org()) AND m.scope_id = ANY (scopes) AND m.trust >= least_trust
      AND CASE WHEN known_at IS NULL THEN m.retracted_at IS NULL
          ELSE m.recorded_at <= known_at AND (m.retracted_at IS NULL OR m.retracted_at > known_at) END
      AND (m.valid_from IS NULL OR m.valid_from <= at) AND (m.valid_to IS NULL OR m.valid_to > at)
      AND (m.expires_at IS NULL OR m.expires_at > at)
      AND (wanted_kinds IS NULL OR m.kind = ANY (wanted_kinds)) AND (wanted_collection IS NULL OR m.collection = wanted_collection)
      AND (wanted_series IS NULL OR m.series = wanted_series) AND (wanted_speaker IS NULL OR m.speaker = wanted_speaker)
      AND (wanted_source IS NULL OR m.source = wanted_source) AND (wanted_labels IS NULL OR m.labels @> wanted_labels)
    LIMIT most) m;
END;
REVOKE ALL ON FUNCTION weft.memory_key, weft.memory_passes, weft.memory_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.memory_key, weft.memory_passes, weft.memory_words TO weft_app;
GRANT CREATE ON SCHEMA weft TO weft_dispatch;
ALTER FUNCTION weft.memory_words OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;
