"""What a Postgres that is not ours must be before Weft relies on it: new enough, with pgvector, durable, and our login harmless."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from store.errors import Misconfigured
from store.translation import refused_connection

MIN_POSTGRES = 16
MIN_PGVECTOR = (0, 8)

FACTS = b"""
SELECT current_setting('server_version_num')::int / 10000 AS major,
       current_setting('fsync') = 'on' AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') = 'on' AS full_page_writes,
       pg_is_in_recovery() AS standby,
       current_setting('server_encoding') AS encoding,
       coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'),
                (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')) AS pgvector,
       current_user::text AS login,
       (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS unbound,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'weft' AND pg_has_role(c.relowner, 'USAGE')) AS owner
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`unbound`: row-level security does not bind this login; `owner`: it owns tables of ours or may act as who does."""

    major: int
    fsync: bool
    synchronous_commit: str
    full_page_writes: bool
    standby: bool
    encoding: str
    pgvector: str | None
    login: str
    unbound: bool
    owner: bool


async def inspect(url: str) -> Facts:
    """Raises Unavailable or Misconfigured when the server does not take the login."""
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=5, prepare_threshold=None) as connection:
            facts = await connection.cursor(row_factory=class_row(Facts)).execute(FACTS)
            return await facts.fetchone() or _nothing()
    except psycopg.OperationalError as error:
        raise refused_connection(error, url) from error


def refusals(facts: Facts, *, app: bool) -> list[str]:
    """A sentence for each thing that must change. `app` for the login of the doors and workers, else that of migrations."""
    checks = {
        f"Postgres {facts.major} is too old; Weft needs {MIN_POSTGRES} or newer.": facts.major < MIN_POSTGRES,
        "This Postgres has no pgvector; install the extension (version 0.8 or newer) on the database server.": facts.pgvector is None,
        f"pgvector {facts.pgvector} is too old; install 0.8 or newer and run ALTER EXTENSION vector UPDATE.": facts.pgvector is not None
        and _version(facts.pgvector) < MIN_PGVECTOR,
        "fsync is off: a crash would lose acknowledged work. Set fsync = on.": not facts.fsync,
        "synchronous_commit is off: a crash would lose acknowledged work. Set it to on.": facts.synchronous_commit == "off",
        "full_page_writes is off: a crash can corrupt the database. Set it to on.": not facts.full_page_writes,
        "This Postgres is a read-only standby; use the address of the primary.": facts.standby,
        f"The database's encoding is {facts.encoding}; create it with ENCODING 'UTF8'.": facts.encoding != "UTF8",
        f"The login {facts.login} is a superuser or has BYPASSRLS, so nothing would keep organizations apart. "
        "Let Weft log in as weft_app, which `weft migrate` makes.": app and facts.unbound,
        f"The login {facts.login} owns Weft's tables, so it could take away what keeps organizations apart. "
        "Let Weft log in as weft_app, which `weft migrate` makes.": app and facts.owner and not facts.unbound,
    }
    return [sentence for sentence, broken in checks.items() if broken]


async def check(url: str, *, app: bool) -> Facts:
    """Raises Misconfigured with every refusal at once."""
    facts = await inspect(url)
    if sentences := refusals(facts, app=app):
        raise Misconfigured(" ".join(sentences))
    return facts


def _version(text: str) -> tuple[int, int]:
    major, minor, *_ = (*text.split("."), "0")
    return int(major), int(minor)


def _nothing() -> Facts:
    raise Misconfigured("What answers at the database URL is not Postgres; check the database URL.")
