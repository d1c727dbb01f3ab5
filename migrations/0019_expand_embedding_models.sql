-- What a model is for: to answer ("chat") or to make vectors ("embedding"); null: as shipped, else to answer.
ALTER TABLE weft.models ADD COLUMN kind text CHECK (kind IN ('chat', 'embedding'));
