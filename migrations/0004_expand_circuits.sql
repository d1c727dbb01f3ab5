-- Circuit breakers and rate limits: what all processes know of the targets an organization calls.

CREATE TABLE weft.circuits (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  target text NOT NULL CHECK (length(target) BETWEEN 1 AND 300),   -- an origin such as https://api.example.com, or the name of a connection
  state text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
  failed_at timestamptz[] NOT NULL DEFAULT '{}',   -- failures in a row, the last few; empty again after any answer
  openings int NOT NULL DEFAULT 0,             -- in a row without an answer between: how long it stays open doubles with each
  times_opened int NOT NULL DEFAULT 0,         -- ever
  opened_at timestamptz,
  retry_at timestamptz,                        -- when a probe may be made
  probe text,                                  -- the call under way that decides whether it closes
  probe_until timestamptz,                     -- by then that call has ended, or its process is gone
  last_error text,
  last_error_at timestamptz,
  hold_until timestamptz,                      -- the target itself asked to be left alone until then (Retry-After)
  limit_calls int CHECK (limit_calls > 0),     -- so many calls …
  limit_seconds int CHECK (limit_seconds > 0), -- … in so many seconds; null: no limit
  limit_burst int CHECK (limit_burst > 0),     -- of them at once
  tokens float8 NOT NULL DEFAULT 0,            -- of the bucket at filled_at; below 0: handed out ahead, to calls that wait in their process
  filled_at timestamptz NOT NULL DEFAULT now(),
  slot_at timestamptz NOT NULL DEFAULT now(),  -- when the last call that was sent away should come again: each gets a time of its own
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, target),
  CONSTRAINT circuits_open CHECK ((state = 'closed') = (opened_at IS NULL) AND (state = 'closed') = (retry_at IS NULL)),
  CONSTRAINT circuits_probe CHECK ((state = 'half_open') = (probe IS NOT NULL) AND (probe IS NULL) = (probe_until IS NULL)),
  CONSTRAINT circuits_limit CHECK ((limit_calls IS NULL) = (limit_seconds IS NULL) AND (limit_calls IS NULL) = (limit_burst IS NULL))
);
ALTER TABLE weft.circuits ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.circuits FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.circuits USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.circuits TO weft_app;
