-- name: known
-- All an organization has said about models, in one row. Prices are for a million tokens.
SELECT c.default_model, coalesce(c.fallbacks, '{}') AS fallbacks, coalesce(c.only_listed, false) AS only_listed,
       coalesce((SELECT json_agg(json_build_object('name', m.name, 'kind', m.kind, 'alias', m.alias, 'connection', m.connection, 'base_url', m.base_url,
           'context', m.context, 'max_output', m.max_output, 'tools', m.tools, 'vision', m.vision, 'json_schema', m.json_schema,
           'streaming', m.streaming, 'input_price', m.input_price::float8, 'output_price', m.output_price::float8,
           'cached_price', m.cached_price::float8, 'written_price', m.written_price::float8, 'enabled', m.enabled, 'script', m.script) ORDER BY m.name)
         FROM weft.models m WHERE m.org_id = %(org_id)s::uuid), '[]'::json) AS models
FROM (SELECT) AS one LEFT JOIN weft.model_choices c ON c.org_id = %(org_id)s::uuid;

-- name: put
INSERT INTO weft.models (org_id, name, kind, alias, connection, base_url, context, max_output, tools, vision, json_schema, streaming, input_price,
                         output_price, cached_price, written_price, enabled, script)
VALUES (%(org_id)s::uuid, %(name)s::text, %(kind)s::text, %(alias)s::text, %(connection)s::text, %(base_url)s::text, %(context)s::int,
        %(max_output)s::int, %(tools)s::boolean, %(vision)s::boolean, %(json_schema)s::boolean, %(streaming)s::boolean, %(input_price)s::numeric,
        %(output_price)s::numeric, %(cached_price)s::numeric, %(written_price)s::numeric, %(enabled)s::boolean, %(script)s::json)
ON CONFLICT (org_id, name) DO UPDATE SET kind = excluded.kind, alias = excluded.alias, connection = excluded.connection,
  base_url = excluded.base_url, context = excluded.context, max_output = excluded.max_output, tools = excluded.tools, vision = excluded.vision,
  json_schema = excluded.json_schema, streaming = excluded.streaming, input_price = excluded.input_price, output_price = excluded.output_price,
  cached_price = excluded.cached_price, written_price = excluded.written_price, enabled = excluded.enabled, script = excluded.script,
  updated_at = now();

-- name: remove
DELETE FROM weft.models m WHERE m.org_id = %(org_id)s::uuid AND m.name = %(name)s::text;

-- name: choose
INSERT INTO weft.model_choices (org_id, default_model, fallbacks, only_listed)
VALUES (%(org_id)s::uuid, %(default_model)s::text, %(fallbacks)s::text[], %(only_listed)s::boolean)
ON CONFLICT (org_id) DO UPDATE SET default_model = excluded.default_model, fallbacks = excluded.fallbacks, only_listed = excluded.only_listed,
  updated_at = now();
