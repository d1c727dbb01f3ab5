"""What every test stands on: one embedded Postgres for all test runs of this machine, a migrated template in it, an empty clone per test.

The server lives in a folder of its own under the temporary directory and is joined like any Weft process joins one (store/embedded.py): the
first run starts it, the last to leave stops it, a killed run holds nothing up. Clones carry the pid of their run, so that the next run
drops what a killed one left. The template is named after the migrations' checksums.
"""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

import migrations.apply
from store import identities
from store.embedded import Embedded, embedded
from store.errors import Misconfigured
from store.postgres import Database, Tenant

HOME = Path(tempfile.gettempdir()) / f"weft-tests-{getpass.getuser()}"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "scram_iterations": "1",
    "max_connections": "300",
}
TEMPLATE_LOCK = 1
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# Emptying a clone takes 5 ms, making one 50 ms of a quiet machine and a second of a busy one (it waits for checkpoints).
EMPTY = """
DO $$ DECLARE name regclass; BEGIN
  SET LOCAL session_replication_role = replica;   -- no foreign keys to check, no cascades
  FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'weft'::regnamespace AND relkind = 'r' AND relname <> 'migrations'
  LOOP EXECUTE format('DELETE FROM %s', name); END LOOP;
  PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relnamespace = 'weft'::regnamespace AND relkind = 'S';
END $$"""
DISCONNECT = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
SHAPE = """
SELECT (SELECT array_agg((c.oid, c.relacl, c.relrowsecurity, c.relnatts) ORDER BY c.oid)::text FROM pg_class c WHERE c.oid >= 16384),
       (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_constraint),
       (SELECT count(*) FROM pg_trigger),
       (SELECT array_agg(m.checksum)::text FROM weft.migrations m),
       (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database())"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A database of ours with the superuser's connection to it, and how its schema looked when it was new."""

    name: str
    admin: psycopg.Connection
    shape: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The Postgres of the tests, and the migrated database that each test gets a clone of."""

    postgres: Embedded
    admin: psycopg.Connection
    template: str
    free: list[Clone] = field(default_factory=list[Clone])

    def app_url(self, database: str) -> str:
        return self.postgres.url("weft_app", self.postgres.passwords.app, database)

    def admin_url(self, database: str) -> str:
        return self.postgres.url("postgres", self.postgres.passwords.admin, database)

    @contextmanager
    def clone(self) -> Generator[str]:
        """A migrated database without a row for the block. It serves again afterwards, unless its schema was changed."""
        clone = self.free.pop() if self.free else self._new_clone()
        try:
            yield clone.name
        finally:
            clone.admin.execute(DISCONNECT)
            clone.admin.execute(EMPTY)
            if clone.admin.execute(SHAPE).fetchone() == clone.shape:
                self.free.append(clone)
            else:
                self.drop(clone)

    @contextmanager
    def blank(self) -> Generator[str]:
        """A database with nothing in it for the block."""
        name = self._create("template0")
        try:
            yield name
        finally:
            self.admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def drop(self, clone: Clone) -> None:
        clone.admin.close()
        self.admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(clone.name)))

    def _new_clone(self) -> Clone:
        name = self._create(self.template)
        admin = psycopg.connect(self.admin_url(name), autocommit=True)
        return Clone(name=name, admin=admin, shape=admin.execute(SHAPE).fetchone())

    def _create(self, template: str) -> str:
        name = f"test_{os.getpid()}_{next(NUMBERS)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return name


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line past the capture, for tests that take minutes: how far they are."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")

    def told(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    return told


@pytest.fixture(scope="session")
def server() -> Generator[Server]:
    with asyncio.Runner() as runner, ExitStack() as stack:
        joined = _joined()
        postgres = runner.run(joined.__aenter__())
        stack.callback(lambda: runner.run(joined.__aexit__(None, None, None)))
        admin = stack.enter_context(psycopg.connect(postgres.url("postgres", postgres.passwords.admin, "postgres"), autocommit=True))
        _drop_leftovers(admin)
        made = Server(postgres=postgres, admin=admin, template=runner.run(_template(postgres, admin)))
        yield made
        for clone in made.free:
            made.drop(clone)


@asynccontextmanager
async def _joined() -> AsyncGenerator[Embedded]:
    """Joins the server; one whose folder does not come up any more (fsync is off here) is thrown away and made anew."""
    data, key_file = HOME / "data", HOME / "keys.json"
    try:
        context = embedded(data, key_file, settings=FAST)
        postgres = await context.__aenter__()
    except Misconfigured:
        shutil.rmtree(HOME, ignore_errors=True)
        context = embedded(data, key_file, settings=FAST)
        postgres = await context.__aenter__()
    try:
        yield postgres
    finally:
        await context.__aexit__(None, None, None)


def _drop_leftovers(admin: psycopg.Connection) -> None:
    """Databases of runs that were killed, and templates of migrations that nobody has for a day."""
    clones = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'").fetchall()
    templates = admin.execute(
        """SELECT datname FROM pg_database WHERE datname LIKE 'template\\_%'
           AND (pg_stat_file('base/' || oid || '/PG_VERSION')).modification < now() - interval '1 day'"""
    ).fetchall()
    for (name,) in [*(clone for clone in clones if not _alive(int(clone[0].split("_")[1]))), *templates]:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def _template(postgres: Embedded, admin: psycopg.Connection) -> str:
    """The migrated database, made by whoever comes first and renamed into place when it is whole."""
    checksums = "".join(migration.checksum for migration in migrations.apply.files())
    name = "template_" + hashlib.sha256(checksums.encode()).hexdigest()[:16]
    admin.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
    try:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            admin.execute("DROP DATABASE IF EXISTS template_new WITH (FORCE)")
            admin.execute("CREATE DATABASE template_new")
            await migrations.apply.apply(
                postgres.url("postgres", postgres.passwords.admin, "template_new"), app_password=postgres.passwords.app
            )
            admin.execute(sql.SQL("ALTER DATABASE template_new RENAME TO {}").format(sql.Identifier(name)))
    finally:
        admin.execute("SELECT pg_advisory_unlock(%s)", (TEMPLATE_LOCK,))
    return name


@pytest.fixture
def database_name(server: Server) -> Generator[str]:
    """A clone of the migrated database, empty of rows."""
    with server.clone() as name:
        yield name


@pytest.fixture
def app_url(server: Server, database_name: str) -> str:
    """The URL every door, worker and tool connects by: user weft_app."""
    return server.app_url(database_name)


@pytest.fixture
def admin_url(server: Server, database_name: str) -> str:
    """The superuser's URL of the same database: for migrations, and to look behind row-level security."""
    return server.admin_url(database_name)


@pytest.fixture
async def database(app_url: str, anyio_backend: str) -> AsyncGenerator[Database]:
    async with Database.open(app_url) as opened:
        yield opened


@pytest.fixture
async def organization(database: Database) -> str:
    """The id of an organization."""
    return (await identities.create_organization(database, slug="acme", name="Acme")).id


@pytest.fixture
def tenant(database: Database, organization: str) -> Tenant:
    return database.tenant(organization)


@pytest.fixture
async def other_tenant(database: Database) -> Tenant:
    """Another organization, which must never see or touch anything of `tenant`."""
    return database.tenant((await identities.create_organization(database, slug="globex", name="Globex")).id)


@pytest.fixture
async def owner(tenant: Tenant) -> str:
    """The id of a user of `organization` with the role owner."""
    return (await identities.create_user(tenant, name="Olga", role="owner")).id
