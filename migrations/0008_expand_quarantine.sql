-- Memories that are hidden because somebody did not trust where they are from: what they were before, so that they can be shown again.
CREATE TABLE weft.memory_quarantines (
  org_id uuid NOT NULL DEFAULT weft.org() REFERENCES weft.organizations ON DELETE CASCADE,
  memory_id uuid NOT NULL,
  trust smallint NOT NULL CHECK (trust BETWEEN 1 AND 3),   -- before
  held boolean NOT NULL DEFAULT false,         -- it was a fact that was held to be so
  reason text NOT NULL,
  by_user uuid,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (org_id, memory_id),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
ALTER TABLE weft.memory_quarantines ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.memory_quarantines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.memory_quarantines USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.memory_quarantines TO weft_app;

-- What was said before in the same words: a quote that is remembered again is believed no more than it was.
CREATE FUNCTION weft.wording(text text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN hashtextextended(lower(regexp_replace(btrim(text), '\s+', ' ', 'g')), 0);
REVOKE ALL ON FUNCTION weft.wording FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.wording TO weft_app;
-- A column, as an index on the function would not be read under row security: only the comparison of numbers is leakproof.
ALTER TABLE weft.memories ADD COLUMN wording bigint GENERATED ALWAYS AS (weft.wording(body)) STORED;
CREATE INDEX memories_wording ON weft.memories (org_id, wording);
