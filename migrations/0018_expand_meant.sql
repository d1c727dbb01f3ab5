-- Whether a memory was hidden for its own sake, and not only with something that it rests on: then it stays hidden when that is shown again.
ALTER TABLE weft.memory_quarantines ADD COLUMN meant boolean NOT NULL DEFAULT false;
