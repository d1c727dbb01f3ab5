-- 0016_expand_replays: filled by its owner.
SELECT 1;
