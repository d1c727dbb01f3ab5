-- 0014_expand_agents: filled by its owner.
SELECT 1;
