-- Connections: named ways of calling something outside, with their secrets, which are here under envelope encryption only.

CREATE TABLE weft.connections (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,63}$'),
  kind text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_]{0,47}$'),
  description text NOT NULL DEFAULT '',
  settings json NOT NULL,                      -- nothing secret
  roles text[],                                -- who may use it; null: everybody whose runs may call out
  revision int NOT NULL DEFAULT 1,             -- optimistic concurrency of the settings
  secrets_set int NOT NULL DEFAULT 0,          -- counts what was ever set: the version of the next secret
  health text NOT NULL DEFAULT 'unknown' CHECK (health IN ('unknown', 'ok', 'failing')),
  health_note text NOT NULL DEFAULT '',
  checked_at timestamptz,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, created_by) REFERENCES weft.users (org_id, id)
);
CREATE UNIQUE INDEX connections_name_unique ON weft.connections (org_id, name) WHERE deleted_at IS NULL;

-- Sealed under a data key of its own (AES-256-GCM, bound to organization, connection, version and field), and that under a master key of the
-- key folder. What weft_app reads here opens nothing.
CREATE TABLE weft.secrets (
  org_id uuid NOT NULL DEFAULT weft.org(),
  connection_id uuid NOT NULL,
  field text NOT NULL CHECK (field ~ '^[a-z][a-z0-9_]{0,47}$'),
  version int NOT NULL,
  key_id text NOT NULL,                        -- the master key that opens `wrapped`
  wrapped bytea NOT NULL,
  sealed bytea NOT NULL,
  expires_at timestamptz,                      -- of tokens; null: until it is replaced
  set_by uuid,                                 -- null: Weft itself, by a refresh
  set_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, connection_id, field),
  FOREIGN KEY (org_id, connection_id) REFERENCES weft.connections (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, set_by) REFERENCES weft.users (org_id, id)
);

-- One-time tickets: the pages by which a person sets up a connection, or lets a vendor send Weft a token, without it passing through a model.
CREATE TABLE weft.tickets (
  org_id uuid NOT NULL DEFAULT weft.org(),
  digest bytea NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the ticket, which only its holder knows
  purpose text NOT NULL CHECK (purpose IN ('connect', 'oauth')),
  connection text NOT NULL,                    -- its name: it may not be there yet
  kind text NOT NULL,
  user_id uuid NOT NULL,
  key_id text,                                 -- of an oauth ticket: what it takes to redeem the code, sealed like a secret
  wrapped bytea,
  sealed bytea,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  PRIMARY KEY (org_id, digest),
  FOREIGN KEY (org_id, user_id) REFERENCES weft.users (org_id, id) ON DELETE CASCADE
);
CREATE INDEX tickets_expired ON weft.tickets (org_id, expires_at);

-- Who did what to which connection, never with which value. Append-only.
CREATE TABLE weft.connection_events (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id uuid NOT NULL DEFAULT weft.uuid7(),
  connection_id uuid NOT NULL,
  act text NOT NULL,
  user_id uuid,
  via text NOT NULL,
  data json,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, connection_id) REFERENCES weft.connections (org_id, id) ON DELETE CASCADE
);
CREATE INDEX connection_events_of ON weft.connection_events (org_id, connection_id, id);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['connections', 'secrets', 'tickets', 'connection_events'] LOOP
    EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON weft.connections TO weft_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.secrets, weft.tickets TO weft_app;
GRANT SELECT, INSERT ON weft.connection_events TO weft_app;
