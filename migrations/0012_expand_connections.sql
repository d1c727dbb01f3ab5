-- 0012_expand_connections: filled by its owner.
SELECT 1;
