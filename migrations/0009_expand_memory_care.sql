-- What keeps memories in order: what was done with each once, and when whose memories were consolidated last.

-- A look at a memory that is not taken twice: read by a model, compared with those before it, looked at as the double of another entity.
CREATE TABLE weft.memory_looks (
  org_id uuid NOT NULL DEFAULT weft.org(),
  memory_id uuid NOT NULL,
  work text NOT NULL CHECK (work IN ('read', 'compare', 'merge')),
  done_at timestamptz,                         -- null: begun, and nobody has said how it ended
  PRIMARY KEY (org_id, memory_id, work),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);

-- Whose memories were consolidated when; `user_id` null: everybody's. `round` counts, so that of all processes that see it due one starts it.
CREATE TABLE weft.memory_rounds (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  user_id uuid,
  round bigint NOT NULL DEFAULT 1,
  done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen text NOT NULL DEFAULT '',               -- what tells whether anything was remembered or forgotten since
  starting uuid,                               -- the run that is being started for this round; null once it is there
  UNIQUE NULLS NOT DISTINCT (org_id, user_id),
  FOREIGN KEY (org_id, user_id) REFERENCES weft.users (org_id, id) ON DELETE CASCADE
);

DO $$ DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['memory_looks', 'memory_rounds'] LOOP
    EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON weft.%I TO weft_app', name);
  END LOOP;
END $$;
