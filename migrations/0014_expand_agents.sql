-- Agent profiles: named, in versions that never change. A run keeps the version that was there when it began.

CREATE TABLE weft.agents (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
  version int NOT NULL CHECK (version > 0),
  digest bytea NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the body
  description text NOT NULL DEFAULT '',
  body json NOT NULL,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, name, version),
  FOREIGN KEY (org_id, created_by) REFERENCES weft.users (org_id, id)
);
ALTER TABLE weft.agents ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.agents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.agents USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT ON weft.agents TO weft_app;   -- append-only
