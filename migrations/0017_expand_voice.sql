-- Voice calls: the telephone as a channel to a wait of a run. One row per call; whatever process hears of it goes on from here.

CREATE TABLE weft.voice_calls (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id uuid NOT NULL DEFAULT weft.uuid7(),
  run_id uuid NOT NULL,
  position text NOT NULL,                      -- of the step
  attempt int NOT NULL CHECK (attempt > 0),
  number int NOT NULL CHECK (number > 0),      -- 1: the first call of the attempt; more: redials
  wait text NOT NULL,                          -- position of the wait that the call is a channel to; a task stands for it where something is asked
  connection text NOT NULL,
  kind text,                                   -- of the connection, once it was opened: the provider
  recipient text NOT NULL CHECK (recipient ~ '^\+[1-9][0-9]{6,14}$'),
  script json NOT NULL,                        -- what is said and asked
  state text NOT NULL DEFAULT 'queued' CHECK (state IN
    ('queued', 'dialing', 'ringing', 'answered', 'asking', 'completed', 'busy', 'no_answer', 'failed', 'cancelled')),
  ticket bytea CHECK (length(ticket) = 32),    -- SHA-256 of the ticket in the addresses that the provider calls
  provider_id text CHECK (length(provider_id) BETWEEN 1 AND 100),
  turn int NOT NULL DEFAULT 0,                 -- prompts asked
  field int NOT NULL DEFAULT 0,                -- number of the field that is being asked
  tries int NOT NULL DEFAULT 0,                -- how often that was asked already
  answers json NOT NULL DEFAULT '{}',
  transcript json NOT NULL DEFAULT '[]',       -- [{who, text, at}]; what the person said is data from outside
  error text,
  hang_up_at timestamptz,                      -- when the provider is to be told (again) to end it
  hang_ups int NOT NULL DEFAULT 0,             -- how often it was told
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  dialed_at timestamptz,
  ringing_at timestamptz,
  answered_at timestamptz,
  ended_at timestamptz,
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, run_id) REFERENCES weft.runs (org_id, id) ON DELETE CASCADE,
  CONSTRAINT voice_calls_one UNIQUE (org_id, run_id, position, attempt, number),
  CONSTRAINT voice_calls_dialed CHECK (state = 'queued' OR dialed_at IS NOT NULL OR state IN ('failed', 'cancelled')),
  CONSTRAINT voice_calls_ended CHECK ((state IN ('completed', 'busy', 'no_answer', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX voice_calls_ticket ON weft.voice_calls (ticket);   -- 256 random bits, looked up before the organization is known
CREATE INDEX voice_calls_live ON weft.voice_calls (org_id, id) WHERE ended_at IS NULL OR hang_up_at IS NOT NULL;

ALTER TABLE weft.voice_calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.voice_calls FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.voice_calls USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.voice_calls TO weft_app;

GRANT USAGE, CREATE ON SCHEMA weft TO weft_dispatch;   -- CREATE only while this file hands it its functions
GRANT SELECT (org_id, id, run_id, wait, ticket, ended_at, hang_up_at) ON weft.voice_calls TO weft_dispatch;
GRANT SELECT (position) ON weft.waits TO weft_dispatch;
CREATE POLICY dispatch ON weft.voice_calls FOR SELECT TO weft_dispatch USING (true);

-- A ticket is looked up before its organization is known. One row by the digest of 256 random bits.
CREATE FUNCTION weft.find_voice_call(wanted bytea) RETURNS TABLE (org_id uuid, id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.org_id, c.id FROM weft.voice_calls c WHERE c.ticket = wanted;
END;

-- Calls that are to be ended: nobody waits for what they ask any longer, or the provider has not been told yet. The wait of each is looked up
-- by its key: written as NOT EXISTS, the planner would rather read all open waits there are.
CREATE FUNCTION weft.calls_to_end(most int) RETURNS TABLE (org_id uuid, id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.org_id, c.id FROM weft.voice_calls c
  WHERE (c.ended_at IS NULL AND (SELECT w.state FROM weft.waits w
           WHERE w.org_id = c.org_id AND w.run_id = c.run_id AND w.position = c.wait) IS DISTINCT FROM 'open')
     OR c.hang_up_at <= clock_timestamp()
  LIMIT most;
END;
REVOKE ALL ON FUNCTION weft.find_voice_call(bytea), weft.calls_to_end(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.find_voice_call(bytea), weft.calls_to_end(int) TO weft_app;
ALTER FUNCTION weft.find_voice_call(bytea) OWNER TO weft_dispatch;
ALTER FUNCTION weft.calls_to_end(int) OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;
