-- Chats: what a person and the assistant have said to one another, as a tree. Each is its user's alone.

CREATE TABLE weft.chats (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id uuid NOT NULL DEFAULT weft.uuid7(),
  user_id uuid NOT NULL,
  title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  head uuid,                                   -- the message that the conversation has come to
  auto_approve text[] NOT NULL DEFAULT '{}',   -- tools that the user wants to be asked about no more, in this chat
  archived_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, id),
  FOREIGN KEY (org_id, user_id) REFERENCES weft.users (org_id, id)
);
CREATE INDEX chats_by_user ON weft.chats (org_id, user_id, updated_at DESC, id DESC);
ALTER TABLE weft.chats ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.chats FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.chats USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.chats TO weft_app;

CREATE TABLE weft.chat_messages (
  org_id uuid NOT NULL DEFAULT weft.org(),
  id uuid NOT NULL,
  chat_id uuid NOT NULL,
  parent_id uuid,                              -- none: it begins the chat, or a branch of its own
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  state text NOT NULL CHECK (state IN ('said', 'writing', 'done', 'failed', 'stopped')),
  content json NOT NULL,                       -- parts: text, files with their text, images
  text text NOT NULL,                          -- what was said, without attachments; for searching
  error json,                                  -- of a turn that failed
  run_id uuid,                                 -- the run that writes, or wrote, this answer
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, chat_id, id),
  FOREIGN KEY (org_id, chat_id) REFERENCES weft.chats (org_id, id) ON DELETE CASCADE,
  FOREIGN KEY (org_id, chat_id, parent_id) REFERENCES weft.chat_messages (org_id, chat_id, id),
  CHECK ((role = 'user') = (state = 'said')),
  CHECK ((role = 'user') = (run_id IS NULL))
);
CREATE INDEX chat_messages_by_words ON weft.chat_messages USING gin (to_tsvector('simple', text));
CREATE INDEX chat_messages_by_run ON weft.chat_messages (org_id, run_id) WHERE run_id IS NOT NULL;
ALTER TABLE weft.chat_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.chat_messages FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.chat_messages USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.chat_messages TO weft_app;

-- A turn of a chat, and what repeats one: its user's alone. Whoever else asks for it finds no such run.
ALTER TABLE weft.runs ADD COLUMN private_to uuid;
