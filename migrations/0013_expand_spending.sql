-- 0013_expand_spending: filled by its owner.
SELECT 1;
