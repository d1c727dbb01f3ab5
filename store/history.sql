-- name: settled
-- What every step had come to by the time `at`, or by the `seq`-th settlement: its last attempt that had ended by then. Large values by their
-- beginning.
SELECT n.position, n.attempt, n.state, n.seq, n.output, n.error, n.vars, encode(n.output_digest, 'hex') AS output_digest, p.size AS output_size,
       left(p.body::text, 200) AS output_preview
FROM (SELECT DISTINCT ON (l.position) l.* FROM weft.node_runs l
      WHERE l.org_id = %(org_id)s::uuid AND l.run_id = %(run_id)s::uuid AND l.state NOT IN ('running', 'waiting', 'retrying')
        AND (%(at)s::timestamptz IS NULL OR l.finished_at <= %(at)s::timestamptz) AND (%(seq)s::bigint IS NULL OR l.seq <= %(seq)s::bigint)
      ORDER BY l.position, l.attempt DESC) AS n
LEFT JOIN weft.payloads p ON p.org_id = n.org_id AND p.digest = n.output_digest
ORDER BY n.seq;

-- name: weight
-- Characters that such a state holds at most, and its steps.
SELECT coalesce(sum(length(n.output::text)), 0)::bigint AS characters, count(*)::int AS steps
FROM weft.node_runs n WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid;

-- name: effects
-- Every call that changes something outside, from its intent on: with the answer of the person who was asked whether it had happened, and the
-- time when it was undone.
SELECT n.position, n.attempt, n.node_id, n.node_type, n.effect, n.effect_key, n.state, n.seq, n.error, n.started_at, n.finished_at,
       t.answer, t.answered_at, (SELECT u.name FROM weft.users u WHERE u.org_id = t.org_id AND u.id = t.answered_by) AS answered_by,
       (SELECT max(u.finished_at) FROM weft.node_runs u WHERE n.state = 'compensated' AND u.org_id = n.org_id AND u.run_id = n.run_id
          AND u.position = n.position || '~undo' || CASE WHEN n.attempt > 1 THEN n.attempt::text ELSE '' END AND u.state = 'succeeded') AS undone_at
FROM weft.node_runs n
LEFT JOIN weft.tasks t ON t.org_id = n.org_id AND t.run_id = n.run_id AND t.kind = 'resolution' AND t.state = 'answered'
  AND regexp_replace(t.position, '[0-9]*$', '') = n.position || CASE WHEN n.attempt > 1 THEN '~' || n.attempt ELSE '' END || '#ambiguous'
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.effect IS NOT NULL AND n.seq > %(after)s::bigint
ORDER BY n.seq LIMIT %(limit)s::int;

-- name: payload
-- Part of a large value, from `skipped` characters on, if something of this run refers to it.
SELECT substr(p.body::text, %(skipped)s::int + 1, %(limit)s::int) AS text, p.size FROM weft.payloads p
WHERE p.org_id = %(org_id)s::uuid AND p.digest = decode(%(digest)s::text, 'hex')
  AND (EXISTS (SELECT FROM weft.runs r WHERE r.org_id = p.org_id AND r.id = %(run_id)s::uuid AND p.digest IN (r.input_digest, r.output_digest))
    OR EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = p.org_id AND n.run_id = %(run_id)s::uuid AND p.digest IN (n.input_digest, n.output_digest)));
