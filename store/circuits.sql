-- name: news
-- What a process must know before it calls: whatever is not simply closed. Other targets need no row to be called.
SELECT c.target, c.state, c.failed_at, c.openings, c.times_opened, c.opened_at, c.retry_at, c.probe, c.probe_until, c.last_error, c.last_error_at,
       c.hold_until, c.limit_calls, c.limit_seconds, c.limit_burst, clock_timestamp() AS now
FROM weft.circuits c
WHERE c.org_id = %(org_id)s::uuid
  AND (c.state <> 'closed' OR c.limit_calls IS NOT NULL OR c.hold_until > clock_timestamp()
    OR (c.failed_at <> '{}' AND c.updated_at > clock_timestamp() - interval '2 minutes'));

-- name: list
SELECT c.target, c.state, c.failed_at, c.openings, c.times_opened, c.opened_at, c.retry_at, c.probe, c.probe_until, c.last_error, c.last_error_at,
       c.hold_until, c.limit_calls, c.limit_seconds, c.limit_burst, clock_timestamp() AS now
FROM weft.circuits c
WHERE c.org_id = %(org_id)s::uuid AND (%(state)s::text IS NULL OR c.state = %(state)s::text) AND (%(after)s::text IS NULL OR c.target > %(after)s::text)
ORDER BY c.target LIMIT %(limit)s::int;

-- name: count
SELECT count(*)::int AS total FROM weft.circuits c
WHERE c.org_id = %(org_id)s::uuid AND (%(state)s::text IS NULL OR c.state = %(state)s::text);

-- name: ensure
-- A row for the target. What nobody has needed for a week goes: targets come from templates, and there can be any number of them.
WITH stale AS (
  DELETE FROM weft.circuits c WHERE c.org_id = %(org_id)s::uuid AND c.target <> %(target)s::text
    AND c.state = 'closed' AND c.limit_calls IS NULL AND c.updated_at < clock_timestamp() - interval '7 days')
INSERT INTO weft.circuits (org_id, target) VALUES (%(org_id)s::uuid, %(target)s::text) ON CONFLICT DO NOTHING;

-- name: lock
-- Everybody who changes it waits here for the one before.
SELECT c.target, c.state, c.failed_at, c.openings, c.times_opened, c.opened_at, c.retry_at, c.probe, c.probe_until, c.last_error, c.last_error_at,
       c.hold_until, c.limit_calls, c.limit_seconds, c.limit_burst, clock_timestamp() AS now
FROM weft.circuits c WHERE c.org_id = %(org_id)s::uuid AND c.target = %(target)s::text FOR UPDATE;

-- name: save
UPDATE weft.circuits c SET state = %(state)s::text, failed_at = %(failed_at)s::timestamptz[], openings = %(openings)s::int,
  times_opened = %(times_opened)s::int, opened_at = %(opened_at)s::timestamptz, retry_at = %(retry_at)s::timestamptz, probe = %(probe)s::text,
  probe_until = %(probe_until)s::timestamptz, last_error = %(last_error)s::text, last_error_at = %(last_error_at)s::timestamptz,
  hold_until = %(hold_until)s::timestamptz, updated_at = clock_timestamp()
WHERE c.org_id = %(org_id)s::uuid AND c.target = %(target)s::text;

-- name: limit
-- The bucket starts full, and what was promised under the old limit is void.
INSERT INTO weft.circuits (org_id, target, limit_calls, limit_seconds, limit_burst, tokens)
VALUES (%(org_id)s::uuid, %(target)s::text, %(calls)s::int, %(seconds)s::int, %(burst)s::int, %(burst)s::int)
ON CONFLICT (org_id, target) DO UPDATE SET limit_calls = excluded.limit_calls, limit_seconds = excluded.limit_seconds,
  limit_burst = excluded.limit_burst, tokens = excluded.tokens, filled_at = clock_timestamp(), slot_at = clock_timestamp(),
  updated_at = clock_timestamp();

-- name: unlimit
UPDATE weft.circuits c SET limit_calls = NULL, limit_seconds = NULL, limit_burst = NULL, updated_at = clock_timestamp()
WHERE c.org_id = %(org_id)s::uuid AND c.target = %(target)s::text AND c.limit_calls IS NOT NULL;

-- name: take
-- A token from the bucket, over all processes. Granted when there is one within `patience` seconds: it is taken now, and the caller waits
-- for it in its process. Who is sent away is told a time of its own to come again, so that a hundred runs do not all come at once.
WITH bucket AS (   -- as it is when those before us are done; the clock never goes back
  SELECT c.target, c.tokens, c.filled_at, c.slot_at, c.limit_burst, c.limit_calls / c.limit_seconds::float8 AS rate,
         greatest(clock_timestamp(), c.filled_at) AS now
  FROM weft.circuits c WHERE c.org_id = %(org_id)s::uuid AND c.target = %(target)s::text AND c.limit_calls IS NOT NULL FOR UPDATE),
filled AS (
  SELECT *, least(limit_burst, tokens + extract(epoch FROM now - filled_at)::float8 * rate) AS available FROM bucket),
decided AS (
  SELECT *, greatest(0, (1 - available) / rate) AS rest, greatest(0, (1 - available) / rate) <= %(patience)s::float8 AS granted FROM filled),
placed AS (        -- one after the other, ten minutes ahead at most
  SELECT *, least(greatest(slot_at, now + make_interval(secs => rest)) + make_interval(secs => 1 / rate),
                  now + make_interval(secs => greatest(600, rest))) AS slot FROM decided)
UPDATE weft.circuits c SET tokens = CASE WHEN p.granted THEN p.available - 1 ELSE p.available END, filled_at = p.now,
  slot_at = CASE WHEN p.granted THEN p.slot_at ELSE p.slot END
FROM placed p WHERE c.org_id = %(org_id)s::uuid AND c.target = p.target
RETURNING p.granted, CASE WHEN p.granted THEN p.rest ELSE extract(epoch FROM p.slot - p.now)::float8 END AS wait;
