-- When the clock of Postgres is set back, what was due in some seconds would come in some seconds and an hour. So workers look at the clock
-- with every heartbeat, and the first to see it run backwards takes the difference off all instants that were written by the old clock.

CREATE TABLE weft.clock (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  seen_at timestamptz NOT NULL                 -- what the clock said when a worker looked last
);

ALTER TABLE weft.waits ADD COLUMN lasting boolean NOT NULL DEFAULT true;   -- due_at ends a length of time; false: an instant that somebody named

GRANT SELECT, INSERT, UPDATE ON weft.clock TO weft_dispatch;
GRANT SELECT (ctid, created_at), UPDATE (created_at) ON weft.runs TO weft_dispatch;
GRANT SELECT (org_id, run_id, state, due_at, lasting, created_at), UPDATE (due_at, created_at) ON weft.waits TO weft_dispatch;
GRANT SELECT (org_id, run_id, state, retry_at), UPDATE (retry_at) ON weft.node_runs TO weft_dispatch;
GRANT SELECT (received_at), UPDATE (received_at) ON weft.received_events TO weft_dispatch;
GRANT SELECT (retry_at, probe_until, hold_until, filled_at, slot_at), UPDATE (retry_at, probe_until, hold_until, filled_at, slot_at) ON weft.circuits TO weft_dispatch;
DO $$ DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['waits', 'node_runs', 'received_events', 'circuits'] LOOP
    EXECUTE format('CREATE POLICY dispatch ON weft.%I TO weft_dispatch USING (true) WITH CHECK (true)', name);
  END LOOP;
END $$;

-- An instant of the old clock, as the clock is now; what it does not say is in the future stays.
CREATE FUNCTION weft.set_back(instant timestamptz, clock timestamptz, back interval) RETURNS timestamptz LANGUAGE sql IMMUTABLE
  RETURN CASE WHEN instant > clock THEN instant - back ELSE instant END;

-- How far the clock has been set back since somebody looked, or null. Then every length of time under way takes as long as it would have; an
-- instant that somebody named stays (runs are woken too early for it, see that it has not come, and wait on), and so do deadlines of runs.
-- Rows that somebody is changing at this moment are left to him.
CREATE FUNCTION weft.mind_clock(at timestamptz DEFAULT NULL) RETURNS interval
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before timestamptz;
  present timestamptz;
  back interval;
BEGIN
  SELECT c.seen_at INTO before FROM weft.clock c FOR UPDATE;
  present := coalesce(at, clock_timestamp());
  back := before - present;
  INSERT INTO weft.clock AS c (seen_at) VALUES (present) ON CONFLICT (one) DO UPDATE SET seen_at = present;
  IF back IS NULL OR back <= interval '2 seconds' THEN
    RETURN NULL;
  END IF;
  UPDATE weft.runs r SET wake_at = weft.set_back(r.wake_at, present, back), begin_at = weft.set_back(r.begin_at, present, back),
    created_at = weft.set_back(r.created_at, present, back), started_at = weft.set_back(r.started_at, present, back)
  FROM (SELECT o.ctid FROM weft.runs o WHERE o.finished_at IS NULL
          AND greatest(o.wake_at, o.begin_at, o.created_at, o.started_at) > present FOR UPDATE SKIP LOCKED) AS open
  WHERE r.ctid = open.ctid;
  UPDATE weft.waits w SET due_at = CASE WHEN w.lasting THEN weft.set_back(w.due_at, present, back) ELSE w.due_at END,
    created_at = weft.set_back(w.created_at, present, back)
  WHERE w.created_at NOT BETWEEN present - interval '10 seconds' AND present   -- written since
    AND w.state = 'open' AND greatest(w.due_at, w.created_at) > present;
  UPDATE weft.node_runs n SET retry_at = n.retry_at - back
  FROM weft.runs r WHERE r.finished_at IS NULL AND n.org_id = r.org_id AND n.run_id = r.id AND n.retry_at > present;
  UPDATE weft.received_events e SET received_at = e.received_at - back WHERE e.received_at > present;
  UPDATE weft.circuits c SET retry_at = weft.set_back(c.retry_at, present, back), probe_until = weft.set_back(c.probe_until, present, back),
    hold_until = weft.set_back(c.hold_until, present, back), filled_at = weft.set_back(c.filled_at, present, back),
    slot_at = weft.set_back(c.slot_at, present, back)
  WHERE greatest(c.retry_at, c.probe_until, c.hold_until, c.filled_at, c.slot_at) > present;
  RETURN back;
END $$;

-- Claims by a clock that somebody has looked at: no driver begins with instants of another clock than its own.
CREATE FUNCTION weft.next_runs(slots int, worker_number bigint, lease interval, at timestamptz DEFAULT NULL)
  RETURNS TABLE (org_id uuid, id uuid, fence bigint, signal bigint, claims int, recovered boolean, now timestamptz)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (SELECT FROM weft.clock c WHERE c.seen_at > coalesce(at, clock_timestamp()) + interval '2 seconds') THEN
    PERFORM weft.mind_clock(at);
  END IF;
  RETURN QUERY SELECT * FROM weft.claim_runs(slots, worker_number, lease, at);
END $$;

REVOKE ALL ON FUNCTION weft.next_runs(int, bigint, interval, timestamptz), weft.mind_clock(timestamptz), weft.set_back(timestamptz, timestamptz, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.next_runs(int, bigint, interval, timestamptz), weft.mind_clock(timestamptz) TO weft_app;
GRANT CREATE ON SCHEMA weft TO weft_dispatch;
ALTER FUNCTION weft.set_back(timestamptz, timestamptz, interval) OWNER TO weft_dispatch;
ALTER FUNCTION weft.next_runs(int, bigint, interval, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.mind_clock(timestamptz) OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;
