-- Dispatch: start delays, fair claiming, concurrency keys, limits of organizations, and the register of workers.

ALTER TABLE weft.runs ADD COLUMN begin_at timestamptz;   -- end of the start delay; null once it is over, and where there is none

-- Every organization and priority has a queue of its own in this index: finding the heads of all queues costs a few pages each.
CREATE INDEX runs_queues ON weft.runs (org_id, priority DESC, wake_at, id) WHERE state IN ('queued', 'waiting') AND wake_at IS NOT NULL;
-- The lines before concurrency keys, and who has got in.
CREATE INDEX runs_lines ON weft.runs (org_id, concurrency_key, (-priority), id)
  WHERE concurrency_key IS NOT NULL AND state = 'queued' AND NOT admitted AND begin_at IS NULL;
CREATE INDEX runs_admitted ON weft.runs (org_id, concurrency_key, started_at) WHERE admitted AND finished_at IS NULL;
DROP INDEX weft.runs_ready, weft.runs_by_key;             -- the three above do their work

-- One row per process that drives runs. It is nobody's data, and reached by the functions below only.
CREATE TABLE weft.workers (
  number bigint PRIMARY KEY,                   -- of its advisory lock; negative: it holds none
  host text NOT NULL,
  pid int NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,                -- its last heartbeat
  steady_at timestamptz NOT NULL,              -- since then its heartbeats have come without a gap, by the clock of Postgres
  lease interval NOT NULL,
  slots int NOT NULL,
  driving int NOT NULL,
  draining boolean NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.workers TO weft_dispatch;
GRANT SELECT (ctid, begin_at, finished_at), UPDATE (begin_at) ON weft.runs TO weft_dispatch;

DROP FUNCTION weft.claim_runs(int, bigint, interval, timestamptz);

-- Workers whose session lock stands: they live, however the clock runs.
CREATE FUNCTION weft.living_workers() RETURNS bigint[] LANGUAGE sql VOLATILE
BEGIN ATOMIC
  SELECT coalesce(array_agg(l.classid::bigint << 32 | l.objid::bigint), '{}') FROM pg_catalog.pg_locks l
  WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database());
END;

-- How the queries below are written: the planner must find the index meant for each, also while its statistics are those of a small table.
-- So they ask for the order that only this index has, go from a row to itself by ctid (`IS TRUE` offers no index another way), and the
-- functions that workers call forbid plans that sort or read a table.

-- The heads of the queues: all runs that are due when they are few; else from each queue as many as a claim could want, so that neither a
-- backlog nor the timers of one organization stand before another's. `keyed`: it needs a place under its concurrency key first; to end a
-- run (cancel, deadline) none is needed.
CREATE FUNCTION weft.due_runs(wanted int, clock timestamptz)
  RETURNS TABLE (place tid, org_id uuid, id uuid, priority smallint, wake_at timestamptz, keyed boolean, concurrency_key text)
  LANGUAGE plpgsql STABLE ROWS 64
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT r.ctid, r.org_id, r.id, r.priority, r.wake_at, r.concurrency_key IS NOT NULL AND NOT r.admitted AND r.request IS DISTINCT FROM 'cancel'
           AND coalesce(r.deadline_at > clock, true), r.concurrency_key
  FROM weft.runs r WHERE r.state IN ('queued', 'waiting') AND r.wake_at <= clock
    AND (SELECT count(*) FROM (SELECT FROM weft.runs f WHERE f.state IN ('queued', 'waiting') AND f.wake_at <= clock
                               ORDER BY f.wake_at LIMIT 257) AS few) <= 256
  ORDER BY r.wake_at;
  IF FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY
  WITH RECURSIVE queues AS (     -- a step of this recursion is one descent of the index
    (SELECT r.org_id, r.priority FROM weft.runs r WHERE r.state IN ('queued', 'waiting') AND r.wake_at IS NOT NULL
     ORDER BY r.org_id, r.priority DESC LIMIT 1)
    UNION ALL
    SELECT n.org_id, n.priority FROM queues q CROSS JOIN LATERAL (
      (SELECT r.org_id, r.priority FROM weft.runs r WHERE r.state IN ('queued', 'waiting') AND r.wake_at IS NOT NULL
         AND r.org_id = q.org_id AND r.priority < q.priority ORDER BY r.priority DESC, r.wake_at, r.id LIMIT 1)
      UNION ALL
      (SELECT r.org_id, r.priority FROM weft.runs r WHERE r.state IN ('queued', 'waiting') AND r.wake_at IS NOT NULL
         AND r.org_id > q.org_id ORDER BY r.org_id, r.priority DESC LIMIT 1)
      LIMIT 1) AS n)
  SELECT d.place, q.org_id, d.id, q.priority, d.wake_at, d.keyed, d.concurrency_key FROM queues q CROSS JOIN LATERAL (
    SELECT r.ctid AS place, r.id, r.wake_at, r.concurrency_key IS NOT NULL AND NOT r.admitted AND r.request IS DISTINCT FROM 'cancel'
             AND coalesce(r.deadline_at > clock, true) AS keyed, r.concurrency_key
    FROM weft.runs r WHERE r.state IN ('queued', 'waiting') AND r.org_id = q.org_id AND r.priority = q.priority AND r.wake_at <= clock
    ORDER BY r.wake_at, r.id LIMIT 4 * wanted) AS d;   -- four times, for other workers take from the same heads at the same time
END $$;

-- Who may go in next under these concurrency keys, by priority and then in the order in which they were started. A smaller limit ahead
-- holds for all behind it, else a run with an older, smaller limit might never get its turn.
CREATE FUNCTION weft.next_in_line(orgs uuid[], keys text[], clock timestamptz) RETURNS TABLE (place tid, org_id uuid, id uuid)
  LANGUAGE plpgsql STABLE ROWS 8
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT l.place, k.org_id, l.id FROM unnest(orgs, keys) AS k(org_id, key)
  CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
      SELECT FROM weft.runs a WHERE a.org_id = k.org_id AND a.concurrency_key = k.key AND a.admitted AND a.finished_at IS NULL
      ORDER BY a.started_at LIMIT 1000) AS found) AS inside
  CROSS JOIN LATERAL (
    SELECT n.place, n.id, row_number() OVER ahead AS turn, min(n.concurrency_limit) OVER ahead AS smallest FROM (
      SELECT r.ctid AS place, r.id, r.concurrency_limit FROM weft.runs r
      WHERE r.org_id = k.org_id AND r.concurrency_key = k.key AND r.state = 'queued' AND NOT r.admitted AND r.begin_at IS NULL
        AND r.concurrency_key IS NOT NULL AND r.request IS DISTINCT FROM 'cancel' AND coalesce(r.deadline_at > clock, true)
      ORDER BY -r.priority, r.id LIMIT 1001 - inside.number) AS n
    WINDOW ahead AS (ROWS UNBOUNDED PRECEDING)) AS l
  WHERE inside.number + l.turn <= l.smallest;
END $$;

-- Puts aside those due runs that have no place under their key: they leave the queue, and are woken when a place is free (close_finished in
-- store/journal.sql, wake_lines below). Only under the lock of claim_runs.
CREATE FUNCTION weft.line_up(clock timestamptz) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE moved int;
BEGIN
  FOR turn IN 1..10 LOOP
    WITH begun AS (              -- a delay that is over: from here on it stands in the line
      SELECT b.ctid FROM weft.due_runs(256, clock) d JOIN weft.runs b ON b.ctid = d.place
      WHERE d.keyed AND (b.id = d.id AND b.state = 'queued' AND b.begin_at <= clock) IS TRUE FOR UPDATE OF b SKIP LOCKED)
    UPDATE weft.runs r SET begin_at = NULL FROM begun WHERE r.ctid = begun.ctid;
    WITH due AS MATERIALIZED (SELECT * FROM weft.due_runs(256, clock) d WHERE d.keyed),
    next AS MATERIALIZED (
      SELECT n.id FROM (SELECT array_agg(k.org_id) AS orgs, array_agg(k.concurrency_key) AS keys
                        FROM (SELECT DISTINCT d.org_id, d.concurrency_key FROM due d) AS k) AS k, weft.next_in_line(k.orgs, k.keys, clock) n),
    blocked AS (
      SELECT b.ctid FROM due d JOIN weft.runs b ON b.ctid = d.place
      WHERE (b.id = d.id AND b.state = 'queued' AND b.wake_at <= clock) IS TRUE AND d.id <> ALL (ARRAY(SELECT n.id FROM next n)) FOR UPDATE OF b SKIP LOCKED)
    UPDATE weft.runs r SET wake_at = r.deadline_at FROM blocked WHERE r.ctid = blocked.ctid;
    GET DIAGNOSTICS moved = ROW_COUNT;
    EXIT WHEN moved = 0;
  END LOOP;
END $$;

-- Claims up to `slots` runs: first those whose worker has died, then those that are due, in turns between the organizations, of which those
-- with fewer running runs come first, and within one by priority and then the longest due.
-- A worker has died when its session lock is gone and its last heartbeat is a few seconds old (the lock also goes when a connection breaks or
-- Postgres starts anew, and a living worker must then get to write what it holds), or when its lease has run out (a lease far in the future
-- means that the clock was set back). Of leases only a worker judges whose own heartbeats have come in time for a whole lease: when the clock jumps they have not, and
-- by then every living worker has renewed its own.
CREATE FUNCTION weft.claim_runs(slots int, worker_number bigint, lease interval, at timestamptz DEFAULT NULL)
  RETURNS TABLE (org_id uuid, id uuid, fence bigint, signal bigint, claims int, recovered boolean, now timestamptz)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
  clock timestamptz := coalesce(at, clock_timestamp());
  room int := slots;
  taken int;
  steady boolean := NOT EXISTS (SELECT FROM weft.workers w WHERE w.number = worker_number
    AND (w.seen_at > clock OR w.seen_at < clock - lease OR w.steady_at > clock - lease));
  gated boolean;     -- there are runs of which only so many may be driven: those are claimed by one worker after the other
BEGIN
  RETURN QUERY
  WITH living AS MATERIALIZED (SELECT weft.living_workers() AS numbers),
  orphaned AS (
    SELECT r.ctid FROM living CROSS JOIN weft.runs r
    WHERE r.state = 'running'
      AND ((steady AND (r.lease_until < clock OR r.lease_until > clock + 2 * lease))
        OR (r.worker > 0 AND r.worker <> worker_number AND r.worker <> ALL (living.numbers)
          AND clock_timestamp() > pg_catalog.pg_postmaster_start_time() + lease
          AND NOT EXISTS (SELECT FROM weft.workers w WHERE w.number = r.worker AND w.seen_at > clock - 0.4 * lease AND w.seen_at <= clock)))
    ORDER BY r.lease_until LIMIT room FOR UPDATE OF r SKIP LOCKED)
  UPDATE weft.runs r SET worker = worker_number, fence = r.fence + 1, lease_until = clock + lease, wake_at = NULL, claims = r.claims + 1
  FROM orphaned o WHERE r.ctid = o.ctid
  RETURNING r.org_id, r.id, r.fence, r.signal, r.claims, true, clock;
  GET DIAGNOSTICS taken = ROW_COUNT;
  room := room - taken;

  SELECT bool_or(d.keyed OR o.max_running IS NOT NULL) INTO gated
  FROM weft.due_runs(room, clock) d JOIN weft.organizations o ON o.id = d.org_id;
  IF gated IS NULL OR room <= 0 THEN
    RETURN;          -- nothing is due
  END IF;
  IF gated THEN
    PERFORM pg_advisory_xact_lock(hashtext('weft admission'), 0);
    PERFORM weft.line_up(clock);
  END IF;

  RETURN QUERY
  WITH busy AS MATERIALIZED (
    SELECT r.org_id, count(*) AS running FROM (
      SELECT r.org_id FROM weft.runs r WHERE r.state = 'running' ORDER BY r.lease_until OFFSET 0) AS r GROUP BY r.org_id),
  due AS MATERIALIZED (SELECT d.*, o.max_running FROM weft.due_runs(room, clock) d JOIN weft.organizations o ON o.id = d.org_id),
  next AS MATERIALIZED (
    SELECT n.id FROM (SELECT array_agg(k.org_id) AS orgs, array_agg(k.concurrency_key) AS keys
                      FROM (SELECT DISTINCT d.org_id, d.concurrency_key FROM due d WHERE d.keyed AND gated) AS k) AS k,
                     weft.next_in_line(k.orgs, k.keys, clock) n),
  ranked AS MATERIALIZED (       -- what came in since, and needs the lock that we do not have, waits for the next claim
    SELECT d.place, d.id, d.wake_at, d.keyed, d.max_running,
           coalesce(b.running, 0) + row_number() OVER (PARTITION BY d.org_id ORDER BY d.priority DESC, d.wake_at, d.id) AS turn
    FROM due d LEFT JOIN busy b ON b.org_id = d.org_id
    WHERE CASE WHEN d.keyed THEN d.id = ANY (ARRAY(SELECT n.id FROM next n)) ELSE gated OR d.max_running IS NULL END),
  chosen AS (
    SELECT r.ctid, k.keyed FROM ranked k JOIN weft.runs r ON r.ctid = k.place
    WHERE k.turn <= coalesce(k.max_running, k.turn)
      AND (r.id = k.id AND r.state IN ('queued', 'waiting') AND r.wake_at <= clock AND NOT (k.keyed AND r.begin_at IS NOT NULL)) IS TRUE
    ORDER BY k.turn, k.wake_at, k.id LIMIT room FOR UPDATE OF r SKIP LOCKED)
  UPDATE weft.runs r SET state = 'running', worker = worker_number, fence = r.fence + 1, lease_until = clock + lease, wake_at = NULL,
         begin_at = NULL, started_at = coalesce(r.started_at, clock), admitted = r.admitted OR c.keyed
  FROM chosen c WHERE r.ctid = c.ctid
  RETURNING r.org_id, r.id, r.fence, r.signal, r.claims, false, clock;
END $$;

-- Wakes who may go in under a key and was put aside: for when nobody was there to do it at the moment the place became free. The number woken.
CREATE FUNCTION weft.wake_lines(at timestamptz DEFAULT NULL) RETURNS int
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off
AS $$
DECLARE
  clock timestamptz := coalesce(at, clock_timestamp());
  woken int;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('weft admission'), 1) THEN
    RETURN 0;        -- another worker is at it
  END IF;
  WITH RECURSIVE lines AS (
    (SELECT r.org_id, r.concurrency_key FROM weft.runs r
     WHERE r.concurrency_key IS NOT NULL AND r.state = 'queued' AND NOT r.admitted AND r.begin_at IS NULL
     ORDER BY r.org_id, r.concurrency_key LIMIT 1)
    UNION ALL
    SELECT n.org_id, n.concurrency_key FROM lines k CROSS JOIN LATERAL (
      SELECT r.org_id, r.concurrency_key FROM weft.runs r
      WHERE r.concurrency_key IS NOT NULL AND r.state = 'queued' AND NOT r.admitted AND r.begin_at IS NULL
        AND (r.org_id, r.concurrency_key) > (k.org_id, k.concurrency_key)
      ORDER BY r.org_id, r.concurrency_key LIMIT 1) AS n),
  next AS MATERIALIZED (
    SELECT n.place, n.id FROM (SELECT array_agg(l.org_id) AS orgs, array_agg(l.concurrency_key) AS keys FROM lines l) AS k,
                              weft.next_in_line(k.orgs, k.keys, clock) n),
  locked AS (
    SELECT r.ctid FROM next n JOIN weft.runs r ON r.ctid = n.place
    WHERE (r.id = n.id AND r.state = 'queued' AND NOT r.admitted AND coalesce(r.wake_at > clock, true)) IS TRUE FOR UPDATE OF r SKIP LOCKED)
  UPDATE weft.runs r SET wake_at = clock FROM locked l WHERE r.ctid = l.ctid;
  GET DIAGNOSTICS woken = ROW_COUNT;
  RETURN woken;
END $$;

-- A worker says that it lives: the first time its row is made.
CREATE FUNCTION weft.beat(worker_number bigint, host text, pid int, version text, lease interval, slots int, driving int, draining boolean,
                          at timestamptz DEFAULT NULL)
  RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO weft.workers AS w (number, host, pid, version, started_at, seen_at, steady_at, lease, slots, driving, draining)
  SELECT worker_number, host, pid, version, clock.now, clock.now, clock.now, lease, slots, driving, draining
  FROM (SELECT coalesce(at, clock_timestamp()) AS now) AS clock
  ON CONFLICT (number) DO UPDATE SET seen_at = excluded.seen_at, lease = excluded.lease, slots = excluded.slots, driving = excluded.driving,
    draining = excluded.draining,
    steady_at = CASE WHEN w.seen_at <= excluded.seen_at AND w.seen_at >= excluded.seen_at - w.lease THEN w.steady_at ELSE excluded.seen_at END;
END;

CREATE FUNCTION weft.leave(worker_number bigint) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  DELETE FROM weft.workers w WHERE w.number = worker_number;
END;

-- Lost: the session lock is gone, or where there is none, the heartbeats have been missing for a lease.
CREATE FUNCTION weft.list_workers()
  RETURNS TABLE (host text, pid int, version text, state text, driving int, slots int, started_at timestamptz, seen_at timestamptz)
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT w.host, w.pid, w.version,
         CASE WHEN w.seen_at < clock_timestamp() - w.lease OR (w.number > 0 AND w.number <> ALL ((SELECT weft.living_workers())::bigint[])) THEN 'lost'
              WHEN w.draining THEN 'draining' ELSE 'serving' END,
         w.driving, w.slots, w.started_at, w.seen_at
  FROM weft.workers w ORDER BY w.host, w.started_at, w.number;
END;

-- Forgets the workers that were lost a day ago. The number forgotten.
CREATE FUNCTION weft.forget_workers(at timestamptz DEFAULT NULL) RETURNS int
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH gone AS (DELETE FROM weft.workers w WHERE w.seen_at < coalesce(at, clock_timestamp()) - interval '1 day' RETURNING w.number)
  SELECT count(*)::int FROM gone;
END;

-- For the chores that are done in one organization after the other.
CREATE FUNCTION weft.all_organizations() RETURNS SETOF uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT o.id FROM weft.organizations o ORDER BY o.id;
END;

-- As in 0001: rights first, then the owner, who may create only meanwhile. The functions that have no rights here are called by the others.
REVOKE ALL ON FUNCTION weft.claim_runs(int, bigint, interval, timestamptz), weft.wake_lines(timestamptz),
  weft.beat(bigint, text, int, text, interval, int, int, boolean, timestamptz), weft.leave(bigint), weft.list_workers(),
  weft.forget_workers(timestamptz), weft.all_organizations(), weft.living_workers(), weft.due_runs(int, timestamptz),
  weft.next_in_line(uuid[], text[], timestamptz), weft.line_up(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.claim_runs(int, bigint, interval, timestamptz), weft.wake_lines(timestamptz),
  weft.beat(bigint, text, int, text, interval, int, int, boolean, timestamptz), weft.leave(bigint), weft.list_workers(),
  weft.forget_workers(timestamptz), weft.all_organizations() TO weft_app;
GRANT CREATE ON SCHEMA weft TO weft_dispatch;
ALTER FUNCTION weft.living_workers() OWNER TO weft_dispatch;
ALTER FUNCTION weft.due_runs(int, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.next_in_line(uuid[], text[], timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.line_up(timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.claim_runs(int, bigint, interval, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.wake_lines(timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.beat(bigint, text, int, text, interval, int, int, boolean, timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.leave(bigint) OWNER TO weft_dispatch;
ALTER FUNCTION weft.list_workers() OWNER TO weft_dispatch;
ALTER FUNCTION weft.forget_workers(timestamptz) OWNER TO weft_dispatch;
ALTER FUNCTION weft.all_organizations() OWNER TO weft_dispatch;
REVOKE CREATE ON SCHEMA weft FROM weft_dispatch;
