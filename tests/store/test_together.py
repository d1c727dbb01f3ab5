"""Hot statements that callers share a round trip for: each hears its own answer and its own error, and sees its own organization."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from store.errors import Invalid, Unavailable
from store.jsontext import Json
from store.postgres import Database, Tenant
from store.queries import Query

pytestmark = pytest.mark.anyio

INSERT = Query(
    "insert", b"INSERT INTO weft.users (org_id, name, role) VALUES (%(org_id)s::uuid, %(name)s::text, %(role)s::text) RETURNING name, role"
)
COUNT = Query("count", b"SELECT count(*)::int AS number, coalesce(max(name), '') AS name FROM weft.users")  # row security alone says whose
PID = Query("pid", b"SELECT pg_backend_pid() AS number, ''::text AS name")
SLEEP = Query("sleep", b"SELECT 1 AS number, pg_sleep(%(seconds)s::float8)::text AS name")
KINDS = Query(
    "kinds",
    b"""SELECT %(text)s::text AS text, %(whole)s::bigint AS whole, %(part)s::float8 AS part, %(yes)s::boolean AS yes,
    %(no)s::boolean AS no, %(at)s::timestamptz AS at, %(value)s::json AS value, %(bytes)s::bytea AS bytes, %(id)s::uuid AS id,
    clock_timestamp() + %(span)s::interval - clock_timestamp() > interval '1 day' AS long, %(nothing)s::text AS nothing""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    name: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    number: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    text: str
    whole: int
    part: float
    yes: bool
    no: bool
    at: datetime
    value: Any
    bytes: bytes
    id: str
    long: bool
    nothing: str | None


async def test_what_comes_back_is_what_a_call_of_its_own_would_give(tenant: Tenant) -> None:
    given = {
        "text": "naïve 日本 {}\\",
        "whole": 2**60,
        "part": 0.1,
        "yes": True,
        "no": False,
        "at": datetime.fromisoformat("2026-11-21T07:38:00.120000+05:30"),
        "value": Json({"b": [1, None, "half \ud800 pair", "nul \0"], "a": 0.5}),
        "bytes": b"\x00\\\xff",
        "id": "01a1fd4b-2942-7f76-a222-94e66ae523ed",
        "span": timedelta(days=1, seconds=2.5),
        "nothing": None,
    }
    shared = await tenant.quick(KINDS, Kinds, **given)
    assert shared == await tenant.one(KINDS, Kinds, **given)
    assert shared is not None
    assert shared.value == {"b": [1, None, "half \ud800 pair", "nul \0"], "a": 0.5}
    assert shared.long


async def test_callers_of_several_organizations_see_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    names = [f"n{number}" for number in range(100)]
    made = await asyncio.gather(
        *((tenant, other_tenant)[number % 2].quick(INSERT, User, name=name, role="viewer") for number, name in enumerate(names))
    )
    assert [user and user.name for user in made] == names
    counts = await asyncio.gather(*(scope.quick(COUNT, Counted) for scope in (tenant, other_tenant) * 10))
    assert counts == [Counted(number=50, name="n98"), Counted(number=50, name="n99")] * 10


async def test_a_refused_statement_fails_its_caller_and_nobody_else(tenant: Tenant, other_tenant: Tenant) -> None:
    work = [tenant.quick(INSERT, User, name=name, role="viewer") for name in "abcd"]
    work.insert(2, other_tenant.quick(INSERT, User, name="x", role="emperor"))
    work.append(tenant.quick(INSERT, User, name="half \ud800 pair", role="viewer"))
    *answers, unsayable = await asyncio.gather(*work, return_exceptions=True)
    assert isinstance(answers.pop(2), Invalid)
    assert isinstance(unsayable, Invalid)
    assert [user.name for user in answers if isinstance(user, User)] == list("abcd")
    assert await tenant.quick(COUNT, Counted) == Counted(number=4, name="d")
    assert await other_tenant.quick(COUNT, Counted) == Counted(number=0, name="")


async def test_who_gives_up_holds_up_nobody(tenant: Tenant) -> None:
    slow = asyncio.create_task(tenant.quick(SLEEP, Counted, seconds=0.3))
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(tenant.quick(INSERT, User, name=name, role="viewer")) for name in "ab"]
    await asyncio.sleep(0.05)
    slow.cancel()
    waiting[0].cancel()  # before its statement is sent: it never is
    assert await waiting[1] == User(name="b", role="viewer")
    assert await tenant.quick(COUNT, Counted) == Counted(number=1, name="b")


async def test_a_connection_that_breaks_is_unavailable_and_then_made_anew(tenant: Tenant, admin_url: str) -> None:
    found = await tenant.quick(PID, Counted)
    assert found is not None
    asked = asyncio.create_task(tenant.quick(SLEEP, Counted, seconds=30))
    await asyncio.sleep(0.1)
    behind = asyncio.create_task(tenant.quick(COUNT, Counted))
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (found.number,))
    with pytest.raises(Unavailable):
        await asked
    assert await behind == Counted(number=0, name="")


async def test_closing_ends_what_is_under_way(database: Database, tenant: Tenant) -> None:
    asked = asyncio.create_task(tenant.quick(SLEEP, Counted, seconds=30))
    await asyncio.sleep(0.1)
    await database.together.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
