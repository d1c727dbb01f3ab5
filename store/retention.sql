-- name: policy
SELECT coalesce(s.policy, '{}'::json) AS policy FROM weft.memory_scopes s WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint;

-- name: put_policy
UPDATE weft.memory_scopes s SET policy = %(policy)s::json WHERE s.org_id = %(org_id)s::uuid AND s.id = %(scope_id)s::bigint;

-- name: due
-- What a scope no longer keeps: expired, older than its kind may be, or beyond the number its kind may have (the least important, oldest first).
WITH counted AS (
    SELECT m.id, m.expires_at, coalesce(m.occurred_at, m.recorded_at) AS told, k.days, q.most,
           row_number() OVER (PARTITION BY m.kind ORDER BY m.importance DESC, m.recorded_at DESC, m.id DESC) AS place
    FROM weft.memories m
      LEFT JOIN json_to_recordset(%(keep)s::json) AS k(kind text, days float8) ON k.kind = m.kind
      LEFT JOIN json_to_recordset(%(most)s::json) AS q(kind text, most bigint) ON q.kind = m.kind
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND NOT m.pinned)
SELECT c.id::text, coalesce(c.expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp()), false) AS expired FROM counted c
WHERE c.expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp()) OR c.place > c.most
   OR c.told < coalesce(%(now)s::timestamptz, clock_timestamp()) - make_interval(secs => c.days * 86400)
ORDER BY c.id LIMIT %(limit)s::int;
