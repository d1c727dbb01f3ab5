-- name: lock
-- Who writes about one subject and predicate goes one after the other, and looks at what stands after they have the lock.
SELECT pg_advisory_xact_lock(hashtextextended(
  'weft fact ' || %(org_id)s::text || ' ' || %(scope_id)s::bigint || chr(31) || %(subject)s::text || chr(31) || %(predicate)s::text, 0));

-- name: clock
SELECT clock_timestamp() AS now WHERE %(org_id)s::uuid IS NOT NULL;

-- name: standing
-- What is held to be so of one subject and predicate, whenever it is valid.
SELECT m.id, f.object, lower(f.valid) AS valid_from, upper(f.valid) AS valid_to, f.single, f.vouched, m.trust
FROM weft.memory_facts f JOIN weft.memories m ON m.org_id = f.org_id AND m.id = f.memory_id
WHERE f.org_id = %(org_id)s::uuid AND f.scope_id = %(scope_id)s::bigint AND f.subject = %(subject)s::text AND f.predicate = %(predicate)s::text
  AND f.live AND m.trust > 0
ORDER BY lower(f.valid) NULLS FIRST, m.id;

-- name: attach
-- Makes a memory a fact. The interval is written here and nowhere else, so that both rows agree. One that nobody sees holds nothing.
WITH dated AS (
    UPDATE weft.memories m SET valid_from = %(valid_from)s::timestamptz, valid_to = %(valid_to)s::timestamptz,
      recorded_at = coalesce(%(now)s::timestamptz, m.recorded_at)
    WHERE m.org_id = %(org_id)s::uuid AND m.id = %(id)s::uuid RETURNING m.id, m.scope_id, m.trust)
INSERT INTO weft.memory_facts (org_id, memory_id, scope_id, subject, predicate, object, single, vouched, valid, live, retraction)
SELECT %(org_id)s::uuid, d.id, d.scope_id, %(subject)s::text, %(predicate)s::text, %(object)s::text, %(single)s::boolean, %(vouched)s::boolean,
       tstzrange(%(valid_from)s::timestamptz, %(valid_to)s::timestamptz), d.trust > 0, CASE WHEN d.trust = 0 THEN 'quarantined' END
FROM dated d
ON CONFLICT (org_id, memory_id) DO NOTHING;

-- name: trim
-- A fact turns out to hold for another interval than was thought. What was thought stays readable: a retracted copy keeps the old interval
-- for the time it was believed, and is a child of the fact, so that it is forgotten with it.
WITH old AS (
    SELECT m.*, f.subject, f.predicate, f.object, f.single, f.vouched, f.valid, weft.uuid7() AS copy_id,
           greatest(m.recorded_at, coalesce(%(now)s::timestamptz, clock_timestamp())) AS moment
    FROM weft.memories m JOIN weft.memory_facts f ON f.org_id = m.org_id AND f.memory_id = m.id
    WHERE m.org_id = %(org_id)s::uuid AND m.id = %(id)s::uuid AND f.live),
  kept AS (
    INSERT INTO weft.memories (org_id, id, scope_id, kind, collection, series, seq, speaker, role, title, body, data, terms, length, tokens, language, occurred_at, valid_from, valid_to,
      recorded_at, retracted_at, importance, confidence, pinned, uses, used_at, expires_at, origin, source, author, trust, labels, run_id, created_by, digest)
    SELECT m.org_id, m.copy_id, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.terms, m.length, m.tokens, m.language, m.occurred_at, m.valid_from, m.valid_to,
      m.recorded_at, m.moment, m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin, m.source, m.author, m.trust, m.labels, m.run_id, m.created_by, m.digest
    FROM old m),
  kept_fact AS (
    INSERT INTO weft.memory_facts (org_id, memory_id, scope_id, subject, predicate, object, single, vouched, valid, live, retraction)
    SELECT m.org_id, m.copy_id, m.scope_id, m.subject, m.predicate, m.object, m.single, m.vouched, m.valid, false, %(why)s::text FROM old m),
  line AS (
    INSERT INTO weft.memory_lineage (org_id, child, parent) SELECT m.org_id, m.copy_id, m.id FROM old m),
  dated AS (
    UPDATE weft.memories m SET valid_from = %(valid_from)s::timestamptz, valid_to = %(valid_to)s::timestamptz, recorded_at = old.moment
    FROM old WHERE m.org_id = old.org_id AND m.id = old.id)
UPDATE weft.memory_facts f SET valid = tstzrange(%(valid_from)s::timestamptz, %(valid_to)s::timestamptz)
FROM old WHERE f.org_id = old.org_id AND f.memory_id = old.id;

-- name: split
-- What is left of a fact after an interval in its middle was found to be otherwise: the same fact once more, from there on.
WITH old AS (
    SELECT m.*, f.subject, f.predicate, f.object, f.single, f.vouched, weft.uuid7() AS copy_id
    FROM weft.memories m JOIN weft.memory_facts f ON f.org_id = m.org_id AND f.memory_id = m.id
    WHERE m.org_id = %(org_id)s::uuid AND m.id = %(id)s::uuid),
  kept AS (
    INSERT INTO weft.memories (org_id, id, scope_id, kind, collection, series, seq, speaker, role, title, body, data, terms, length, tokens, language, occurred_at, valid_from, valid_to,
      recorded_at, importance, confidence, pinned, uses, used_at, expires_at, origin, source, author, trust, labels, run_id, created_by, digest)
    SELECT m.org_id, m.copy_id, m.scope_id, m.kind, m.collection, m.series, m.seq, m.speaker, m.role, m.title, m.body, m.data, m.terms, m.length, m.tokens, m.language, m.occurred_at, %(valid_from)s::timestamptz, %(valid_to)s::timestamptz,
      coalesce(%(now)s::timestamptz, clock_timestamp()), m.importance, m.confidence, m.pinned, m.uses, m.used_at, m.expires_at, m.origin, m.source, m.author, m.trust, m.labels, m.run_id, m.created_by, sha256(m.digest || m.copy_id::text::bytea)
    FROM old m),
  line AS (
    INSERT INTO weft.memory_lineage (org_id, child, parent) SELECT m.org_id, m.copy_id, m.id FROM old m)
INSERT INTO weft.memory_facts (org_id, memory_id, scope_id, subject, predicate, object, single, vouched, valid)
SELECT m.org_id, m.copy_id, m.scope_id, m.subject, m.predicate, m.object, m.single, m.vouched,
       tstzrange(%(valid_from)s::timestamptz, %(valid_to)s::timestamptz)
FROM old m;

-- name: retract
-- No longer held to be so, from now on; what was known before stays readable by `known_at`. Also of memories that are no facts.
WITH gone AS (
    UPDATE weft.memories m SET retracted_at = greatest(m.recorded_at, coalesce(%(now)s::timestamptz, clock_timestamp()))
    WHERE m.org_id = %(org_id)s::uuid AND m.id = ANY(%(ids)s::uuid[]) AND m.retracted_at IS NULL RETURNING m.id),
  facts AS (
    UPDATE weft.memory_facts f SET live = false, retraction = %(why)s::text FROM gone
    WHERE f.org_id = %(org_id)s::uuid AND f.memory_id = gone.id)
SELECT id FROM gone;

-- name: about
-- What is (or was at `as_of`) so, as it is known (or was at `known_at`). No subjects: of everyone.
SELECT m.id, m.scope_id, f.subject, f.predicate, f.object, m.body, f.single, f.vouched, lower(f.valid) AS valid_from, upper(f.valid) AS valid_to,
       m.recorded_at, m.retracted_at, f.retraction, m.confidence, m.importance, m.origin, m.source, m.author, m.trust, m.labels, m.data
FROM weft.memory_facts f JOIN weft.memories m ON m.org_id = f.org_id AND m.id = f.memory_id
WHERE f.org_id = %(org_id)s::uuid AND f.scope_id = ANY(%(scope_ids)s::bigint[])
  AND (%(subjects)s::text[] IS NULL OR f.subject = ANY(%(subjects)s::text[]))
  AND (%(predicate)s::text IS NULL OR f.predicate = %(predicate)s::text)
  AND (%(always)s::boolean OR f.valid @> coalesce(%(as_of)s::timestamptz, clock_timestamp()))
  AND m.recorded_at <= coalesce(%(known_at)s::timestamptz, 'infinity'::timestamptz)
  AND (m.retracted_at IS NULL OR m.retracted_at > coalesce(%(known_at)s::timestamptz, 'infinity'::timestamptz))
  AND m.trust >= %(min_trust)s::int AND (m.expires_at IS NULL OR m.expires_at > clock_timestamp())
ORDER BY f.subject, f.predicate, lower(f.valid) NULLS FIRST, m.recorded_at, m.id
LIMIT %(limit)s::int;

-- name: history
-- Everything that was ever held of a subject, oldest belief first.
SELECT m.id, m.scope_id, f.subject, f.predicate, f.object, m.body, f.single, f.vouched, lower(f.valid) AS valid_from, upper(f.valid) AS valid_to,
       m.recorded_at, m.retracted_at, f.retraction, m.confidence, m.importance, m.origin, m.source, m.author, m.trust, m.labels, m.data
FROM weft.memory_facts f JOIN weft.memories m ON m.org_id = f.org_id AND m.id = f.memory_id
WHERE f.org_id = %(org_id)s::uuid AND f.scope_id = ANY(%(scope_ids)s::bigint[]) AND f.subject = ANY(%(subjects)s::text[])
  AND (%(predicate)s::text IS NULL OR f.predicate = %(predicate)s::text)
ORDER BY m.recorded_at, m.id LIMIT %(limit)s::int;

-- name: current
-- Facts by id that are held to be so, in one scope.
SELECT m.id, f.object, lower(f.valid) AS valid_from, upper(f.valid) AS valid_to, f.single, f.vouched, m.trust
FROM weft.memory_facts f JOIN weft.memories m ON m.org_id = f.org_id AND m.id = f.memory_id
WHERE f.org_id = %(org_id)s::uuid AND f.scope_id = %(scope_id)s::bigint AND f.memory_id = ANY(%(ids)s::uuid[]) AND f.live
FOR UPDATE;
