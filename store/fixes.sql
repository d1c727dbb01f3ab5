-- name: tried
-- What calls of fix_run have answered in a run, or null of one under way or that failed: the steps that call a tool of the house under that name. Their config
-- is looked at as text, which is exact and never fails; what it is, the reader sees.
SELECT n.position, coalesce(n.input, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) AS input,
       coalesce(n.output, (SELECT p.body FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.output_digest)) AS output
FROM weft.node_runs n
WHERE n.org_id = %(org_id)s::uuid AND n.run_id = %(run_id)s::uuid AND n.node_type = 'house_tool' AND n.state IN ('running', 'succeeded', 'failed')
  AND coalesce(n.input::text, (SELECT p.body::text FROM weft.payloads p WHERE p.org_id = n.org_id AND p.digest = n.input_digest)) LIKE '%%fix_run%%'
ORDER BY n.seq;
