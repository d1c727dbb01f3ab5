-- The engine people trust: receipts, compensation, forks, payloads outside the row, admission.

-- A step's attempt may now also be `ambiguous` (a call that must not be repeated was under way when its process ended) or `compensated`
-- (it had succeeded and was undone).
ALTER TABLE weft.node_runs DROP CONSTRAINT node_runs_state_check;
ALTER TABLE weft.node_runs ADD CONSTRAINT node_runs_state_check
  CHECK (state IN ('running', 'waiting', 'retrying', 'succeeded', 'failed', 'skipped', 'cancelled', 'ambiguous', 'compensated'));
ALTER TABLE weft.node_runs
  ADD COLUMN series int NOT NULL DEFAULT 1,    -- attempt with which this series began: a retry by hand or an undo begins a new one
  ADD COLUMN effect text CHECK (effect IN ('write-idempotent', 'write-once')),   -- null: nothing outside changes
  ADD COLUMN effect_key text,                  -- the idempotency key its calls carry
  ADD COLUMN undo json,                        -- what undoes it: the rendered node of its `compensate`
  ADD COLUMN input_digest bytea,               -- set where the value is in weft.payloads and not in this row
  ADD COLUMN output_digest bytea;
CREATE INDEX node_runs_effects ON weft.node_runs (org_id, run_id, seq) WHERE effect IS NOT NULL;

-- JSON values of more than 64 KB, once per organization.
CREATE TABLE weft.payloads (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  digest bytea NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the text
  body json NOT NULL,
  size int NOT NULL,                           -- characters
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, digest)
);
ALTER TABLE weft.payloads ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.payloads FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.payloads USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE (created_at), DELETE ON weft.payloads TO weft_app;

CREATE INDEX node_runs_inputs ON weft.node_runs (org_id, input_digest) WHERE input_digest IS NOT NULL;
CREATE INDEX node_runs_outputs ON weft.node_runs (org_id, output_digest) WHERE output_digest IS NOT NULL;

ALTER TABLE weft.runs
  ADD COLUMN admitted boolean NOT NULL DEFAULT false,   -- it holds a place under its concurrency key, from its first claim to its end
  ADD COLUMN concurrency_key text,             -- rendered; null: no limit by key
  ADD COLUMN concurrency_limit int CHECK (concurrency_limit > 0),
  ADD COLUMN forked_from uuid,                 -- the run this one repeats or continues from some step; null for others
  ADD COLUMN forked_at text,                   -- the step at which they part; null: from the start
  ADD COLUMN compensate boolean NOT NULL DEFAULT false, -- with request 'cancel': undo what has been done first
  ADD COLUMN ending json,                      -- {state, error, event}: how the run ends once its compensation is done
  ADD COLUMN dead_at timestamptz,              -- when recovery gave it up; it waits for a person to requeue it
  ADD COLUMN input_digest bytea,
  ADD COLUMN output_digest bytea,
  ADD CONSTRAINT runs_concurrency CHECK ((concurrency_key IS NULL) = (concurrency_limit IS NULL)),
  ADD CONSTRAINT runs_dead CHECK (dead_at IS NULL OR state = 'failed');
CREATE INDEX runs_inputs ON weft.runs (org_id, input_digest) WHERE input_digest IS NOT NULL;
CREATE INDEX runs_outputs ON weft.runs (org_id, output_digest) WHERE output_digest IS NOT NULL;
CREATE INDEX runs_by_key ON weft.runs (org_id, concurrency_key, priority DESC, id) WHERE concurrency_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX runs_dead ON weft.runs (org_id, id DESC) WHERE dead_at IS NOT NULL;
CREATE INDEX runs_due ON weft.runs (wake_at) WHERE state IN ('queued', 'waiting') AND wake_at IS NOT NULL;
GRANT SELECT (admitted, concurrency_key, concurrency_limit), UPDATE (admitted) ON weft.runs TO weft_dispatch;

ALTER TABLE weft.organizations ADD COLUMN max_running int CHECK (max_running > 0);   -- runs driven at once; null: as many as workers have room
GRANT UPDATE (name, max_running) ON weft.organizations TO weft_app;

ALTER TABLE weft.tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE weft.tasks ADD CONSTRAINT tasks_kind_check CHECK (kind IN ('approval', 'input', 'selection', 'review', 'resolution'));
