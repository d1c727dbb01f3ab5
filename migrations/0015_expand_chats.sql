-- 0015_expand_chats: filled by its owner.
SELECT 1;
