-- name: beat
-- The heartbeat of a worker; the first one makes its row.
SELECT weft.beat(%(worker)s::bigint, %(host)s::text, %(pid)s::int, %(version)s::text, %(lease)s::interval, %(slots)s::int, %(driving)s::int,
                 %(draining)s::boolean, %(at)s::timestamptz)::text AS beaten;

-- name: mind_clock
-- Seconds that the clock has been set back since somebody looked, once it has been made good; null when it has not.
SELECT extract(epoch FROM weft.mind_clock(%(at)s::timestamptz))::float8 AS seconds;

-- name: leave
SELECT weft.leave(%(worker)s::bigint)::text AS gone;

-- name: list
SELECT host, pid, version, state, driving, slots, started_at, seen_at FROM weft.list_workers();

-- name: forget
SELECT weft.forget_workers(%(at)s::timestamptz) AS forgotten;

-- name: wake_lines
SELECT weft.wake_lines(%(at)s::timestamptz) AS woken;
