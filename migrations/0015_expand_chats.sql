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

-- With a chat go its runs and what repeats them: inputs, steps, events, payloads. With the rights of the owner, since events are only ever
-- added; for the organization of the transaction alone, and only what is private to this user.
CREATE FUNCTION weft.drop_private_runs(org uuid, owner uuid, ids uuid[]) RETURNS int
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE dropped uuid[]; digests bytea[];
BEGIN
  IF org IS DISTINCT FROM weft.org() THEN
    RAISE insufficient_privilege USING MESSAGE = 'runs are dropped by their organization';
  END IF;
  WITH RECURSIVE gone AS (
      SELECT r.id FROM weft.runs r WHERE r.org_id = org AND r.private_to = owner AND r.id = ANY(ids)
    UNION
      SELECT r.id FROM gone g JOIN weft.runs r ON r.org_id = org AND r.private_to = owner
        AND (r.forked_from = g.id OR r.parent_run_id = g.id OR strpos(r.mocks::text, g.id::text) > 0))
  SELECT array_agg(g.id) INTO dropped FROM gone g;
  SELECT array_agg(DISTINCT d.digest) INTO digests FROM (
      SELECT unnest(ARRAY[n.input_digest, n.output_digest]) AS digest FROM weft.node_runs n WHERE n.org_id = org AND n.run_id = ANY(dropped)
    UNION ALL
      SELECT unnest(ARRAY[r.input_digest, r.output_digest]) FROM weft.runs r WHERE r.org_id = org AND r.id = ANY(dropped)) AS d
  WHERE d.digest IS NOT NULL;
  PERFORM FROM weft.runs r WHERE r.org_id = org AND r.id = ANY(dropped) ORDER BY r.id FOR UPDATE;
  DELETE FROM weft.events e WHERE e.org_id = org AND e.run_id = ANY(dropped);
  DELETE FROM weft.node_runs n WHERE n.org_id = org AND n.run_id = ANY(dropped);
  DELETE FROM weft.runs r WHERE r.org_id = org AND r.id = ANY(dropped);
  DELETE FROM weft.payloads p WHERE p.org_id = org AND p.digest = ANY(digests)
    AND NOT EXISTS (SELECT FROM weft.node_runs n WHERE n.org_id = org AND p.digest IN (n.input_digest, n.output_digest))
    AND NOT EXISTS (SELECT FROM weft.runs r WHERE r.org_id = org AND p.digest IN (r.input_digest, r.output_digest));
  RETURN coalesce(cardinality(dropped), 0);
END $$;
REVOKE ALL ON FUNCTION weft.drop_private_runs(uuid, uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.drop_private_runs(uuid, uuid, uuid[]) TO weft_app;
