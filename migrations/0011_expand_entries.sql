-- Values that agents keep under a namespace and a key: LangGraph's BaseStore. Each is a memory of kind document, with its value in `data` and its
-- text in `body` and chunks, and is found, trusted, exported and forgotten like any other. What only it has is here.
CREATE TABLE weft.memory_entries (
  org_id uuid NOT NULL DEFAULT weft.org(),
  scope_id bigint NOT NULL,
  digest bytea NOT NULL,                       -- SHA-256 of namespace and key: they may be longer than an index takes
  namespace text[] COLLATE "C" NOT NULL,       -- sorted label by label, in the order of code points
  key text NOT NULL,
  memory_id uuid NOT NULL,                     -- of the value there is now; a new value is a new memory
  replaced uuid,                               -- the memory of the value before, for whoever replaced it to remove
  indexed boolean NOT NULL,                    -- false: has no text and no vector to be found by
  ttl_minutes float8 CHECK (ttl_minutes > 0),  -- it expires so long after it was last written or read; null: never
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, scope_id, digest),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX memory_entries_of ON weft.memory_entries (org_id, memory_id);
CREATE INDEX memory_entries_newest ON weft.memory_entries (org_id, scope_id, updated_at);
ALTER TABLE weft.memory_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.memory_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.memory_entries USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.memory_entries TO weft_app;
