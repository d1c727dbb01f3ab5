-- name: records
-- Memories with all that is kept of them beside their row, in the order they were made; also what was retracted. No ids: all of the scopes.
SELECT m.id::text, json_build_object(
    'id', m.id, 'scope_id', m.scope_id, 'kind', m.kind, 'collection', m.collection, 'series', m.series, 'seq', m.seq, 'speaker', m.speaker,
    'role', m.role, 'title', m.title, 'body', m.body, 'data', m.data, 'language', m.language, 'occurred_at', m.occurred_at,
    'valid_from', m.valid_from, 'valid_to', m.valid_to, 'recorded_at', m.recorded_at, 'retracted_at', m.retracted_at,
    'importance', m.importance, 'confidence', m.confidence, 'pinned', m.pinned, 'uses', m.uses, 'expires_at', m.expires_at,
    'origin', m.origin, 'source', m.source, 'author', m.author, 'trust', m.trust, 'labels', to_json(m.labels), 'run_id', m.run_id,
    'created_by', m.created_by, 'used_at', m.used_at, 'digest', encode(m.digest, 'hex'),
    'parents', (SELECT json_agg(l.parent ORDER BY l.parent) FROM weft.memory_lineage l WHERE l.org_id = m.org_id AND l.child = m.id),
    'names', (SELECT json_agg(n.name ORDER BY n.name) FROM weft.memory_names n WHERE n.org_id = m.org_id AND n.entity_id = m.id),
    'merge', (SELECT json_build_object('into', g.into_id, 'root', g.root_id, 'method', g.method, 'score', g.score)
              FROM weft.memory_merges g WHERE g.org_id = m.org_id AND g.from_id = m.id),
    'mentions', (SELECT json_agg(x.entity_id ORDER BY x.entity_id) FROM weft.memory_mentions x WHERE x.org_id = m.org_id AND x.memory_id = m.id),
    'edge', (SELECT json_build_object('from', e.from_id, 'to', e.to_id, 'type', e.type, 'weight', e.weight)
             FROM weft.memory_edges e WHERE e.org_id = m.org_id AND e.memory_id = m.id),
    'fact', (SELECT json_build_object('subject', f.subject, 'predicate', f.predicate, 'object', f.object, 'single', f.single,
               'vouched', f.vouched, 'live', f.live, 'retraction', f.retraction, 'valid_from', lower(f.valid), 'valid_to', upper(f.valid))
             FROM weft.memory_facts f WHERE f.org_id = m.org_id AND f.memory_id = m.id)) AS record
FROM weft.memories m
WHERE m.org_id = %(org_id)s::uuid AND m.scope_id = ANY(%(scope_ids)s::bigint[]) AND (%(ids)s::uuid[] IS NULL OR m.id = ANY(%(ids)s::uuid[]))
  AND (%(after)s::uuid IS NULL OR m.id > %(after)s::uuid)
ORDER BY m.id LIMIT %(limit)s::int;
