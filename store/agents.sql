-- name: save
-- The next version, unless it would say what the newest says already, or the newest is not the one expected.
WITH newest AS (
    SELECT a.version, a.digest, a.description FROM weft.agents a
    WHERE a.org_id = %(org_id)s::uuid AND a.name = %(name)s::text ORDER BY a.version DESC LIMIT 1)
INSERT INTO weft.agents AS a (org_id, name, version, digest, description, body, created_by)
SELECT %(org_id)s::uuid, %(name)s::text, coalesce((SELECT version FROM newest), 0) + 1, %(digest)s::bytea, %(description)s::text, %(body)s::json,
       %(user_id)s::uuid
WHERE NOT EXISTS (SELECT FROM newest WHERE newest.digest = %(digest)s::bytea AND newest.description = %(description)s::text)
  AND (%(expect)s::int IS NULL OR coalesce((SELECT version FROM newest), 0) = %(expect)s::int)
RETURNING a.name, a.version, a.digest, a.description, a.body,
  (SELECT u.name FROM weft.users u WHERE u.org_id = a.org_id AND u.id = a.created_by) AS created_by, a.created_at;

-- name: get
-- A version, or (null) the newest that was there at that moment, or is there now.
SELECT a.name, a.version, a.digest, a.description, a.body,
  (SELECT u.name FROM weft.users u WHERE u.org_id = a.org_id AND u.id = a.created_by) AS created_by, a.created_at
FROM weft.agents a
WHERE a.org_id = %(org_id)s::uuid AND a.name = %(name)s::text AND (%(version)s::int IS NULL OR a.version = %(version)s::int)
  AND (%(at)s::timestamptz IS NULL OR a.created_at <= %(at)s::timestamptz)
ORDER BY a.version DESC LIMIT 1;

-- name: newest
-- The newest version of each, by name. One row too many tells that there is a next page.
SELECT DISTINCT ON (a.name) a.name, a.version, a.digest, a.description, a.body,
  (SELECT u.name FROM weft.users u WHERE u.org_id = a.org_id AND u.id = a.created_by) AS created_by, a.created_at
FROM weft.agents a WHERE a.org_id = %(org_id)s::uuid AND (%(after)s::text IS NULL OR a.name > %(after)s::text)
ORDER BY a.name, a.version DESC LIMIT %(limit)s::int + 1;

-- name: count
SELECT count(DISTINCT a.name)::int AS total FROM weft.agents a WHERE a.org_id = %(org_id)s::uuid;

-- name: versions
-- The newest first.
SELECT a.name, a.version, a.digest, a.description, a.body,
  (SELECT u.name FROM weft.users u WHERE u.org_id = a.org_id AND u.id = a.created_by) AS created_by, a.created_at
FROM weft.agents a WHERE a.org_id = %(org_id)s::uuid AND a.name = %(name)s::text ORDER BY a.version DESC LIMIT %(limit)s::int;

-- name: known
SELECT a.name, max(a.version)::int AS version FROM weft.agents a WHERE a.org_id = %(org_id)s::uuid GROUP BY a.name ORDER BY a.name LIMIT %(limit)s::int;

-- name: at_work
-- Steps of a run that are agents, the first to begin first.
SELECT n.position FROM (SELECT DISTINCT ON (l.position) l.position, l.started_at FROM weft.node_runs l
    WHERE l.org_id = %(org_id)s::uuid AND l.run_id = %(run_id)s::uuid AND l.node_type = 'agent' ORDER BY l.position, l.attempt) AS n
ORDER BY n.started_at, n.position LIMIT %(limit)s::int;

-- name: inside
-- Steps and all that they have run, with their values, in the order in which they began; of each the last attempt.
SELECT n.position, n.node_type, n.attempt, n.state, n.effect, n.started_at, n.finished_at, n.error,
  coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
  coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output
FROM (SELECT DISTINCT ON (l.position) l.* FROM weft.node_runs l, unnest(%(positions)s::text[]) AS x(position)
      WHERE l.org_id = %(org_id)s::uuid AND l.run_id = %(run_id)s::uuid AND (l.position = x.position OR starts_with(l.position, x.position || '/'))
      ORDER BY l.position, l.attempt DESC LIMIT %(limit)s::int) AS n
ORDER BY n.started_at, n.position;
