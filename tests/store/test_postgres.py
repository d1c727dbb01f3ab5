"""The tenant scope: what a call, a transaction and a batch promise, and what a user reads when Postgres says no or nothing."""

# ruff: noqa: PT012  # what raises here is a whole transaction

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio
import psycopg
import pytest

from store.errors import Conflict, Denied, Invalid, Misconfigured, Unavailable, WeftError
from store.postgres import Database, Session, Tenant
from store.queries import Query

pytestmark = pytest.mark.anyio

Sent = tuple[str, Query, dict[str, Any]]
INSERT = Query("insert", b"INSERT INTO weft.users (org_id, name, role) VALUES (%(org_id)s, %(name)s, %(role)s)")
NAMES = Query("names", b"SELECT name FROM weft.users WHERE org_id = %(org_id)s ORDER BY name")
ORGANIZATION = Query("organization", b"SELECT weft.org() AS id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    number: int
    text: str
    nothing: str | None
    at: datetime


def statement(text: str) -> Query:
    return Query("test", text.encode())


async def test_a_row_comes_back_as_the_class_that_was_asked_for(tenant: Tenant) -> None:
    query = statement("SELECT 1 AS number, 'a' AS text, NULL AS nothing, now() AS at")
    row = await tenant.one(query, Row)
    assert row is not None
    assert (row.number, row.text, row.nothing) == (1, "a", None)
    assert row.at.tzinfo is not None
    assert await tenant.one(statement("SELECT 1 AS a, 2 AS b"), dict) == {"a": 1, "b": 2}
    assert await tenant.one(statement("SELECT 7"), int) == 7
    assert await tenant.one(statement("SELECT 7 WHERE false"), int) is None


async def test_an_id_is_text_on_both_ways(tenant: Tenant) -> None:
    assert await tenant.one(ORGANIZATION, str) == tenant.org_id
    assert await tenant.one(statement("SELECT id FROM weft.organizations WHERE id = %(org_id)s"), str) == tenant.org_id
    ids = statement("SELECT id FROM weft.organizations WHERE id = ANY(%(ids)s::uuid[])")
    assert await tenant.all(ids, str, ids=[tenant.org_id]) == [tenant.org_id]


async def test_execute_counts_the_rows_it_changed(tenant: Tenant) -> None:
    assert await tenant.execute(INSERT, name="Ann", role="viewer") == 1
    assert await tenant.execute(statement("UPDATE weft.users SET role = 'owner' WHERE name = 'Nobody'")) == 0


async def test_a_transaction_happens_as_a_whole(tenant: Tenant) -> None:
    async with tenant.transaction() as transaction:
        assert await transaction.execute(INSERT, name="Ann", role="viewer") == 1
        assert await transaction.all(NAMES, str) == ["Ann"]
        assert await tenant.all(NAMES, str) == []
        await transaction.queue(INSERT, name="Bob", role="viewer")
    assert await tenant.all(NAMES, str) == ["Ann", "Bob"]


async def test_statements_of_megabytes_are_sent_to_their_end(tenant: Tenant) -> None:
    """psycopg alone waits for the answer to a statement of which the socket has not taken all, for ever."""
    query = Query("long", b"SELECT length(%(text)s::text) AS size")
    text = "x" * 8_000_000
    with anyio.fail_after(30):
        assert await tenant.one(query, int, text=text) == len(text)
        async with tenant.transaction() as transaction:
            assert await transaction.one(query, int, text=text) == len(text)
            await transaction.queue(query, text=text)
        async with tenant.transaction() as transaction:
            await transaction.queue(query, text=text)
            assert await transaction.one(query, int, text="short") == 5


async def test_an_error_of_ours_in_the_middle_undoes_a_transaction(tenant: Tenant) -> None:
    with pytest.raises(RuntimeError, match="ours"):
        async with tenant.transaction() as transaction:
            await transaction.queue(INSERT, name="Ann", role="viewer")
            raise RuntimeError("ours")
    assert await tenant.all(NAMES, str) == []


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_violated_constraint_undoes_a_transaction_even_if_its_error_is_swallowed(tenant: Tenant, waiting: bool) -> None:
    with pytest.raises(Conflict) as caught:
        async with tenant.transaction() as transaction:
            await transaction.execute(INSERT, name="Ann", role="viewer")
            try:
                send = transaction.execute if waiting else transaction.queue
                await send(INSERT, name="Ann", role="viewer")
            except Conflict:
                pass
    assert caught.value.details["constraint"] == "users_name_unique"
    assert await tenant.all(NAMES, str) == []


async def test_a_queued_fault_shows_at_the_next_wait(tenant: Tenant) -> None:
    with pytest.raises(Invalid):
        async with tenant.transaction() as transaction:
            await transaction.queue(INSERT, name="Ann", role="emperor")
            await transaction.all(NAMES, str)


async def test_a_cancelled_transaction_is_undone(tenant: Tenant) -> None:
    with anyio.move_on_after(0.2):
        async with tenant.transaction() as transaction:
            await transaction.execute(INSERT, name="Ann", role="viewer")
            await transaction.all(statement("SELECT pg_sleep(30)::text AS x"), dict)
    assert await tenant.all(NAMES, str) == []


async def test_a_batch_writes_for_several_organizations_at_once_and_each_sees_its_own(
    database: Database, tenant: Tenant, other_tenant: Tenant
) -> None:
    fresh = zip((tenant, other_tenant, tenant), ("Ann", "Bob", "Cid"), strict=True)
    inserts: list[Sent] = [(scope.org_id, INSERT, {"name": name, "role": "viewer"}) for scope, name in fresh]
    answers = await database.batch([*inserts, *((scope.org_id, NAMES, {}) for scope in (tenant, other_tenant))])
    assert answers == [[], [], [], ["Ann", "Cid"], ["Bob"]]


async def test_one_refused_statement_undoes_the_whole_batch(database: Database, tenant: Tenant, other_tenant: Tenant) -> None:
    with pytest.raises(Invalid):
        await database.batch(
            [
                (tenant.org_id, INSERT, {"name": "Ann", "role": "viewer"}),
                (other_tenant.org_id, INSERT, {"name": "Bob", "role": "emperor"}),
            ]
        )
    assert await tenant.all(NAMES, str) == await other_tenant.all(NAMES, str) == []


async def test_a_value_that_cannot_be_sent_undoes_what_was_already_sent(database: Database, tenant: Tenant) -> None:
    with pytest.raises(Invalid):
        await database.batch(
            [
                (tenant.org_id, INSERT, {"name": "Ann", "role": "viewer"}),
                (tenant.org_id, statement("SELECT %(v)s::text"), {"v": "half a pair: \ud800"}),
            ]
        )
    assert await tenant.all(NAMES, str) == []


async def test_many_callers_share_few_connections_without_mixing_organizations(
    database: Database, tenant: Tenant, other_tenant: Tenant
) -> None:
    async def ask(session: Session) -> None:
        for _ in range(10):
            assert await session.one(ORGANIZATION, str) == session.org_id

    async with anyio.create_task_group() as group:
        for scope in (tenant, other_tenant) * 20:
            group.start_soon(ask, scope)


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("SELECT * FROM weft.nothing", Misconfigured, "run `weft migrate`"),
        ("SELECT nothing FROM weft.users", Misconfigured, "run `weft migrate`"),
        ("SELECT * FROM elsewhere.users", Misconfigured, "run `weft migrate`"),
        ("SELECT 'x'::uuid", Invalid, "invalid input syntax"),
        ("SELECT * FROM pg_authid", Denied, "refuses this"),
        ("DO $$ BEGIN RAISE query_canceled USING MESSAGE = 'timeout'; END $$", Unavailable, "too long"),
        ("DO $$ BEGIN RAISE deadlock_detected USING MESSAGE = 'deadlock'; END $$", Unavailable, "in the way"),
        ("DO $$ BEGIN RAISE disk_full USING MESSAGE = 'no space'; END $$", Unavailable, "cannot write"),
        ("DO $$ BEGIN RAISE too_many_connections USING MESSAGE = 'too many'; END $$", Unavailable, "does not answer"),
    ],
)
async def test_what_postgres_refuses_is_a_sentence(tenant: Tenant, query: str, error: type[WeftError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        await tenant.execute(statement(query))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["half \ud800 pair", "nul \0"])
async def test_text_that_postgres_cannot_store_is_invalid(tenant: Tenant, text: str) -> None:
    with pytest.raises(Invalid, match="cannot store"):
        await tenant.execute(INSERT, name=text, role="viewer")


async def test_a_query_is_cut_off_by_the_server_because_the_login_says_so(tenant: Tenant) -> None:
    assert await tenant.one(statement("SELECT current_setting('statement_timeout')"), str) == "30s"
    assert await tenant.one(statement("SELECT current_setting('idle_in_transaction_session_timeout')"), str) == "1min"


async def test_calls_work_after_the_server_has_closed_every_connection(database: Database, tenant: Tenant, admin_url: str) -> None:
    await tenant.all(NAMES, str)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'weft_app' AND datname = current_database()"
        )
    for _ in range(3):
        assert await tenant.all(NAMES, str) == []


async def test_a_connection_lost_in_mid_statement_is_unavailable(tenant: Tenant) -> None:
    with pytest.raises(Unavailable):
        await tenant.all(statement("SELECT pg_terminate_backend(pg_backend_pid())"), dict)
    assert await tenant.all(NAMES, str) == []


async def test_a_full_pool_is_unavailable_after_a_bounded_wait(app_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.postgres.POOL_SECONDS", 0.2)
    async with Database.open(app_url, max_connections=1) as database, database.connection():
        with pytest.raises(Unavailable, match="all connections to it are busy"):
            await database.system(statement("SELECT 1 AS x"), int)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("host=", "host=/nowhere"), Unavailable, "does not answer"),
        (("weft_app:", "nobody:"), Misconfigured, "refuses the login"),
        (("weft_app:", "weft_app:x"), Misconfigured, "refuses the login"),
        (("/test_", "/no_test_"), Misconfigured, "does not exist"),
    ],
)
async def test_opening_a_database_that_is_not_there_says_where_and_why_but_not_the_password(
    app_url: str, change: tuple[str, str], error: type[WeftError], words: str
) -> None:
    password = app_url.split(":")[2].split("@")[0]
    url = app_url.replace(*change)
    started = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        async with Database.open(url):
            pass
    assert password not in str(caught.value)
    assert time.monotonic() - started < 10


async def test_nothing_needs_prepared_statements(app_url: str, tenant: Tenant) -> None:
    """Poolers in transaction mode before PgBouncer 1.21 do not know them."""
    async with Database.open(app_url, prepare=False) as database:
        for _ in range(10):
            assert await database.tenant(tenant.org_id).all(NAMES, str) == []
            prepared = statement("SELECT count(*) FROM pg_prepared_statements")
            assert await database.system(prepared, int) == [0]


async def test_no_session_state_is_needed_between_calls(app_url: str, tenant: Tenant) -> None:
    """As behind a pooler in transaction mode: whatever a session could keep is thrown away after every call."""
    async with Database.open(app_url, prepare=False, max_connections=1) as database:
        for number in range(5):
            await database.tenant(tenant.org_id).execute(INSERT, name=f"u{number}", role="viewer")
            async with database.connection() as connection:
                await connection.execute("DISCARD ALL")
    assert len(await tenant.all(NAMES, str)) == 5
