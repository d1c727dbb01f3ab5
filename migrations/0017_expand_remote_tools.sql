-- 0017_expand_remote_tools: filled by its owner.
SELECT 1;
