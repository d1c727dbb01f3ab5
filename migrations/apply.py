"""Applies the numbered SQL files of this folder in order, once each, under a lock, with checksums; makes the roles they need first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

FOLDER = Path(__file__).parent
FILE = re.compile(r"(\d{4})_(expand|contract)_[a-z0-9_]+\.sql")
LOCK = 0x57454654  # "WEFT": the advisory lock all appliers of one database share


class Refused(Exception):
    """The database cannot be migrated; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`problem` is a sentence when the database and this version of Weft do not belong together."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    problem: str | None

    @property
    def current(self) -> bool:
        return not self.pending and self.problem is None


def files(folder: Path = FOLDER) -> list[Migration]:
    """The migrations of a folder in order. Raises Refused when a number is missing, doubled or a name is not of the form."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE.fullmatch(path.name)
        if match is None:
            raise Refused(f"{path.name} is not named NNNN_expand_words.sql or NNNN_contract_words.sql; rename it.")
        if int(match[1]) != len(found) + 1:
            raise Refused(f"Migration {len(found) + 1:04} is missing before {path.name}; numbers follow each other without a gap.")
        found.append(Migration(number=int(match[1]), name=path.stem, text=path.read_text(encoding="utf-8")))
    return found


async def apply(admin_url: str, *, app_password: str | None = None, folder: Path = FOLDER) -> list[str]:
    """Brings the database to this version and answers with the names of the migrations applied now.

    `admin_url` is a superuser or an owner of the database with CREATEROLE. `app_password` becomes the password of weft_app; None leaves it.
    Any number of appliers may run at once. Raises Refused, or psycopg.OperationalError when the database does not answer.
    """
    migrations = files(folder)
    done: list[str] = []
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True, prepare_threshold=None) as connection:
        await _prepare(connection, app_password)
        while (name := await _apply_next(connection, migrations)) is not None:
            done.append(name)
    return done


async def status(url: str, *, folder: Path = FOLDER) -> Status:
    """Compares the database with the files and changes nothing; the app's own login may ask."""
    migrations = files(folder)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:
        known = await (await connection.execute("SELECT to_regclass('weft.migrations') IS NOT NULL")).fetchone()
        applied = await _applied(connection) if known and known[0] else []
    return Status(
        applied=tuple(name for _, name, _ in applied),
        pending=tuple(migration.name for migration in migrations[len(applied) :]),
        problem=_disagreement(applied, migrations),
    )


Applied = Sequence[tuple[int, str, str]]


async def _applied(connection: psycopg.AsyncConnection) -> list[tuple[int, str, str]]:
    return await (await connection.execute("SELECT number, name, checksum FROM weft.migrations ORDER BY number")).fetchall()


def _disagreement(applied: Applied, migrations: Sequence[Migration]) -> str | None:
    for place, (number, name, checksum) in enumerate(applied):
        if number != place + 1:
            return f"Migration {place + 1:04} was never applied to this database, but {name} was; restore the database from a backup."
        if place >= len(migrations):
            return f"This database is newer than this version of Weft (it has {name}); install the newer Weft, or restore an older backup."
        if migrations[place].checksum != checksum:
            return (
                f"{migrations[place].name}.sql was changed after it was applied to this database as {name}; "
                "put the file back as released and make the change in a new migration."
            )
    return None


async def _apply_next(connection: psycopg.AsyncConnection, migrations: Sequence[Migration]) -> str | None:
    """Applies the first pending migration in one transaction, under a lock that ends with it (so that poolers do not matter)."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        applied = await _applied(connection)
        if problem := _disagreement(applied, migrations):
            raise Refused(problem)
        if len(applied) == len(migrations):
            return None
        migration = migrations[len(applied)]
        await connection.execute("SET LOCAL ROLE weft_owner")
        try:
            await connection.execute(migration.text.encode())
        except psycopg.Error as error:
            raise Refused(f"Migration {migration.name} failed and was undone: {error}") from error
        await connection.execute(
            "INSERT INTO weft.migrations (number, name, checksum) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )
        return migration.name


async def _prepare(connection: psycopg.AsyncConnection, app_password: str | None) -> None:
    """Makes roles, schema and extension where they are missing. Idempotent; roles belong to the whole cluster, hence the retries."""
    for attempt in range(10):
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                await _roles(connection, app_password)
                await _schema(connection)
            return
        except (psycopg.errors.UniqueViolation, psycopg.errors.InternalError_, psycopg.errors.DuplicateObject):
            if attempt == 9:  # "tuple concurrently updated": another database of this cluster is being migrated
                raise
        except psycopg.errors.InsufficientPrivilege as error:
            raise Refused(
                f"The database login may not prepare Weft's roles and schema ({error.diag.message_primary}). Run `weft migrate` "
                "as a superuser, or as the owner of the database with CREATEROLE who also made the weft_ roles."
            ) from error


async def _roles(connection: psycopg.AsyncConnection, app_password: str | None) -> None:
    for role, kind in (("weft_owner", "NOLOGIN"), ("weft_dispatch", "NOLOGIN"), ("weft_app", "LOGIN NOINHERIT")):
        name = sql.Identifier(role)
        exists = await (await connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))).fetchone()
        if exists is None:
            await connection.execute(sql.SQL("CREATE ROLE {} {}").format(name, sql.SQL(cast(LiteralString, kind))))
    await _let_become(connection, "weft_owner", None)
    await _let_become(connection, "weft_dispatch", "weft_owner")
    await _configure_app(connection, app_password)


async def _let_become(connection: psycopg.AsyncConnection, role: str, member: str | None) -> None:
    """Lets the member, or this login, SET ROLE to a role, which handing over functions needs too. A login with CREATEROLE that made
    the role does not get that by itself. This login also sees weft.migrations by it; the owner shall not see what the dispatcher sees."""
    may = await connection.execute("SELECT pg_has_role(coalesce(%s, current_user), %s, 'SET')", (member, role))
    if await may.fetchone() == (True,):
        return
    grant = sql.SQL("GRANT {} TO {} WITH INHERIT {}, SET TRUE")
    receiver = sql.Identifier(member) if member else sql.SQL("CURRENT_USER")
    await connection.execute(grant.format(sql.Identifier(role), receiver, sql.SQL("FALSE" if member else "TRUE")))


# Bounds that hold behind any pooler, because they belong to the login and not to a session.
APP_SETTINGS = (
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("search_path", "pg_catalog, public"),
)


async def _configure_app(connection: psycopg.AsyncConnection, app_password: str | None) -> None:
    row = await (await connection.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'weft_app'")).fetchone()
    present = set(cast("list[str]", row[0] or []) if row else [])
    for name, value in APP_SETTINGS:
        if f"{name}={value}" not in present:
            words = sql.SQL(", ").join(sql.Literal(word) for word in value.split(", "))
            await connection.execute(sql.SQL("ALTER ROLE weft_app SET {} = {}").format(sql.Identifier(name), words))
    if app_password is not None:  # sent as a SCRAM verifier: a password in a statement ends up in server logs
        verifier = connection.pgconn.encrypt_password(app_password.encode(), b"weft_app", b"scram-sha-256").decode()
        await connection.execute(sql.SQL("ALTER ROLE weft_app PASSWORD {}").format(sql.Literal(verifier)))


async def _schema(connection: psycopg.AsyncConnection) -> None:
    available = await (await connection.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'")).fetchone()
    if available is None:
        raise Refused("This Postgres has no pgvector; install the extension (version 0.8 or newer) on the database server.")
    await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    await connection.execute("CREATE SCHEMA IF NOT EXISTS weft AUTHORIZATION weft_owner")
    await connection.execute("SET LOCAL ROLE weft_owner")
    await connection.execute(
        """CREATE TABLE IF NOT EXISTS weft.migrations (
             number int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
    )
    await connection.execute("GRANT USAGE ON SCHEMA weft TO weft_app")
    await connection.execute("GRANT SELECT ON weft.migrations TO weft_app")
