-- Tools of other servers: what a person approved of them, and what they offer now.

CREATE TABLE weft.remote_sources (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  connection text NOT NULL CHECK (length(connection) BETWEEN 1 AND 100),
  kind text NOT NULL CHECK (kind IN ('mcp', 'openapi')),
  target text NOT NULL CHECK (length(target) BETWEEN 1 AND 2000),   -- where its tools were listed: approval holds for there only
  title text NOT NULL DEFAULT '',              -- what the server calls itself
  protocol text,                               -- protocol revision, or the version of the OpenAPI document
  listed_at timestamptz,                       -- when it last told its tools
  latency_ms int CHECK (latency_ms >= 0),      -- of that
  refused json NOT NULL DEFAULT '[]',          -- what it offered that was not taken: [{name, reason}]
  error text,                                  -- the last one; null once it has answered again
  error_at timestamptz,
  PRIMARY KEY (org_id, connection)
);
ALTER TABLE weft.remote_sources ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.remote_sources FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.remote_sources USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.remote_sources TO weft_app;

CREATE TABLE weft.remote_tools (
  org_id uuid NOT NULL DEFAULT weft.org(),
  connection text NOT NULL,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
  definition json,                             -- as a person approved it; null: nobody has yet
  digest text,                                 -- SHA-256 of that
  effect text CHECK (effect IN ('read', 'write-idempotent', 'write-once')),
  offered json,                                -- as the server last offered it; null: it does so no more
  offered_digest text,
  suspended boolean NOT NULL DEFAULT false,    -- it was seen to differ from what was approved: only a person ends that
  disabled boolean NOT NULL DEFAULT false,     -- a person wants no calls
  approved_by uuid,
  approved_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  state text NOT NULL GENERATED ALWAYS AS (CASE
    WHEN disabled THEN 'disabled'
    WHEN offered_digest IS NULL THEN 'gone'
    WHEN digest IS NULL THEN 'new'
    WHEN suspended OR digest <> offered_digest THEN 'changed'
    ELSE 'approved' END) STORED,
  PRIMARY KEY (org_id, connection, name),
  FOREIGN KEY (org_id, connection) REFERENCES weft.remote_sources ON DELETE CASCADE,
  CONSTRAINT remote_tools_approved CHECK ((definition IS NULL) = (digest IS NULL) AND (digest IS NULL) = (effect IS NULL)),
  CONSTRAINT remote_tools_offered CHECK ((offered IS NULL) = (offered_digest IS NULL))
);
ALTER TABLE weft.remote_tools ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.remote_tools FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.remote_tools USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.remote_tools TO weft_app;
