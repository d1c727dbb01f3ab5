"""Migrations: applied once and in order by whoever comes first, refused with a sentence when files and database do not belong together."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import psycopg
import pytest

from migrations.apply import FOLDER, Refused, apply, files, status
from store.embedded import Embedded, embedded
from tests.conftest import FAST, Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def empty(server: Server) -> Generator[str]:
    """The admin URL of a database with nothing in it."""
    with server.blank() as name:
        yield server.admin_url(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small migrations of a test's own."""
    (tmp_path / "0001_expand_one.sql").write_text("CREATE TABLE weft.one (x int);")
    (tmp_path / "0002_contract_two.sql").write_text("ALTER TABLE weft.one DROP COLUMN x;\nCREATE TABLE weft.two ();")
    return tmp_path


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT relname FROM pg_class WHERE relnamespace = 'weft'::regnamespace AND relkind = 'r'"
        return {name for (name,) in connection.execute(query)}


def schema(url: str) -> list[tuple[str, ...]]:
    """Everything in our schema that can be told apart: columns, constraints, indexes, policies, rights, functions."""
    parts = (
        "SELECT 'column', table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'weft'",
        "SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'weft'::regnamespace",
        "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'weft'",
        "SELECT 'policy', policyname, tablename, roles::text, qual, with_check FROM pg_policies WHERE schemaname = 'weft'",
        "SELECT 'relation', relname, relacl::text, relrowsecurity, relforcerowsecurity, relowner::regrole::text FROM pg_class"
        " WHERE relnamespace = 'weft'::regnamespace",
        "SELECT 'function', pg_get_functiondef(oid), proacl::text, proowner::regrole::text FROM pg_proc"
        " WHERE pronamespace = 'weft'::regnamespace",
        "SELECT 'row', number::text, name, checksum FROM weft.migrations",
    )
    with psycopg.connect(url) as connection:
        return sorted(tuple(map(str, row)) for part in parts for row in connection.execute(part.encode()))


async def test_a_second_time_nothing_happens(empty: str) -> None:
    names = [migration.name for migration in files()]
    assert (await status(empty)).pending == tuple(names)
    assert await apply(empty) == names
    before = schema(empty)
    assert await apply(empty) == []
    assert schema(empty) == before
    assert (await status(empty)).current


async def test_appliers_at_once_apply_each_migration_once(empty: str) -> None:
    applied = await asyncio.gather(*(apply(empty) for _ in range(5)))
    assert sorted(name for names in applied for name in names) == [migration.name for migration in files()]


async def test_appliers_at_once_on_databases_of_one_cluster_do_not_trip_over_the_roles(server: Server) -> None:
    with server.blank() as first, server.blank() as second:
        urls = [server.admin_url(name) for name in (first, second) * 3]
        await asyncio.gather(*(apply(url, app_password=server.postgres.app_password) for url in urls))
        assert schema(urls[0]) == schema(urls[1])


async def test_the_app_may_ask_whether_the_schema_is_current(server: Server, app_url: str) -> None:
    assert (await status(app_url)).current
    with server.blank() as name:
        assert (await status(server.app_url(name))).pending


async def test_migrations_run_as_the_owner_and_all_of_it_belongs_to_it(empty: str, folder: Path) -> None:
    assert await apply(empty, folder=folder) == ["0001_expand_one", "0002_contract_two"]
    with psycopg.connect(empty) as connection:
        owners = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'weft'::regnamespace"
        ).fetchall()
    assert owners == [("weft_owner",)]


async def test_a_file_changed_after_it_was_applied_is_refused(empty: str, folder: Path) -> None:
    await apply(empty, folder=folder)
    file = folder / "0001_expand_one.sql"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(Refused, match=r"0001_expand_one\.sql was changed after it was applied"):
        await apply(empty, folder=folder)
    assert "was changed" in str((await status(empty, folder=folder)).problem)


async def test_a_database_newer_than_the_code_is_refused(empty: str, folder: Path) -> None:
    await apply(empty, folder=folder)
    (folder / "0002_contract_two.sql").unlink()
    with pytest.raises(Refused, match=r"newer than this version of Weft \(it has 0002_contract_two\)"):
        await apply(empty, folder=folder)
    assert not (await status(empty, folder=folder)).current


async def test_a_gap_in_the_database_is_refused(empty: str, folder: Path) -> None:
    await apply(empty, folder=folder)
    with psycopg.connect(empty) as connection:
        connection.execute("DELETE FROM weft.migrations WHERE number = 1")
    with pytest.raises(Refused, match="0001 was never applied"):
        await apply(empty, folder=folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("0004_expand_four.sql", "0003 is missing before"),
        ("0002_expand_again.sql", "0003 is missing before"),
        ("3_expand_three.sql", "is not named"),
        ("0003_change_three.sql", "is not named"),
    ],
)
async def test_a_file_out_of_order_or_misnamed_is_refused(empty: str, folder: Path, name: str, words: str) -> None:
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(Refused, match=words):
        await apply(empty, folder=folder)


async def test_a_migration_that_fails_leaves_no_trace_and_the_ones_before_stay(empty: str, folder: Path) -> None:
    (folder / "0002_contract_two.sql").write_text("CREATE TABLE weft.two ();\nSELECT 1 / 0;")
    with pytest.raises(Refused, match="0002_contract_two failed and was undone: division by zero"):
        await apply(empty, folder=folder)
    assert tables(empty) == {"migrations", "one"}
    assert (await status(empty, folder=folder)).pending == ("0002_contract_two",)


async def test_the_password_of_the_app_is_never_sent_in_clear(empty: str, server: Server) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET log_statement = 'ddl'".encode())
    await apply(empty, app_password=server.postgres.app_password)
    log = (server.postgres.data / "postgres.log").read_text(errors="replace")
    assert "ALTER ROLE weft_app PASSWORD 'SCRAM-SHA-256$" in log
    assert server.postgres.app_password not in log


@pytest.fixture
async def managed() -> AsyncGenerator[tuple[Embedded, str]]:
    """A Postgres as managed ones are: we are not superuser, but own a database (with pgvector allowed) and may create roles."""
    home = Path(tempfile.mkdtemp(prefix="weft-managed-"))
    try:
        async with embedded(home / "data", home / "keys.json", settings=FAST) as server:
            with psycopg.connect(server.admin_url, autocommit=True) as admin:
                admin.execute("CREATE ROLE manager LOGIN CREATEROLE PASSWORD 'manager'")
                admin.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
                admin.execute("CREATE DATABASE managed OWNER manager")
            with psycopg.connect(server.url("postgres", server.passwords.admin, "managed"), autocommit=True) as admin:
                admin.execute("CREATE EXTENSION vector")
            yield server, server.url("manager", "manager", "managed")
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def test_the_owner_of_a_managed_database_with_createrole_can_migrate_it(
    managed: tuple[Embedded, str], server: Server, empty: str
) -> None:
    postgres, url = managed
    with pytest.raises(Refused, match="owner of the database with CREATEROLE"):
        await apply(postgres.url("poor", "poor", "managed"))
    assert await apply(url, app_password="secret") == [migration.name for migration in files()]
    assert await apply(url, app_password="secret") == []
    assert (await status(url)).current
    assert (await status(postgres.url("weft_app", "secret", "managed"))).current
    await apply(empty)
    assert schema(url) == schema(empty)


async def test_a_postgres_without_pgvector_is_refused(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA bare")
        connection.execute("CREATE VIEW bare.pg_available_extensions AS SELECT NULL::text AS name WHERE false")
        database = connection.info.dbname
        connection.execute(f"ALTER DATABASE {database} SET search_path = bare, pg_catalog".encode())
    with pytest.raises(Refused, match="has no pgvector"):
        await apply(empty)


def test_the_shipped_files_are_named_in_order() -> None:
    assert [migration.number for migration in files(FOLDER)] == list(range(1, len(files(FOLDER)) + 1))
