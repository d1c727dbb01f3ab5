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
