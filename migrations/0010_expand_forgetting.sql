-- Forgetting reaches the runs: which of them were told of a memory, what a receipt says of them, and words that leave the journal.

-- Runs that wrote a memory or were told of it. It goes with the memory.
CREATE TABLE weft.memory_uses (
  org_id uuid NOT NULL DEFAULT weft.org(),
  memory_id uuid NOT NULL,
  run_id uuid NOT NULL,
  PRIMARY KEY (org_id, memory_id, run_id),
  FOREIGN KEY (org_id, memory_id) REFERENCES weft.memories (org_id, id) ON DELETE CASCADE
);
ALTER TABLE weft.memory_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE weft.memory_uses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON weft.memory_uses USING (org_id = (SELECT weft.org())) WITH CHECK (org_id = (SELECT weft.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON weft.memory_uses TO weft_app;

ALTER TABLE weft.memory_receipts
  ADD COLUMN redacted json NOT NULL DEFAULT '{}',   -- {table: rows of runs in which words were replaced}
  ADD COLUMN key text;                         -- of the step that asked for it, so that asking once more finds this
CREATE UNIQUE INDEX memory_receipts_once ON weft.memory_receipts (org_id, key) WHERE key IS NOT NULL;

CREATE INDEX runs_by_origin ON weft.runs (org_id, forked_from) WHERE forked_from IS NOT NULL;

-- Events are only ever added; but forgotten words leave them. With the rights of the owner, for the organization of the transaction alone.
CREATE FUNCTION weft.redact_events(org uuid, rows json) RETURNS int
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE changed int;
BEGIN
  IF org IS DISTINCT FROM weft.org() THEN
    RAISE insufficient_privilege USING MESSAGE = 'events are redacted by their organization';
  END IF;
  UPDATE weft.events e SET message = coalesce(x.message, e.message), data = coalesce(x.data::json, e.data)
  FROM json_to_recordset(rows) AS x(run_id uuid, seq bigint, message text, data text)
  WHERE e.org_id = org AND e.run_id = x.run_id AND e.seq = x.seq;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END $$;
REVOKE ALL ON FUNCTION weft.redact_events(uuid, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION weft.redact_events(uuid, json) TO weft_app;
