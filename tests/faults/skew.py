"""A clock of Postgres that can be moved while everything runs.

Queries of weft_app find a clock_timestamp() of ours before that of Postgres. What is bound to the latter for good, the functions that claim
and renew, gets the same time from the engine's option `clock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

LATELY = timedelta(minutes=1)
MADE = """
CREATE SCHEMA skewed;
CREATE TABLE skewed.clock (ahead interval NOT NULL);
INSERT INTO skewed.clock VALUES ('0');
CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
  AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM skewed.clock';
GRANT USAGE ON SCHEMA skewed TO weft_app;
GRANT SELECT ON skewed.clock TO weft_app;
DO $$ BEGIN EXECUTE format('ALTER ROLE weft_app IN DATABASE %I SET search_path = skewed, pg_catalog', current_database()); END $$"""
GONE = """
DO $$ BEGIN EXECUTE format('ALTER ROLE weft_app IN DATABASE %I RESET search_path', current_database()); END $$;
DROP SCHEMA skewed CASCADE"""


class Skew:
    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin
        self.ahead = timedelta()

    def __call__(self, ahead: timedelta) -> None:
        """From now on it is so much later than it is."""
        self._admin.execute("UPDATE skewed.clock SET ahead = %s", (ahead,))
        self.ahead = ahead

    async def noticed(self) -> None:
        """Returns when a worker has looked at the clock since it was moved."""
        async with asyncio.timeout(10):
            while (seen := self._admin.execute("SELECT seen_at FROM weft.clock").fetchone()) is None or abs(self.now() - seen[0]) > LATELY:
                await asyncio.sleep(0.05)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextmanager
def skewed(admin_url: str) -> Generator[Skew]:
    """Connections opened during the block have a clock that can be moved."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(MADE)
        try:
            yield Skew(admin)
        finally:
            admin.execute(GONE)
