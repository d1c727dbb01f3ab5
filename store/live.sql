-- name: tell
-- Pieces of what runs show just now, for processes that listen; every piece begins with its organization.
SELECT pg_notify('weft_live', %(org_id)s::text || ' ' || piece) FROM unnest(%(pieces)s::text[]) AS piece;
