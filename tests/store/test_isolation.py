"""P3, no leak: what keeps organizations apart is there on every table, and holds against statements that forget or attack it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
import pytest

from store import identities, workflows
from store.errors import Conflict, Denied, WeftError
from store.postgres import Database, Tenant
from store.queries import Query
from tests.conftest import Server

pytestmark = pytest.mark.anyio

ORG_TABLES = {"organizations": "id"}  # the column that names the organization, where it is not org_id
NO_TENANT = {"migrations", "workers", "clock"}  # tables of nobody's data, of which weft_app may only read the first
MAKERS = {"open_space", "close_space", "redact_events", "drop_private_runs"}  # only the owner may: make and drop vector tables, events
DEFINERS = {  # each reviewed; a new one is added here with its tests
    "claim_runs",
    "renew_leases",
    "wake_lines",
    "beat",
    "leave",
    "list_workers",
    "forget_workers",
    "mind_clock",
    "next_runs",
    "memory_hits",
    "memory_words",
    *MAKERS,
    "all_organizations",
    "find_api_key",
    "find_organization",
    "find_voice_call",  # tests/server/test_voice.py
    "calls_to_end",
}


@pytest.fixture(scope="module")
def catalog(server: Server) -> Generator[psycopg.Connection]:
    with server.clone() as name, psycopg.connect(server.admin_url(name), autocommit=True) as connection:
        yield connection


def rows(catalog: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return catalog.execute(query.encode()).fetchall()


def statement(text: str) -> Query:
    return Query("test", text.encode())


def test_every_table_has_an_organization_and_forced_row_security(catalog: psycopg.Connection) -> None:
    found = rows(
        catalog,
        """SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
                  EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id' AND a.attnotnull)
           FROM pg_class c WHERE c.relnamespace = 'weft'::regnamespace AND c.relkind IN ('r', 'p')""",
    )
    secured = {name for name, secure, _ in found if secure}
    keyed = {name for name, _, has_org in found if has_org} | set(ORG_TABLES)
    assert {name for name, _, _ in found} - NO_TENANT == secured == keyed
    assert len(found) > 10


def test_every_policy_for_everybody_compares_with_the_organization_of_the_transaction(catalog: psycopg.Connection) -> None:
    policies = rows(
        catalog,
        "SELECT tablename, roles::text[], qual, with_check FROM pg_policies WHERE schemaname = 'weft'",
    )
    for table, roles, using, check in policies:
        if roles == ["weft_dispatch"]:
            continue
        column = ORG_TABLES.get(table, "org_id")
        assert using == check == f"({column} = ( SELECT weft.org() AS org))", table


def test_every_unique_key_but_the_random_ids_starts_with_the_organization(catalog: psycopg.Connection) -> None:
    """Otherwise a violated key tells that another organization has a row like it."""
    keys = rows(
        catalog,
        """SELECT i.indexrelid::regclass::text, a.attname FROM pg_index i
           JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
           WHERE i.indisunique AND c.relnamespace = 'weft'::regnamespace AND a.attname <> 'org_id'""",
    )
    assert {name for name, _ in keys} == {
        "weft.organizations_pkey",
        "weft.organizations_slug_key",
        "weft.api_keys_by_id",  # 48 random bits, looked up before the organization is known
        "weft.voice_calls_ticket",  # the digest of 256 random bits, likewise
        "weft.migrations_pkey",
        "weft.workers_pkey",
        "weft.clock_pkey",
    }


def test_every_foreign_key_between_tables_of_organizations_carries_the_organization(catalog: psycopg.Connection) -> None:
    """Foreign keys are checked without row security: without org_id in it a row could point into another organization."""
    keys = rows(
        catalog,
        """SELECT k.conname, (SELECT attname FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = k.conkey[1])
           FROM pg_constraint k WHERE k.contype = 'f' AND k.connamespace = 'weft'::regnamespace""",
    )
    assert keys
    assert {column for _, column in keys} == {"org_id"}


def test_the_login_owns_nothing_and_is_nobody_else(catalog: psycopg.Connection) -> None:
    assert rows(catalog, "SELECT * FROM pg_shdepend WHERE refobjid = 'weft_app'::regrole AND deptype = 'o'") == []
    assert rows(catalog, "SELECT roleid::regrole FROM pg_auth_members WHERE member = 'weft_app'::regrole") == []
    attributes = "rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
    query = f"SELECT {attributes} FROM pg_roles WHERE rolname LIKE 'weft\\_%'"
    assert set(rows(catalog, query)) == {(False,) * 5}
    logins = rows(catalog, "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'weft\\_%'")
    assert logins == [("weft_app",)]


def test_no_view_shows_what_its_owner_sees(catalog: psycopg.Connection) -> None:
    views = rows(
        catalog,
        """SELECT relname FROM pg_class WHERE relnamespace = 'weft'::regnamespace AND (relkind = 'm'
           OR relkind = 'v' AND NOT coalesce(reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on'])""",
    )
    assert views == []


def test_functions_with_their_owners_rights_are_known_and_closed(catalog: psycopg.Connection) -> None:
    functions = rows(
        catalog,
        """SELECT proname, proowner::regrole::text, proconfig, has_function_privilege('public', oid, 'EXECUTE')
           FROM pg_proc WHERE pronamespace = 'weft'::regnamespace AND prosecdef""",
    )
    assert {name for name, *_ in functions} == DEFINERS
    for name, owner, settings, public in functions:
        expected = "weft_owner" if name in MAKERS else "weft_dispatch"
        assert (owner, settings[0], public) == (expected, "search_path=pg_catalog, pg_temp", False), name


def test_nobody_may_do_anything_in_our_schema_by_being_public(catalog: psycopg.Connection) -> None:
    assert rows(catalog, "SELECT has_schema_privilege('public', 'weft', 'USAGE')") == [(False,)]
    functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'weft'::regnamespace"
    assert rows(catalog, f"{functions} AND has_function_privilege('public', oid, 'EXECUTE')") == []


def test_the_dispatcher_reads_no_payload(catalog: psycopg.Connection) -> None:
    readable = rows(
        catalog,
        """SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           WHERE c.relnamespace = 'weft'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
           AND has_column_privilege('weft_dispatch', a.attrelid, a.attnum, 'SELECT') AND a.atttypid = 'json'::regtype""",
    )
    assert readable == []
    tables = rows(
        catalog,
        """SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'weft'::regnamespace AND c.relkind IN ('r', 'p')
           AND has_any_column_privilege('weft_dispatch', c.oid, 'SELECT')""",
    )
    assert {name for (name,) in tables} == {
        *("runs", "api_keys", "users", "organizations", "workers"),
        *("clock", "waits", "node_runs", "received_events", "circuits"),  # their instants, for when the clock is set back
        "voice_calls",  # whether anybody waits for them, and what their ticket opens
        "memories",  # what they are found by, for weft.memory_hits, which minds the organization itself
    }


def test_what_happened_cannot_be_rewritten_by_the_login(catalog: psycopg.Connection) -> None:
    for table in ("definitions", "versions", "events"):
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            assert rows(catalog, f"SELECT has_table_privilege('weft_app', 'weft.{table}', '{right}')") == [(False,)]


async def test_another_organization_sees_and_counts_nothing(tenant: Tenant, other_tenant: Tenant, owner: str) -> None:
    workflow = await workflows.create(tenant, name="secret", description="", definition={"nodes": []}, user_id=owner)
    for table in ("users", "workflows", "definitions"):
        assert await tenant.one(statement(f"SELECT count(*) FROM weft.{table}"), int) == 1
        assert await other_tenant.one(statement(f"SELECT count(*) FROM weft.{table}"), int) == 0
    assert await workflows.find(other_tenant, "secret") is None
    assert await workflows.find(other_tenant, workflow.id) is None
    assert await other_tenant.one(statement("SELECT count(*) FROM weft.organizations"), int) == 1


async def test_writing_into_another_organization_is_refused(tenant: Tenant, other_tenant: Tenant, owner: str) -> None:
    insert = statement("INSERT INTO weft.users (org_id, name, role) VALUES (%(victim)s, 'Mallory', 'owner')")
    with pytest.raises(Denied):
        await other_tenant.execute(insert, victim=tenant.org_id)
    move = statement("UPDATE weft.users SET org_id = %(victim)s")
    await identities.create_user(other_tenant, name="Mallory", role="owner")
    with pytest.raises(Denied):
        await other_tenant.execute(move, victim=tenant.org_id)
    for change in ("UPDATE weft.users SET role = 'viewer'", "DELETE FROM weft.users WHERE name = 'Olga'"):
        await other_tenant.execute(statement(change))
    assert (await identities.get_user(tenant, owner)).role == "owner"


async def test_a_row_cannot_refer_to_another_organizations_row(tenant: Tenant, other_tenant: Tenant, owner: str) -> None:
    with pytest.raises(Conflict):
        await workflows.create(other_tenant, name="mine", description="", definition={}, user_id=owner)


async def test_without_an_organization_there_are_no_rows(database: Database, owner: str) -> None:
    for table in ("organizations", "users", "runs", "api_keys"):
        assert await database.system(statement(f"SELECT count(*) FROM weft.{table}"), int) == [0]
    with pytest.raises(WeftError):
        await database.system(statement("INSERT INTO weft.users (name, role) VALUES ('Mallory', 'owner')"), dict)
    nobody = database.tenant("")
    assert await nobody.one(statement("SELECT count(*) FROM weft.users"), int) == 0


@pytest.mark.parametrize(
    "attack",
    [
        "SET ROLE weft_owner",
        "SET ROLE weft_dispatch",
        "SET ROLE postgres",
        "ALTER TABLE weft.users DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON weft.users",
        "TRUNCATE weft.users CASCADE",
        "CREATE TABLE weft.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMP TABLE pg_temp.users AS SELECT pg_read_file('/etc/passwd')",
        "COPY weft.users TO PROGRAM 'true'",
        "SELECT lo_import('/etc/passwd')",
        "INSERT INTO weft.migrations (number, name, checksum) VALUES (99, 'x', 'x')",
        "SELECT * FROM weft.workers",
        "SELECT weft.line_up(now())",
        "SELECT rolpassword FROM pg_authid",
    ],
)
async def test_the_login_may_not(database: Database, attack: str) -> None:
    with pytest.raises(WeftError):
        await database.system(statement(attack), dict)


async def test_asking_for_row_security_to_be_off_fails_instead_of_showing_rows(server: Server, app_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(app_url, autocommit=True) as connection:
        await connection.execute("SET row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT * FROM weft.users")


async def test_no_connection_keeps_an_organization_after_a_call_an_error_or_a_cancellation(database: Database, tenant: Tenant) -> None:
    import anyio

    async def sleeper() -> None:
        with anyio.move_on_after(0.05):
            await tenant.all(statement("SELECT pg_sleep(5)::text AS x"), dict)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(sleeper)
        for _ in range(4):
            with pytest.raises(WeftError):
                await tenant.execute(statement("SELECT 1 / 0"))
    setting = statement("SELECT current_setting('weft.org', true) AS org")
    for _ in range(20):
        assert await database.system(setting, str) in ([""], [None])
