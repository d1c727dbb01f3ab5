-- What agents remember. One table for everything that can be found, so that there is one way to find, to trust, to date and to forget;
-- what a kind has beyond that is in `data`, or beside it: entities have names, facts a key, documents chunks, graphs edges.

-- Who a memory belongs to. `user_id`: only this user reads and writes it; null: every member of the organization whose role allows it.
CREATE TABLE weft.memory_scopes (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL CHECK (kind IN ('organization', 'user', 'agent', 'conversation', 'workflow', 'run')),
  name text NOT NULL CHECK (length(name) <= 200),   -- '' of the organization; the id of a user or run; else a name
  user_id uuid,
  next_seq bigint NOT NULL DEFAULT 1,          -- of the next turn of a conversation: handed out under this row's lock
  policy json,                                 -- retention and decay per kind, window of a conversation; null: the defaults
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, id),
  UNIQUE NULLS NOT DISTINCT (org_id, kind, name, user_id),
  FOREIGN KEY (org_id, user_id) REFERENCES weft.users (org_id, id) ON DELETE CASCADE
);

CREATE TABLE weft.memories (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  scope_id bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('turn', 'summary', 'entity', 'episode', 'fact', 'rule', 'node', 'edge', 'document', 'chunk', 'vector')),
  collection text,                             -- of documents and vectors
  series text,                                 -- what it is one of, in an order: the session of a turn, the document of a chunk
  seq bigint,                                  -- its place there
  speaker text,                                -- who said it; the subject of a fact, the actor of an episode
  role text CHECK (role IN ('user', 'assistant', 'system', 'tool', 'developer')),
  title text,
  body text NOT NULL CHECK (length(body) <= 100000),
  data json,                                   -- what only this kind has
  terms tsvector NOT NULL,                     -- of the contextual text: date, speaker and body (memory/words.py)
  length int NOT NULL,                         -- lexemes in it, each counted as often as it is there
  tokens int NOT NULL,                         -- of the body, estimated for a model's context
  language text NOT NULL DEFAULT 'english',
  occurred_at timestamptz,                     -- when what it tells happened or was said
  valid_from timestamptz, valid_to timestamptz,            -- when it is true in the world; null: always, still
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), retracted_at timestamptz,   -- when we held it to be so
  importance real NOT NULL DEFAULT 0.5 CHECK (importance BETWEEN 0 AND 1),
  confidence real CHECK (confidence BETWEEN 0 AND 1),
  pinned boolean NOT NULL DEFAULT false,
  uses int NOT NULL DEFAULT 0,
  used_at timestamptz,
  expires_at timestamptz,
  origin text NOT NULL CHECK (origin IN ('user', 'operator', 'agent', 'tool', 'web', 'document', 'inference')),
  source text,                                 -- where it is from: a URL, a file, a tool, a run and step
  author text,
  trust smallint NOT NULL CHECK (trust BETWEEN 0 AND 3),   -- 0 quarantined, 1 untrusted, 2 inferred or internal, 3 said by a person; least of its lineage
  labels text[] NOT NULL DEFAULT '{}',
  run_id uuid,
  created_by uuid,
  digest bytea NOT NULL,                       -- SHA-256 of what makes it the same memory: kind, speaker, body, and what else the kind says
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, scope_id) REFERENCES weft.memory_scopes (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX memories_once ON weft.memories (org_id, scope_id, kind, digest) WHERE retracted_at IS NULL;
CREATE INDEX memories_in_order ON weft.memories (org_id, scope_id, series, seq);
CREATE INDEX memories_by_source ON weft.memories (org_id, source) WHERE source IS NOT NULL;
CREATE INDEX memories_expiring ON weft.memories (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX memories_terms ON weft.memories USING gin (terms);
CREATE INDEX memories_newest ON weft.memories (org_id, scope_id, id) INCLUDE (length);

-- What a memory was made of: it goes, or is made anew, when they go, and is trusted no more than the least of them.
CREATE TABLE weft.memory_lineage (
  org_id uuid NOT NULL DEFAULT weft.org(),
  child uuid NOT NULL,
  parent uuid NOT NULL,
  PRIMARY KEY (org_id, child, parent),
  FOREIGN KEY (org_id, child) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, parent) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_lineage_down ON weft.memory_lineage (org_id, parent);

-- The names of an entity or node: its own and its aliases, as they are compared (casefolded, without marks).
CREATE TABLE weft.memory_names (
  org_id uuid NOT NULL DEFAULT weft.org(),
  scope_id bigint NOT NULL,
  name text NOT NULL,
  entity_id uuid NOT NULL,
  trigrams text[] NOT NULL,
  PRIMARY KEY (org_id, scope_id, name, entity_id),
  FOREIGN KEY (org_id, entity_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_names_like ON weft.memory_names USING gin (trigrams);

-- Entities that were found to be the same. Nothing is moved: a merge that is undone leaves both as they were. `root_id` is where the chain
-- of merges ends.
CREATE TABLE weft.memory_merges (
  org_id uuid NOT NULL DEFAULT weft.org(),
  from_id uuid NOT NULL,
  into_id uuid NOT NULL,
  root_id uuid NOT NULL,
  method text NOT NULL CHECK (method IN ('person', 'similar', 'vector', 'model')),
  score real NOT NULL DEFAULT 1,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  by_user uuid,
  PRIMARY KEY (org_id, from_id),
  CHECK (from_id <> into_id),
  FOREIGN KEY (org_id, from_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, into_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, root_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  CONSTRAINT memory_merges_acyclic CHECK (root_id <> from_id)
);
CREATE INDEX memory_merges_members ON weft.memory_merges (org_id, root_id);

-- What is said of which entity: facts, turns, episodes that mention it.
CREATE TABLE weft.memory_mentions (
  org_id uuid NOT NULL DEFAULT weft.org(),
  entity_id uuid NOT NULL,
  memory_id uuid NOT NULL,
  PRIMARY KEY (org_id, entity_id, memory_id),
  FOREIGN KEY (org_id, entity_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_mentions_back ON weft.memory_mentions (org_id, memory_id);

-- Relations between entities or nodes; each is a memory of kind edge as well, which carries its dates and its source.
CREATE TABLE weft.memory_edges (
  org_id uuid NOT NULL DEFAULT weft.org(),
  memory_id uuid NOT NULL,
  from_id uuid NOT NULL,
  to_id uuid NOT NULL,
  type text NOT NULL,
  weight float8 NOT NULL DEFAULT 1,
  PRIMARY KEY (org_id, memory_id),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, from_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, to_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_edges_out ON weft.memory_edges (org_id, from_id, type);
CREATE INDEX memory_edges_in ON weft.memory_edges (org_id, to_id, type);

-- Facts: subject, predicate and object as they are compared. Of a predicate with one value at a time no two may be valid at once.
CREATE TABLE weft.memory_facts (
  org_id uuid NOT NULL DEFAULT weft.org(),
  memory_id uuid NOT NULL,
  scope_id bigint NOT NULL,
  subject text NOT NULL,
  predicate text NOT NULL,
  object text NOT NULL,
  single boolean NOT NULL,
  vouched boolean NOT NULL DEFAULT true,       -- trust 2 or 3; what is not contests what is, and never ends it
  valid tstzrange NOT NULL,
  live boolean NOT NULL DEFAULT true,          -- not retracted
  retraction text,                             -- why it is not
  key bigint GENERATED ALWAYS AS (
    hashtextextended(org_id::text || scope_id::text || chr(31) || subject || chr(31) || predicate || chr(31) || vouched::int::text, 0)) STORED,
  PRIMARY KEY (org_id, memory_id),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE,
  CONSTRAINT memory_facts_single EXCLUDE USING gist (int8range(key, key, '[]') WITH &&, valid WITH &&) WHERE (single AND live)
);
CREATE INDEX memory_facts_about ON weft.memory_facts (org_id, scope_id, subject, predicate);

-- Receipts of what was forgotten: how much and why, never what.
CREATE TABLE weft.memory_receipts (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  by_user uuid,
  reason text NOT NULL,
  selector text NOT NULL,                      -- which way they were chosen: id, query, source, subject, expiry
  forgotten json NOT NULL,                     -- {kind: number}
  digests bytea[] NOT NULL,                    -- of what is gone, so that one can prove of a text that it was among it
  PRIMARY KEY (org_id, id)
);

-- Embedding spaces: a model, its dimension and how its texts are made. One narrow table of vectors each, made by weft.open_space.
CREATE TABLE weft.memory_spaces (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id int GENERATED ALWAYS AS IDENTITY (MAXVALUE 999999999),
  provider text NOT NULL,
  model text NOT NULL,
  dimensions int NOT NULL CHECK (dimensions BETWEEN 2 AND 4000),
  version int NOT NULL DEFAULT 1,              -- of the contextual text
  metric text NOT NULL DEFAULT 'cosine' CHECK (metric IN ('cosine', 'l2', 'ip')),
  collection text,                             -- a collection of vectors that users bring themselves; null: of memories
  state text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'active', 'retired')),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, id),
  UNIQUE NULLS NOT DISTINCT (org_id, provider, model, dimensions, version, metric, collection)
);
CREATE UNIQUE INDEX memory_spaces_active ON weft.memory_spaces (org_id) WHERE state = 'active' AND collection IS NULL;

-- The form of every space's table, and the place of no vectors at all: who recalls by words alone reads this one. It stays empty.
CREATE TABLE weft.memory_vectors_0 (
  org_id uuid NOT NULL DEFAULT weft.org(),
  memory_id uuid NOT NULL,
  scope_id bigint NOT NULL,
  e halfvec NOT NULL,
  PRIMARY KEY (org_id, memory_id)
);

DO $$ DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['memory_vectors_0', 'memory_scopes', 'memories', 'memory_lineage', 'memory_names', 'memory_merges', 'memory_mentions', 'memory_edges', 'memory_facts', 'memory_receipts', 'memory_spaces'] LOOP
    EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON weft.%I TO weft_app', name);
  END LOOP;
END $$;
REVOKE UPDATE, DELETE ON weft.memory_receipts FROM weft_app;

-- Where each term is in memories of the scopes, and how often. Lexemes carry their scope, so the index is read for these scopes alone; under row
-- security it would not be read at all, as @@ is not leakproof: so this function is of a role that sees all rows, and minds the organization itself.
-- `key` is the place of the lexeme in `keys`; ts_rank of one lexeme is (1 + 1/4 + 1/9 … 1/tf²) / (pi²/6), from which the frequency comes back.
CREATE FUNCTION weft.memory_hits(scopes bigint[], keys text[], least_trust int, at timestamptz, known_at timestamptz, wanted_kinds text[],
    wanted_collection text, wanted_series text, wanted_speaker text, wanted_source text, wanted_labels text[])
  RETURNS TABLE (key int, id uuid, scope_id bigint, series text, seq bigint, length int, tf float8)
  LANGUAGE sql STABLE ROWS 2000 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.place::int, m.id, m.scope_id, coalesce(m.series, m.id::text), coalesce(m.seq, 0), m.length,
    greatest(1, round(1 / (1.6449340668 * (1.0000001 - ts_rank('{1,1,1,1}'::real[], m.terms, k.query))) - 0.5))
  FROM (SELECT place, ('''' || replace(replace(key, '\', '\\'), '''', '''''') || '''')::tsquery AS query
        FROM unnest(keys) WITH ORDINALITY AS k(key, place)) k
  CROSS JOIN LATERAL (SELECT m.org_id, m.id, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.terms,
      m.length, m.valid_from, m.valid_to, m.recorded_at, m.retracted_at, m.expires_at, m.source, m.trust, m.labels
    FROM weft.memories m WHERE m.terms @@ k.query OFFSET 0) m
  WHERE m.org_id = (SELECT weft.org()) AND m.scope_id = ANY (scopes) AND m.trust >= least_trust
    AND CASE WHEN known_at IS NULL THEN m.retracted_at IS NULL
        ELSE m.recorded_at <= known_at AND (m.retracted_at IS NULL OR m.retracted_at > known_at) END
    AND (m.valid_from IS NULL OR m.valid_from <= at) AND (m.valid_to IS NULL OR m.valid_to > at) AND (m.expires_at IS NULL OR m.expires_at > at)
    AND (wanted_kinds IS NULL OR m.kind = ANY (wanted_kinds)) AND (wanted_collection IS NULL OR m.collection = wanted_collection)
    AND (wanted_series IS NULL OR m.series = wanted_series) AND (wanted_speaker IS NULL OR m.speaker = wanted_speaker)
    AND (wanted_source IS NULL OR m.source = wanted_source) AND (wanted_labels IS NULL OR m.labels @> wanted_labels);
END;
GRANT SELECT (org_id, id, scope_id, kind, collection, series, seq, speaker, terms, length, valid_from, valid_to, recorded_at, retracted_at,
    expires_at, source, trust, labels) ON weft.memories TO weft_dispatch;
CREATE POLICY dispatch ON weft.memories FOR SELECT TO weft_dispatch USING (true);
REVOKE ALL ON FUNCTION weft.memory_hits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.memory_hits TO weft_app;
GRANT CREATE ON SCHEMA weft TO weft_dispatch;
ALTER FUNCTION weft.memory_hits OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;

-- An embedding space and its table, a copy of memory_vectors_0 with the dimension fixed: the number of the space, also when it is there already.
-- With the rights of the owner, for only the owner makes and drops tables; it does so for the organization of the transaction and no other.
CREATE FUNCTION weft.open_space(org uuid, provider text, model text, dimensions int, version int, metric text, collection text) RETURNS int
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  space int;
  name text;
BEGIN
  IF org IS DISTINCT FROM weft.org() THEN
    RAISE insufficient_privilege USING MESSAGE = 'a space is opened by its organization';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('weft spaces'), hashtext(org::text));   -- the count below is right, and nobody waits for a unique key
  SELECT s.id INTO space FROM weft.memory_spaces s
  WHERE s.org_id = org AND (s.provider, s.model, s.dimensions, s.version, s.metric) = ($2, $3, $4, $5, $6) AND s.collection IS NOT DISTINCT FROM $7;
  IF FOUND THEN
    RETURN space;
  END IF;
  IF (SELECT count(*) >= 100 FROM weft.memory_spaces s WHERE s.org_id = org) THEN
    RAISE check_violation USING CONSTRAINT = 'memory_spaces_at_most_100', MESSAGE = 'an organization has at most 100 embedding spaces';
  END IF;
  INSERT INTO weft.memory_spaces (org_id, provider, model, dimensions, version, metric, collection) VALUES (org, $2, $3, $4, $5, $6, $7) RETURNING id INTO space;
  name := 'memory_vectors_' || space;
  EXECUTE format('CREATE TABLE weft.%I (LIKE weft.memory_vectors_0 INCLUDING DEFAULTS, PRIMARY KEY (org_id, memory_id),
    FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE)', name);
  EXECUTE format('ALTER TABLE weft.%I ALTER COLUMN e TYPE %s, ALTER COLUMN e SET STORAGE PLAIN', name,
    (SELECT format_type(a.atttypid, dimensions) FROM pg_attribute a WHERE a.attrelid = 'weft.memory_vectors_0'::regclass AND a.attname = 'e'));
  EXECUTE format('CREATE INDEX ON weft.%I (org_id, scope_id)', name);
  EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', name);
  EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', name);
  EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', name);
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON weft.%I TO weft_app', name);
  RETURN space;
END $$;

-- Drops a space that is not the active one, with its vectors; whether there was one.
CREATE FUNCTION weft.close_space(org uuid, space int) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF org IS DISTINCT FROM weft.org() THEN
    RAISE insufficient_privilege USING MESSAGE = 'a space is closed by its organization';
  END IF;
  DELETE FROM weft.memory_spaces s WHERE s.org_id = org AND s.id = space AND s.state <> 'active';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  EXECUTE format('DROP TABLE IF EXISTS weft.%I', 'memory_vectors_' || space);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION weft.open_space, weft.close_space FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.open_space, weft.close_space TO weft_app;
