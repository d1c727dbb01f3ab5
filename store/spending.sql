-- name: reserve
-- What a call may cost at most is set aside in every purse it draws on, or in none. One statement, so that nobody comes in between.
SELECT r.verdict, r.id::text, r.output, r.kind, r.subject, r.period, r.usd_limit, r.token_limit, r.usd, r.tokens, r.usd_reserved, r.tokens_reserved,
       r.purses
FROM weft.reserve_call(%(call)s::json, %(input_tokens)s::bigint, %(most)s::bigint, %(least)s::bigint, %(input_price)s::numeric,
                       %(output_price)s::numeric, %(limits)s::json, %(seconds)s::float8) r
WHERE %(org_id)s::uuid = weft.org();

-- name: hold
-- The purses of a step's limits, before a child run of it looks for them: a step that was taken over by a fork may have asked no model yet.
SELECT cardinality(weft.hold_purses(NULL::uuid, %(run_id)s::uuid, NULL::text, NULL::text, %(limits)s::json)) WHERE %(org_id)s::uuid = weft.org();

-- name: settle
-- What the call did cost takes the place of what was set aside; once, however often it is told.
WITH done AS (
    UPDATE weft.model_calls c SET state = 'settled', input_tokens = %(input_tokens)s::bigint, output_tokens = %(output_tokens)s::bigint,
      cached_tokens = %(cached_tokens)s::bigint, cost = %(cost)s::numeric, estimated = %(estimated)s::boolean, outcome = %(outcome)s::text,
      duration_ms = %(duration_ms)s::int
    WHERE c.org_id = %(org_id)s::uuid AND c.id = %(id)s::uuid AND c.state = 'reserved'
    RETURNING c.purses, c.cost, c.input_tokens + c.output_tokens AS tokens, c.reserved_cost, c.reserved_tokens),
  held AS (    -- in the order in which everybody takes them
    SELECT p.key FROM weft.purses p JOIN done d ON p.key = ANY(d.purses) WHERE p.org_id = %(org_id)s::uuid ORDER BY p.key FOR UPDATE OF p)
UPDATE weft.purses p SET usd = p.usd + coalesce(d.cost, 0), tokens = p.tokens + d.tokens,
  usd_reserved = p.usd_reserved - coalesce(d.reserved_cost, 0), tokens_reserved = p.tokens_reserved - d.reserved_tokens
FROM held h, done d WHERE p.org_id = %(org_id)s::uuid AND p.key = h.key;

-- name: expire
-- Calls whose process has died: nobody will ever know what they cost, and they count as what was set aside for them.
WITH late AS (
    SELECT c.id FROM weft.model_calls c WHERE c.org_id = %(org_id)s::uuid AND c.state = 'reserved' AND c.expires_at < clock_timestamp()
    ORDER BY c.expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED),
  gone AS (
    UPDATE weft.model_calls c SET state = 'unknown', outcome = 'unknown', cost = c.reserved_cost FROM late l
    WHERE c.org_id = %(org_id)s::uuid AND c.id = l.id RETURNING c.purses, c.reserved_cost, c.reserved_tokens),
  sums AS (
    SELECT k.key, sum(coalesce(g.reserved_cost, 0)) AS usd, sum(g.reserved_tokens)::bigint AS tokens
    FROM gone g, unnest(g.purses) AS k(key) GROUP BY k.key),
  held AS (
    SELECT p.key FROM weft.purses p JOIN sums s ON p.key = s.key WHERE p.org_id = %(org_id)s::uuid ORDER BY p.key FOR UPDATE OF p)
UPDATE weft.purses p SET usd = p.usd + s.usd, tokens = p.tokens + s.tokens, usd_reserved = p.usd_reserved - s.usd,
  tokens_reserved = p.tokens_reserved - s.tokens
FROM held h JOIN sums s ON s.key = h.key WHERE p.org_id = %(org_id)s::uuid AND p.key = h.key;

-- name: purge
-- Calls of long ago, and purses that nobody has drawn on for as long: the days and months are over, and so are the runs.
WITH old AS (
    DELETE FROM weft.model_calls c WHERE c.org_id = %(org_id)s::uuid AND c.at < clock_timestamp() - %(age)s::interval AND c.state <> 'reserved')
DELETE FROM weft.purses p WHERE p.org_id = %(org_id)s::uuid AND p.used_at < clock_timestamp() - %(age)s::interval
  AND (p.kind IN ('run', 'limit') OR p.period <> 'total') AND p.tokens_reserved = 0
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.finished_at IS NULL    -- it may wait for months
                  AND r.id = CASE WHEN p.kind IN ('run', 'limit') THEN split_part(p.subject, ' ', 1)::uuid END);

-- name: usage
-- Sums of calls by one of their marks, the dearest first; days in their order, newest first.
WITH marked AS (
    SELECT CASE %(by)s::text WHEN 'day' THEN to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD') WHEN 'model' THEN c.model WHEN 'vendor' THEN c.vendor
             WHEN 'user' THEN coalesce(u.name, c.user_id::text) WHEN 'workflow' THEN c.workflow WHEN 'agent' THEN c.agent
             WHEN 'run' THEN c.run_id::text WHEN 'outcome' THEN c.outcome END AS mark, c.*
    FROM weft.model_calls c LEFT JOIN weft.users u ON u.org_id = c.org_id AND u.id = c.user_id
    WHERE c.org_id = %(org_id)s::uuid AND c.at >= %(since)s::timestamptz AND (%(until)s::timestamptz IS NULL OR c.at < %(until)s::timestamptz)
      AND (%(model)s::text IS NULL OR c.model = %(model)s::text) AND (%(run_id)s::uuid IS NULL OR c.run_id = %(run_id)s::uuid)
      AND (%(workflow)s::text IS NULL OR c.workflow = %(workflow)s::text) AND (%(agent)s::text IS NULL OR c.agent = %(agent)s::text)
      AND (%(user)s::text IS NULL OR u.name = %(user)s::text))
SELECT m.mark, count(*)::int AS calls, count(*) FILTER (WHERE m.outcome <> 'ok')::int AS failed,
       count(*) FILTER (WHERE m.state = 'unknown' OR (m.state = 'reserved' AND m.expires_at < clock_timestamp()))::int AS unknown,
       count(*) FILTER (WHERE coalesce(m.cost, m.reserved_cost) IS NULL)::int AS unpriced,
       coalesce(sum(m.input_tokens), 0)::bigint AS input_tokens, coalesce(sum(m.output_tokens), 0)::bigint AS output_tokens,
       coalesce(sum(m.cached_tokens), 0)::bigint AS cached_tokens,
       CASE WHEN sum(coalesce(m.cost, m.reserved_cost)) > 0 OR bool_and(coalesce(m.cost, m.reserved_cost) IS NOT NULL) THEN sum(coalesce(m.cost, m.reserved_cost))::float8 END AS cost_usd
FROM marked m GROUP BY m.mark
ORDER BY CASE WHEN %(by)s::text = 'day' THEN m.mark END DESC NULLS LAST, sum(coalesce(m.cost, m.reserved_cost, 0)) DESC, m.mark LIMIT %(limit)s::int;

-- name: calls
-- Newest first; `before` is the id of the last row of the page before.
SELECT c.id::text, c.at, CASE WHEN c.state = 'reserved' AND c.expires_at < clock_timestamp() THEN 'unknown' ELSE c.state END AS state,
       u.name AS user_name, c.run_id::text, c.position, c.attempt, c.workflow, c.agent, c.model, c.vendor, c.input_tokens, c.output_tokens,
       c.cached_tokens, coalesce(c.cost, c.reserved_cost)::float8 AS cost_usd, c.estimated, c.outcome, c.duration_ms
FROM weft.model_calls c LEFT JOIN weft.users u ON u.org_id = c.org_id AND u.id = c.user_id
WHERE c.org_id = %(org_id)s::uuid AND (%(run_id)s::uuid IS NULL OR c.run_id = %(run_id)s::uuid)
  AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = c.org_id AND r.id = c.run_id AND r.private_to <> %(viewer)s::uuid)
  AND (%(before)s::uuid IS NULL OR c.id < %(before)s::uuid)
ORDER BY c.id DESC LIMIT %(limit)s::int;

-- name: budgets
-- Each with what is spent of it in the period under way.
SELECT b.kind, b.subject, u.name AS user_name, b.period, b.usd::float8 AS usd_limit, b.tokens AS token_limit, coalesce(p.usd, 0)::float8 AS usd,
       coalesce(p.tokens, 0)::bigint AS tokens, coalesce(p.usd_reserved, 0)::float8 AS usd_reserved,
       coalesce(p.tokens_reserved, 0)::bigint AS tokens_reserved, weft.period_since(b.period)::timestamptz AS since
FROM weft.budgets b
LEFT JOIN weft.users u ON u.org_id = b.org_id AND b.kind = 'user' AND u.id::text = b.subject
LEFT JOIN weft.purses p ON p.org_id = b.org_id AND p.key = concat_ws(' ', b.kind, b.period, weft.period_since(b.period), b.subject)
WHERE b.org_id = %(org_id)s::uuid ORDER BY b.kind, b.subject, b.period;

-- name: set_budget
-- A new one begins with what was spent of its period before it was made; calls under way that do not draw on it count as what they hold.
WITH made AS (
    INSERT INTO weft.budgets AS b (org_id, kind, subject, period, usd, tokens)
    VALUES (%(org_id)s::uuid, %(kind)s::text, %(subject)s::text, %(period)s::text, %(usd)s::numeric, %(tokens)s::bigint)
    ON CONFLICT (org_id, kind, subject, period) DO UPDATE SET usd = excluded.usd, tokens = excluded.tokens, updated_at = now()
    RETURNING b.kind, b.subject, b.period, b.usd, b.tokens, weft.period_since(b.period) AS since, xmax = 0 AS new),
  keyed AS (SELECT m.*, concat_ws(' ', m.kind, m.period, m.since, m.subject) AS key FROM made m WHERE m.new)
INSERT INTO weft.purses (org_id, key, kind, subject, period, since, usd_limit, token_limit, usd, tokens)
SELECT %(org_id)s::uuid, k.key, k.kind, k.subject, k.period, k.since, k.usd, k.tokens, coalesce(sum(coalesce(c.cost, c.reserved_cost)), 0),
       coalesce(sum(c.input_tokens + c.output_tokens), 0)::bigint
FROM keyed k LEFT JOIN weft.model_calls c ON c.org_id = %(org_id)s::uuid AND c.at >= k.since::timestamp AT TIME ZONE 'UTC'
  AND CASE k.kind WHEN 'organization' THEN true WHEN 'user' THEN c.user_id::text = k.subject WHEN 'workflow' THEN c.workflow = k.subject
      ELSE k.subject IN (c.agent, split_part(c.agent, '@', 1)) END
  AND NOT (c.state = 'reserved' AND k.key = ANY(c.purses))
GROUP BY k.key, k.kind, k.subject, k.period, k.since, k.usd, k.tokens
ON CONFLICT (org_id, key) DO UPDATE SET usd = excluded.usd, tokens = excluded.tokens, usd_limit = excluded.usd_limit,
  token_limit = excluded.token_limit, used_at = clock_timestamp();

-- name: remove_budget
DELETE FROM weft.budgets b WHERE b.org_id = %(org_id)s::uuid AND b.kind = %(kind)s::text AND b.subject = %(subject)s::text AND b.period = %(period)s::text;
