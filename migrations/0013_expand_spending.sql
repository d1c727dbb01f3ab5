-- Models: which an organization may ask, what each call used and cost, and the budgets that bound it.

CREATE TABLE weft.models (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,47}(:.+)?$' AND length(name) <= 200),   -- "vendor:name"
  alias text CHECK (alias ~ '^[a-z][a-z0-9_-]{0,63}$'),
  connection text,                             -- whose key and address are used; null: the operator's
  base_url text,                               -- of a server that wants no key
  context int CHECK (context > 0),             -- tokens; null here and below: as shipped, or unknown
  max_output int CHECK (max_output > 0),
  tools boolean,
  vision boolean,
  json_schema boolean,
  streaming boolean,
  input_price numeric(18, 9) CHECK (input_price >= 0),     -- USD for a million tokens, as are the others
  output_price numeric(18, 9) CHECK (output_price >= 0),
  cached_price numeric(18, 9) CHECK (cached_price >= 0),
  written_price numeric(18, 9) CHECK (written_price >= 0),
  enabled boolean NOT NULL DEFAULT true,
  script json,                                 -- of a scripted model
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, name),
  CONSTRAINT models_alias_unique UNIQUE (org_id, alias),
  CONSTRAINT models_price CHECK ((input_price IS NULL) = (output_price IS NULL)),
  CONSTRAINT models_address CHECK (connection IS NULL OR base_url IS NULL)   -- a secret goes nowhere but to its connection's own address
);

CREATE TABLE weft.model_choices (
  org_id uuid PRIMARY KEY DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  default_model text,
  fallbacks text[] NOT NULL DEFAULT '{}',      -- asked in turn when the default does not answer
  only_listed boolean NOT NULL DEFAULT false,  -- nothing but what weft.models lists may be asked
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- One row per call that was sent: reserved before it at the most it can cost, settled after it with what it did cost. A call whose process
-- died stays reserved until it expires, is then unknown, and stays counted at its estimate.
CREATE TABLE weft.model_calls (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT weft.uuid7(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  state text NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'settled', 'unknown')),
  user_id uuid,
  run_id uuid,                                 -- with position and attempt: the node run that asked
  position text,
  attempt int,
  workflow text,
  agent text,
  model text NOT NULL,
  vendor text NOT NULL,
  input_tokens bigint NOT NULL CHECK (input_tokens >= 0),   -- an estimate until it is settled
  output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
  cached_tokens bigint NOT NULL DEFAULT 0 CHECK (cached_tokens >= 0),     -- of the input, read from the vendor's cache
  cost numeric(18, 9) CHECK (cost >= 0),                         -- USD; null: nobody knows the price
  reserved_cost numeric(18, 9) CHECK (reserved_cost >= 0),
  reserved_tokens bigint NOT NULL CHECK (reserved_tokens >= 0),
  estimated boolean NOT NULL DEFAULT true,     -- the vendor did not say what it counted
  outcome text,                                -- "ok", or the code of the failure
  duration_ms int,
  expires_at timestamptz NOT NULL,
  purses text[] NOT NULL DEFAULT '{}',         -- what it draws on
  PRIMARY KEY (org_id, id)
);
CREATE INDEX model_calls_at ON weft.model_calls (org_id, at);
CREATE INDEX model_calls_of_run ON weft.model_calls (org_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX model_calls_open ON weft.model_calls (org_id, expires_at) WHERE state = 'reserved';

CREATE TABLE weft.budgets (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('organization', 'user', 'agent', 'workflow')),
  subject text NOT NULL CHECK ((kind = 'organization') = (subject = '')),   -- id of the user, name of the agent or workflow
  period text NOT NULL CHECK (period IN ('day', 'month', 'total')),         -- days and months of UTC
  usd numeric(18, 9) CHECK (usd >= 0),
  tokens bigint CHECK (tokens >= 0),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, kind, subject, period),
  CONSTRAINT budgets_bound CHECK (usd IS NOT NULL OR tokens IS NOT NULL)
);

-- What was spent of a budget in one of its periods, of the budget of a run, or of a limit within a run; and what calls under way may spend yet.
CREATE TABLE weft.purses (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  key text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('organization', 'user', 'agent', 'workflow', 'run', 'limit')),
  subject text NOT NULL,
  period text NOT NULL,
  since date NOT NULL,
  usd_limit numeric(18, 9),
  token_limit bigint,
  usd numeric(18, 9) NOT NULL DEFAULT 0 CHECK (usd >= 0),
  tokens bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0),
  usd_reserved numeric(18, 9) NOT NULL DEFAULT 0 CHECK (usd_reserved >= 0),
  tokens_reserved bigint NOT NULL DEFAULT 0 CHECK (tokens_reserved >= 0),
  used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, key)
);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['models', 'model_choices', 'model_calls', 'budgets', 'purses'] LOOP
    EXECUTE format('ALTER TABLE weft.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE weft.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON weft.%I USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()))', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.models, weft.model_choices, weft.model_calls, weft.budgets, weft.purses TO weft_app;

-- The first day of a period that is under way.
CREATE FUNCTION weft.period_since(period text) RETURNS date LANGUAGE sql STABLE
  RETURN CASE period WHEN 'day' THEN (clock_timestamp() AT TIME ZONE 'UTC')::date
    WHEN 'month' THEN date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date ELSE date '1970-01-01' END;

-- Makes or finds the purses that a call draws on, and holds them: the budgets that apply, those of its run and of the runs that run is a part
-- of, and limits of its own [{key, usd, tokens}]. Always in the order of keys, so that two calls never wait for each other.
CREATE FUNCTION weft.hold_purses(by_user uuid, of_run uuid, of_workflow text, of_agent text, limits json) RETURNS text[]
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  own uuid := weft.org();
  keys text[];
BEGIN
  WITH RECURSIVE line AS (   -- the run and the runs around it
      SELECT r.id, r.parent_run_id, r.parent_position, r.digest FROM weft.runs r WHERE r.org_id = own AND r.id = of_run
      UNION ALL
      SELECT r.id, r.parent_run_id, r.parent_position, r.digest FROM line l JOIN weft.runs r ON r.org_id = own AND r.id = l.parent_run_id),
    wanted AS (
      SELECT b.kind, b.subject, b.period, weft.period_since(b.period) AS since, b.usd, b.tokens FROM weft.budgets b
      WHERE b.org_id = own AND (b.kind = 'organization' OR (b.kind = 'user' AND b.subject = by_user::text)
        OR (b.kind = 'agent' AND b.subject IN (of_agent, split_part(of_agent, '@', 1))) OR (b.kind = 'workflow' AND b.subject = of_workflow))
      UNION ALL
      SELECT 'run', l.id::text, 'total', date '1970-01-01', (d.body #>> '{settings,budget,usd}')::numeric,
             (d.body #>> '{settings,budget,tokens}')::numeric::bigint
      FROM line l JOIN weft.definitions d ON d.org_id = own AND d.digest = l.digest
      WHERE coalesce(d.body #>> '{settings,budget,usd}', d.body #>> '{settings,budget,tokens}') IS NOT NULL
      UNION ALL
      SELECT 'limit', concat_ws(' ', of_run::text, o.key), 'total', date '1970-01-01', o.usd, o.tokens
      FROM json_to_recordset(limits) AS o(key text, usd numeric, tokens bigint)
      UNION ALL    -- of the agents that the run works for: those at the places around the step that it is the child of
      SELECT p.kind, p.subject, p.period, p.since, p.usd_limit, p.token_limit
      FROM line l CROSS JOIN string_to_array(l.parent_position, '/') AS path(parts)
      CROSS JOIN generate_series(1, cardinality(path.parts) - 1) AS depth(n)
      JOIN weft.purses p ON p.org_id = own AND p.key = concat_ws(' ', 'limit', 'total', '1970-01-01', l.parent_run_id::text,
                                                                 'agent:' || array_to_string(path.parts[1:depth.n], '/'))),
    made AS (
      INSERT INTO weft.purses AS p (org_id, key, kind, subject, period, since, usd_limit, token_limit)
      SELECT own, concat_ws(' ', w.kind, w.period, w.since, w.subject) AS key, w.kind, w.subject, w.period, w.since, min(w.usd), min(w.tokens)
      FROM wanted w GROUP BY key, w.kind, w.subject, w.period, w.since ORDER BY key
      ON CONFLICT (org_id, key) DO UPDATE SET usd_limit = excluded.usd_limit, token_limit = excluded.token_limit, used_at = clock_timestamp()
      RETURNING p.key)
  SELECT coalesce(array_agg(m.key), '{}') INTO keys FROM made m;
  RETURN keys;
END $$;

-- Reserves the most that a call can cost in every purse it draws on, or in none. `most` is how many tokens it may answer with, at least
-- `least` of which must be affordable; prices are for a million tokens and null when nobody knows them.
--   granted  with `output` tokens, fewer than asked for when the rest of a purse pays no more and nobody else has a hand in it
--   busy     calls under way hold what is missing: ask again when some have ended
--   refused  by the purse that is told
--   unpriced a purse counts money, and this call's cannot be told
-- `purses`: how many it draws on.
CREATE FUNCTION weft.reserve_call(call json, input_tokens bigint, most bigint, least_output bigint, input_price numeric, output_price numeric,
                                  limits json, seconds float8)
  RETURNS TABLE (verdict text, id uuid, output bigint, kind text, subject text, period text, usd_limit float8, token_limit bigint,
                 usd float8, tokens bigint, usd_reserved float8, tokens_reserved bigint, purses int)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  own uuid := weft.org();
  keys text[] := weft.hold_purses((call->>'user_id')::uuid, (call->>'run_id')::uuid, call->>'workflow', call->>'agent', limits);
  million constant numeric := 1000000;
  free boolean := coalesce(input_price = 0 AND output_price = 0, false);
  tight record;        -- the purse that pays for the fewest tokens
  granted bigint := most;
  told text := 'granted';
BEGIN
  FOR tight IN
    SELECT p.*, f.fits, f.later, min(f.later) OVER () AS least_later, bool_or(f.fits < most AND p.usd_reserved + p.tokens_reserved > 0) OVER () AS held
    FROM weft.purses p, LATERAL (
      SELECT least(CASE WHEN p.usd_limit IS NULL OR input_price IS NULL OR free THEN most
                        WHEN (p.usd_limit - p.usd - p.usd_reserved) * million < input_tokens * input_price THEN -1
                        WHEN output_price = 0 THEN most
                        ELSE least(most, floor(((p.usd_limit - p.usd - p.usd_reserved) * million - input_tokens * input_price) / output_price)) END,
                   p.token_limit - p.tokens - p.tokens_reserved - input_tokens)::bigint AS fits,
             least(CASE WHEN p.usd_limit IS NULL OR input_price IS NULL OR free THEN most
                        WHEN (p.usd_limit - p.usd) * million < input_tokens * input_price THEN -1
                        WHEN output_price = 0 THEN most
                        ELSE least(most, floor(((p.usd_limit - p.usd) * million - input_tokens * input_price) / output_price)) END,
                   p.token_limit - p.tokens - input_tokens)::bigint AS later) f
    WHERE p.org_id = own AND p.key = ANY(keys)
    ORDER BY (p.usd_limit IS NOT NULL AND input_price IS NULL) DESC, f.fits, p.key LIMIT 1
  LOOP
    IF tight.usd_limit IS NOT NULL AND input_price IS NULL THEN
      told := 'unpriced';
    ELSIF tight.fits < most THEN
      granted := tight.fits;
      IF tight.held AND tight.least_later >= least_output AND tight.least_later > tight.fits THEN
        told := 'busy';
      ELSIF tight.fits < least_output THEN
        told := 'refused';
      END IF;
    END IF;
    IF told <> 'granted' THEN
      RETURN QUERY SELECT told, NULL::uuid, NULL::bigint, tight.kind::text, tight.subject::text, tight.period::text, tight.usd_limit::float8,
        tight.token_limit::bigint, tight.usd::float8, tight.tokens::bigint, tight.usd_reserved::float8, tight.tokens_reserved::bigint,
        cardinality(keys);
      RETURN;
    END IF;
  END LOOP;
  UPDATE weft.purses p SET usd_reserved = p.usd_reserved + coalesce((input_tokens * input_price + granted * output_price) / million, 0),
    tokens_reserved = p.tokens_reserved + input_tokens + granted
  WHERE p.org_id = own AND p.key = ANY(keys);
  RETURN QUERY
  INSERT INTO weft.model_calls AS c (org_id, user_id, run_id, position, attempt, workflow, agent, model, vendor, input_tokens, output_tokens,
                                     reserved_cost, reserved_tokens, expires_at, purses)
  VALUES (own, (call->>'user_id')::uuid, (call->>'run_id')::uuid, call->>'position', (call->>'attempt')::int, call->>'workflow', call->>'agent',
          call->>'model', call->>'vendor', input_tokens, granted, (input_tokens * input_price + granted * output_price) / million,
          input_tokens + granted, clock_timestamp() + make_interval(secs => seconds), keys)
  RETURNING 'granted', c.id, granted, NULL::text, NULL::text, NULL::text, NULL::float8, NULL::bigint, NULL::float8, NULL::bigint, NULL::float8,
            NULL::bigint, cardinality(keys);
END $$;

REVOKE ALL ON FUNCTION weft.period_since(text), weft.hold_purses(uuid, uuid, text, text, json),
  weft.reserve_call(json, bigint, bigint, bigint, numeric, numeric, json, float8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.period_since(text), weft.hold_purses(uuid, uuid, text, text, json),
  weft.reserve_call(json, bigint, bigint, bigint, numeric, numeric, json, float8) TO weft_app;
