-- name: claim
-- Takes keys for new values; the memories of the values before come back to be removed. Whoever takes one of them meanwhile waits here, and
-- since the order is that of digests, not in a circle. The new memories follow in the same transaction: the foreign key waits for its end.
INSERT INTO weft.memory_entries AS e (org_id, scope_id, digest, namespace, key, memory_id, indexed, ttl_minutes)
SELECT %(org_id)s::uuid, %(scope_id)s::bigint, decode(r.digest, 'hex'), r.namespace, r.key, r.memory_id, r.indexed, r.ttl_minutes
FROM json_to_recordset(%(rows)s::json) AS r(digest text, namespace text[], key text, memory_id uuid, indexed boolean, ttl_minutes float8)
ORDER BY 3
ON CONFLICT (org_id, scope_id, digest) DO UPDATE SET replaced = e.memory_id, memory_id = excluded.memory_id, indexed = excluded.indexed,
  ttl_minutes = excluded.ttl_minutes, updated_at = clock_timestamp(),
  created_at = CASE WHEN EXISTS (   -- one whose time was over was not there any more
      SELECT FROM weft.memories m WHERE m.org_id = e.org_id AND m.id = e.memory_id AND m.expires_at <= clock_timestamp())
    THEN clock_timestamp() ELSE e.created_at END
RETURNING replaced::text;

-- name: hold
-- Locks keys, and answers the memories of their values.
SELECT e.memory_id::text FROM weft.memory_entries e
WHERE e.org_id = %(org_id)s::uuid AND e.scope_id = %(scope_id)s::bigint
  AND e.digest = ANY (ARRAY(SELECT decode(d, 'hex') FROM unnest(%(digests)s::text[]) d))
ORDER BY e.digest FOR UPDATE;

-- name: silence
-- Memories that are not to be found by their words.
UPDATE weft.memories m SET terms = '', length = 0 WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (%(ids)s::uuid[]);

-- name: refresh
-- The time to live of these values, with their pieces, begins again.
WITH used AS MATERIALIZED (
    SELECT e.memory_id, e.scope_id, e.ttl_minutes FROM weft.memory_entries e
    WHERE e.org_id = %(org_id)s::uuid AND e.memory_id = ANY (%(ids)s::uuid[]) AND e.ttl_minutes IS NOT NULL),
  rows AS MATERIALIZED (
    SELECT u.memory_id AS id, u.ttl_minutes FROM used u
    UNION ALL
    SELECT p.id, u.ttl_minutes FROM used u CROSS JOIN LATERAL (
      SELECT m.id FROM weft.memories m
      WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = u.scope_id AND m.series = u.memory_id::text AND m.kind = 'chunk' OFFSET 0) p)
UPDATE weft.memories m SET expires_at = statement_timestamp() + make_interval(secs => r.ttl_minutes * 60)
FROM rows r WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT id FROM rows)) AND m.id = r.id;

-- name: expired
-- Locks values whose time to live is over; nobody waits for one who is at it.
WITH dead AS MATERIALIZED (
    SELECT m.id FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = %(scope_id)s::bigint AND m.kind = 'document' AND m.expires_at <= clock_timestamp())
SELECT e.memory_id::text FROM weft.memory_entries e
WHERE e.org_id = %(org_id)s::uuid AND e.memory_id = ANY (ARRAY(SELECT id FROM dead)) AND e.ttl_minutes IS NOT NULL
ORDER BY e.digest LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED;

-- name: get
-- Here as below memories are fetched by lists of ids, and FULL JOIN hashes: a plan made when the tables were small goes on when they are not.
WITH chosen AS MATERIALIZED (
    SELECT e.*, true AS here FROM weft.memory_entries e
    WHERE e.org_id = %(org_id)s::uuid AND e.scope_id = ANY (%(scope_ids)s::bigint[])
      AND e.digest = ANY (ARRAY(SELECT decode(d, 'hex') FROM unnest(%(digests)s::text[]) d))),
  live AS MATERIALIZED (
    SELECT m.id, m.data -> 'value' AS value, true AS here FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT memory_id FROM chosen))
      AND m.trust > 0 AND m.retracted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp()))
SELECT encode(c.digest, 'hex') AS digest, c.memory_id::text, c.namespace, c.key, l.value, c.indexed, c.ttl_minutes, c.created_at, c.updated_at
FROM chosen c FULL JOIN live l ON l.id = c.memory_id WHERE coalesce(c.here AND l.here, false);

-- name: page
-- Values under a prefix that pass all tests, the newest first; `ids`: only of these memories, `without`: not of these, `most`: only so many are
-- looked at. A test is made of what stands at a path in the value; nothing there is null. Numbers are compared with numbers and texts with
-- texts; others have no order.
WITH chosen AS MATERIALIZED (
    SELECT e.*, true AS here FROM weft.memory_entries e
    WHERE e.org_id = %(org_id)s::uuid AND e.scope_id = ANY (%(scope_ids)s::bigint[])
      AND e.namespace[:cardinality(%(prefix)s::text[])] = %(prefix)s::text[]
      AND (%(ids)s::uuid[] IS NULL OR e.memory_id = ANY (%(ids)s::uuid[])) AND e.memory_id <> ALL (%(without)s::uuid[])
    ORDER BY e.updated_at DESC, e.memory_id DESC LIMIT %(most)s::int),
  passing AS MATERIALIZED (
    SELECT m.id, true AS here FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT memory_id FROM chosen))
      AND m.trust > 0 AND m.retracted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
      AND NOT EXISTS (
        SELECT FROM json_to_recordset(%(tests)s::json) AS t(path text[], test text, operand json)
          CROSS JOIN LATERAL (SELECT coalesce((m.data -> 'value')::jsonb #> t.path, 'null') AS here, (t.operand -> 0)::jsonb AS wanted) v
        WHERE (CASE t.test
            WHEN 'is' THEN v.here = v.wanted
            WHEN 'is not' THEN v.here <> v.wanted
            WHEN 'object' THEN jsonb_typeof(v.here) = 'object'
            WHEN 'array' THEN CASE WHEN jsonb_typeof(v.here) = 'array' THEN jsonb_array_length(v.here) = v.wanted::int END
            ELSE CASE
              WHEN jsonb_typeof(v.here) = 'number' AND jsonb_typeof(v.wanted) = 'number' THEN CASE t.test
                WHEN '>' THEN v.here > v.wanted WHEN '>=' THEN v.here >= v.wanted WHEN '<' THEN v.here < v.wanted ELSE v.here <= v.wanted END
              WHEN jsonb_typeof(v.here) = 'string' AND jsonb_typeof(v.wanted) = 'string' THEN CASE t.test
                WHEN '>' THEN (v.here #>> '{}') COLLATE "C" > (v.wanted #>> '{}')
                WHEN '>=' THEN (v.here #>> '{}') COLLATE "C" >= (v.wanted #>> '{}')
                WHEN '<' THEN (v.here #>> '{}') COLLATE "C" < (v.wanted #>> '{}')
                ELSE (v.here #>> '{}') COLLATE "C" <= (v.wanted #>> '{}') END
            END END) IS NOT TRUE)),
  page AS MATERIALIZED (
    SELECT c.* FROM chosen c FULL JOIN passing p ON p.id = c.memory_id WHERE coalesce(c.here AND p.here, false)
    ORDER BY c.updated_at DESC, c.memory_id DESC LIMIT %(limit)s::int OFFSET %(skip)s::int),
  said AS MATERIALIZED (
    SELECT m.id, m.data -> 'value' AS value FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT memory_id FROM page)))
SELECT encode(c.digest, 'hex') AS digest, c.memory_id::text, c.namespace, c.key, s.value, c.indexed, c.ttl_minutes, c.created_at, c.updated_at
FROM page c FULL JOIN said s ON s.id = c.memory_id WHERE coalesce(c.here, false)
ORDER BY c.updated_at DESC, c.memory_id DESC;

-- name: namespaces
-- Namespaces in which something is, cut to a depth, in order. A condition names labels from the front or from the end; * is any one label.
WITH chosen AS MATERIALIZED (
    SELECT e.memory_id, e.namespace, true AS here FROM weft.memory_entries e
    WHERE e.org_id = %(org_id)s::uuid AND e.scope_id = ANY (%(scope_ids)s::bigint[])
      AND NOT EXISTS (
        SELECT FROM json_to_recordset(%(conditions)s::json) AS c(path text[], at_end boolean)
        WHERE cardinality(c.path) > cardinality(e.namespace) OR EXISTS (
          SELECT FROM unnest(c.path) WITH ORDINALITY AS p(label, place)
          WHERE p.label <> '*'
            AND p.label <> e.namespace[p.place + CASE WHEN c.at_end THEN cardinality(e.namespace) - cardinality(c.path) ELSE 0 END]))),
  live AS MATERIALIZED (
    SELECT m.id, true AS here FROM weft.memories m
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY (ARRAY(SELECT memory_id FROM chosen))
      AND m.trust > 0 AND m.retracted_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp()))
SELECT DISTINCT c.namespace[:coalesce(%(depth)s::int, cardinality(c.namespace))] AS labels
FROM chosen c FULL JOIN live l ON l.id = c.memory_id WHERE coalesce(c.here AND l.here, false)
ORDER BY labels LIMIT %(limit)s::int OFFSET %(skip)s::int;
