"""A clock of Postgres that can be moved while everything runs.

Queries of weft_app find a clock_timestamp() of ours before that of Postgres. What is bound to the latter for good, the functions that claim
and renew, gets the same time from the engine's option `clock`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from tests.faults.mortal import Mortal

MADE = """
CREATE SCHEMA skewed;
CREATE TABLE skewed.clock (ahead interval NOT NULL);
INSERT INTO skewed.clock VALUES ('0');
CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
  AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM skewed.clock';
GRANT USAGE ON SCHEMA skewed TO weft_app;
GRANT SELECT ON skewed.clock TO weft_app;
ALTER ROLE weft_app SET search_path = skewed, pg_catalog"""
GONE = "ALTER ROLE weft_app RESET search_path; DROP SCHEMA skewed CASCADE"


class Skew:
    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin
        self.ahead = timedelta()

    def __call__(self, ahead: timedelta) -> None:
        """From now on it is so much later than it is."""
        self._admin.execute("UPDATE skewed.clock SET ahead = %s", (ahead,))
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextmanager
def skewed(server: Mortal) -> Generator[Skew]:
    """Connections opened during the block have a clock that can be moved."""
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(MADE)
        try:
            yield Skew(admin)
        finally:
            admin.execute(GONE)
