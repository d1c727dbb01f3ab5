-- The first schema: identity, workflows, runs and what a run leaves behind. Every tenant row carries org_id under FORCE ROW LEVEL SECURITY.
-- Runs as the role weft_owner (the applier does SET LOCAL ROLE); nobody logs in as it. Roles are made by migrations/roles.py beforehand:
--   weft_owner NOLOGIN owns everything · weft_app LOGIN owns nothing · weft_dispatch NOLOGIN sees only the queue columns of runs.

CREATE FUNCTION weft.org() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN nullif(current_setting('weft.org', true), '')::uuid;   -- '' (not NULL) is what an unset setting reads as after its first use

-- RFC 9562 version 7 ids on every Postgres from 16 on: time-ordered for the indexes, 74 random bits so that they cannot be guessed.
CREATE FUNCTION weft.uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
  RETURN encode(
    set_byte(set_byte(
      overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
      6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
      8, (get_byte(uuid_send(gen_random_uuid()), 8) & 63) | 128), 'hex')::uuid;

CREATE TABLE weft.organizations (
  id uuid PRIMARY KEY DEFAULT weft.uuid7(),
  slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE weft.users (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  name text NOT NULL CHECK (name <> ''),
  role text NOT NULL CHECK (role IN ('owner', 'builder', 'operator', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, id),
  CONSTRAINT users_name_unique UNIQUE (org_id, name)
);

CREATE TABLE weft.api_keys (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id text NOT NULL CHECK (id ~ '^[0-9a-f]{12}$'),
  user_id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  digest bytea NOT NULL,                       -- HMAC-SHA256 of the key under the pepper of the key file; the key itself is shown once
  expires_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, user_id) REFERENCES weft.users (org_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX api_keys_by_id ON weft.api_keys (id);

-- Definitions are content-addressed and never change: drafts, versions and runs point at one by its digest.
CREATE TABLE weft.definitions (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  digest bytea NOT NULL CHECK (length(digest) = 32),
  body json NOT NULL,                          -- json, not jsonb: the author's order of keys is kept
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, digest)
);

CREATE TABLE weft.workflows (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  draft bytea NOT NULL,
  revision int NOT NULL DEFAULT 1,             -- optimistic concurrency: every edit names the revision it is based on
  active_version int,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, draft) REFERENCES weft.definitions (org_id, digest),
  FOREIGN KEY (org_id, created_by) REFERENCES weft.users (org_id, id)
);
CREATE UNIQUE INDEX workflows_name_unique ON weft.workflows (org_id, name) WHERE deleted_at IS NULL;

CREATE TABLE weft.versions (
  org_id uuid NOT NULL DEFAULT weft.org(),
  workflow_id uuid NOT NULL,
  number int NOT NULL CHECK (number > 0),
  digest bytea NOT NULL,
  note text NOT NULL DEFAULT '',
  published_by uuid NOT NULL,
  published_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, workflow_id, number),
  FOREIGN KEY (org_id, workflow_id) REFERENCES weft.workflows (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, digest) REFERENCES weft.definitions (org_id, digest),
  FOREIGN KEY (org_id, published_by) REFERENCES weft.users (org_id, id)
);

-- The runs row is the queue: state, lease, fence, wake-up time and requests live here, so a run has one state machine and not two.
CREATE TABLE weft.runs (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  workflow_id uuid,                            -- null: a definition run from a file or an unsaved draft
  version int,                                 -- null: a draft
  digest bytea NOT NULL,
  name text NOT NULL,
  mode text NOT NULL CHECK (mode IN ('production', 'test')),
  mocks json,                                  -- test runs only: node id -> output
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'waiting', 'paused', 'succeeded', 'failed', 'cancelled')),
  input json NOT NULL,
  output json,
  error json,
  idempotency_key text,
  parent_run_id uuid,
  parent_position text,
  depth smallint NOT NULL DEFAULT 0 CHECK (depth BETWEEN 0 AND 16),
  priority smallint NOT NULL DEFAULT 0,
  fence bigint NOT NULL DEFAULT 0,             -- grows with every claim; what an older claim still writes is refused
  worker bigint,                               -- advisory lock number of the driving worker; negative: it holds no lock, only the lease counts
  lease_until timestamptz,
  wake_at timestamptz,                         -- when somebody must look at this run; null: only an answer or event moves it
  signal bigint NOT NULL DEFAULT 0,            -- grows with every answer, event and request, so that no wake-up is lost while parking
  request text CHECK (request IN ('cancel', 'pause')),
  claims int NOT NULL DEFAULT 0,               -- claims in a row that ended without progress: a poison run stops at a cap
  deadline_at timestamptz,
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, digest) REFERENCES weft.definitions (org_id, digest),
  FOREIGN KEY (org_id, workflow_id) REFERENCES weft.workflows (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, parent_run_id) REFERENCES weft.runs (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, created_by) REFERENCES weft.users (org_id, id),
  CONSTRAINT runs_finished CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
  CONSTRAINT runs_leased CHECK ((state = 'running') = (worker IS NOT NULL))
);
CREATE UNIQUE INDEX runs_idempotency_unique ON weft.runs (org_id, workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_ready ON weft.runs (priority DESC, wake_at) WHERE state IN ('queued', 'waiting') AND wake_at IS NOT NULL;
CREATE INDEX runs_leases ON weft.runs (lease_until) WHERE state = 'running';
CREATE INDEX runs_recent ON weft.runs (org_id, id DESC);
CREATE INDEX runs_by_workflow ON weft.runs (org_id, workflow_id, id DESC);
CREATE INDEX runs_by_parent ON weft.runs (org_id, parent_run_id) WHERE parent_run_id IS NOT NULL;

-- No foreign key to runs here and in events: both are written only through a lock on their run (store/journal.sql), and the key's check
-- would cost a fifth of every step.
-- One row per attempt of a step; position is the path of the step with its iteration indexes, e.g. each[3]/ship.
CREATE TABLE weft.node_runs (
  org_id uuid NOT NULL DEFAULT weft.org(),
  run_id uuid NOT NULL,
  position text NOT NULL,
  attempt int NOT NULL CHECK (attempt > 0),
  node_id text NOT NULL,
  node_type text NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'waiting', 'retrying', 'succeeded', 'failed', 'skipped', 'cancelled')),
  seq bigint NOT NULL,                         -- order of settlement within the run
  input json,                                  -- the rendered config
  output json,
  error json,
  taken json,                                  -- indexes of the outgoing edges taken; null while they could not be decided
  vars json,                                   -- run variables this step assigned
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  retry_at timestamptz,
  PRIMARY KEY (org_id, run_id, position, attempt)
);

CREATE TABLE weft.events (
  org_id uuid NOT NULL DEFAULT weft.org(),
  run_id uuid NOT NULL,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  type text NOT NULL,
  level text NOT NULL CHECK (level IN ('technical', 'business')),
  position text,
  message text NOT NULL,
  data json,
  PRIMARY KEY (org_id, run_id, seq)
);

-- What a run is waiting for: a timer, an event, a person, a child run. A waiting run is these rows and nothing else.
CREATE TABLE weft.waits (
  org_id uuid NOT NULL DEFAULT weft.org(),
  run_id uuid NOT NULL,
  position text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('timer', 'event', 'task', 'child')),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'expired', 'cancelled')),
  due_at timestamptz,
  event_name text,
  correlation text,
  payload json,                                -- what resolved it
  event_id uuid,                               -- the received event that did, which no other wait of this run gets
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  resolved_at timestamptz,
  PRIMARY KEY (org_id, run_id, position),
  FOREIGN KEY (org_id, run_id) REFERENCES weft.runs (org_id, id) ON DELETE CASCADE,
  CONSTRAINT waits_event CHECK ((kind = 'event') = (event_name IS NOT NULL))
);
CREATE INDEX waits_for_event ON weft.waits (org_id, event_name, correlation) WHERE state = 'open' AND kind = 'event';

-- Events received from outside. Kept, so that an event sent a moment before a run waits for it is not lost.
CREATE TABLE weft.received_events (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  name text NOT NULL,
  correlation text,
  payload json NOT NULL,
  idempotency_key text,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, id)
);
CREATE UNIQUE INDEX received_events_idempotency_unique ON weft.received_events (org_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX received_events_by_name ON weft.received_events (org_id, name, received_at);

CREATE TABLE weft.tasks (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id uuid NOT NULL DEFAULT weft.uuid7(),
  run_id uuid NOT NULL,
  position text NOT NULL,                      -- the wait this task resolves
  kind text NOT NULL CHECK (kind IN ('approval', 'input', 'selection', 'review')),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'expired', 'cancelled')),
  title text NOT NULL,
  description text NOT NULL DEFAULT '',
  form json NOT NULL,                          -- JSON Schema of the answer: a flat object
  assign_to json,
  priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
  due_at timestamptz,
  answer json,
  answered_by uuid,
  answered_via text,
  comment text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  answered_at timestamptz,
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, run_id) REFERENCES weft.runs (org_id, id) ON DELETE CASCADE,
  CONSTRAINT tasks_one_per_wait UNIQUE (org_id, run_id, position),
  CONSTRAINT tasks_answered CHECK ((state = 'answered') = (answer IS NOT NULL))
);
CREATE INDEX tasks_open ON weft.tasks (org_id, id DESC) WHERE state = 'open';

-- LangGraph checkpoints. thread_id is the run id for our runs.
CREATE TABLE weft.checkpoints (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  thread_id text NOT NULL,
  ns text NOT NULL DEFAULT '',
  id text NOT NULL,
  parent_id text,
  kind text NOT NULL,                          -- serializer type of body
  body bytea NOT NULL,
  metadata json NOT NULL,
  PRIMARY KEY (org_id, thread_id, ns, id)
);
CREATE TABLE weft.checkpoint_writes (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  thread_id text NOT NULL,
  ns text NOT NULL DEFAULT '',
  checkpoint_id text NOT NULL,
  task_id text NOT NULL,
  task_path text NOT NULL DEFAULT '',
  idx int NOT NULL,
  channel text NOT NULL,
  kind text NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (org_id, thread_id, ns, checkpoint_id, task_id, idx)
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['users', 'api_keys', 'definitions', 'workflows', 'versions', 'runs', 'node_runs', 'events', 'waits',
                           'received_events', 'tasks', 'checkpoints', 'checkpoint_writes'] LOOP
    EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON weft.%I TO weft_app', t);
  END LOOP;
END $$;
ALTER TABLE weft.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.organizations USING (id = (SELECT weft.org())) WITH CHECK (id = (SELECT weft.org()));
GRANT SELECT, INSERT ON weft.organizations TO weft_app;
REVOKE UPDATE, DELETE ON weft.definitions, weft.versions, weft.events FROM weft_app;   -- append-only

-- The dispatcher crosses organizations, and therefore sees the queue columns of runs and nothing else.
GRANT USAGE, CREATE ON SCHEMA weft TO weft_dispatch;   -- CREATE only while this file hands it its functions
GRANT SELECT (org_id, id, state, priority, fence, worker, lease_until, wake_at, signal, request, claims, deadline_at, started_at),
      UPDATE (state, fence, worker, lease_until, wake_at, claims, started_at) ON weft.runs TO weft_dispatch;
CREATE POLICY dispatch ON weft.runs TO weft_dispatch USING (true) WITH CHECK (true);

-- Claims up to `slots` runs that are due, and any whose worker has died: its session lock is gone, or its lease has run out (a lease far in
-- the future means that the clock was set back, and counts as run out).
CREATE FUNCTION weft.claim_runs(slots int, worker_number bigint, lease interval, at timestamptz DEFAULT NULL)
  RETURNS TABLE (org_id uuid, id uuid, fence bigint, signal bigint, claims int, recovered boolean, now timestamptz)
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH clock AS (SELECT coalesce(at, clock_timestamp()) AS now),
  due AS (          -- priority, then the longest due
    SELECT r.org_id, r.id, false AS recovered FROM weft.runs r, clock
    WHERE r.state IN ('queued', 'waiting') AND r.wake_at <= clock.now
    ORDER BY r.priority DESC, r.wake_at LIMIT slots FOR UPDATE OF r SKIP LOCKED),
  orphaned AS (     -- the driving worker is gone
    SELECT r.org_id, r.id, true AS recovered FROM weft.runs r, clock
    WHERE r.state = 'running'
      AND (r.lease_until < clock.now OR r.lease_until > clock.now + 2 * lease
        OR (r.worker > 0 AND r.worker <> worker_number AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1
                AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                AND (l.classid::bigint << 32 | l.objid::bigint) = r.worker)))
    LIMIT slots FOR UPDATE OF r SKIP LOCKED),
  chosen AS (SELECT * FROM orphaned UNION ALL SELECT * FROM due LIMIT slots)
  UPDATE weft.runs r SET state = 'running', worker = worker_number, fence = r.fence + 1, lease_until = clock.now + lease, wake_at = NULL,
         started_at = coalesce(r.started_at, clock.now), claims = CASE WHEN chosen.recovered THEN r.claims + 1 ELSE r.claims END
  FROM chosen, clock WHERE r.org_id = chosen.org_id AND r.id = chosen.id
  RETURNING r.org_id, r.id, r.fence, r.signal, r.claims, chosen.recovered, clock.now;
END;

-- Extends the leases of the runs a worker says it drives; answers with those it still has and the signal to compare with the one it has seen.
CREATE FUNCTION weft.renew_leases(worker_number bigint, run_ids uuid[], lease interval, at timestamptz DEFAULT NULL)
  RETURNS TABLE (org_id uuid, id uuid, fence bigint, signal bigint, request text)
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH mine AS (    -- in the order in which the journal locks them
    SELECT r.org_id, r.id FROM weft.runs r WHERE r.state = 'running' AND r.worker = worker_number AND r.id = ANY (run_ids)
    ORDER BY r.id FOR NO KEY UPDATE)
  UPDATE weft.runs r SET lease_until = coalesce(at, clock_timestamp()) + lease
  FROM mine WHERE r.org_id = mine.org_id AND r.id = mine.id
  RETURNING r.org_id, r.id, r.fence, r.signal, r.request;
END;

-- A key is looked up before its organization is known. One row by its exact id, and only what the check needs.
CREATE FUNCTION weft.find_api_key(key_id text)
  RETURNS TABLE (org_id uuid, id text, digest bytea, user_id uuid, user_name text, role text, expires_at timestamptz, revoked_at timestamptz, now timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.org_id, k.id, k.digest, k.user_id, u.name, u.role, k.expires_at, k.revoked_at, now()
  FROM weft.api_keys k JOIN weft.users u ON u.org_id = k.org_id AND u.id = k.user_id WHERE k.id = key_id;
END;
CREATE FUNCTION weft.find_organization(wanted text) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT o.id FROM weft.organizations o WHERE o.slug = wanted;
END;
GRANT SELECT ON weft.api_keys, weft.users, weft.organizations TO weft_dispatch;
CREATE POLICY dispatch ON weft.api_keys FOR SELECT TO weft_dispatch USING (true);
CREATE POLICY dispatch ON weft.users FOR SELECT TO weft_dispatch USING (true);
CREATE POLICY dispatch ON weft.organizations FOR SELECT TO weft_dispatch USING (true);

-- Grants first: from the moment the functions have another owner, the role that runs this file may no longer change them.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA weft FROM PUBLIC;
GRANT USAGE ON SCHEMA weft TO weft_app;
GRANT EXECUTE ON FUNCTION weft.org(), weft.uuid7() TO weft_app, weft_dispatch;
GRANT EXECUTE ON FUNCTION weft.claim_runs(int, bigint, interval, timestamptz), weft.renew_leases(bigint, uuid[], interval, timestamptz),
  weft.find_api_key(text), weft.find_organization(text) TO weft_app;
ALTER FUNCTION weft.claim_runs(int, bigint, interval, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.renew_leases(bigint, uuid[], interval, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.find_api_key(text) OWNER TO weft_dispatch;
ALTER FUNCTION weft.find_organization(text) OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;
