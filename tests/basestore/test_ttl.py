"""Times to live: what is over is not there, is cleared away, and does not come back; what is read lives on.

What LangGraph asks of its PostgresStore (langchain-ai/langgraph, libs/checkpoint-postgres/tests/test_store.py and test_async_store.py; MIT
License, Copyright (c) 2024 LangChain, Inc.) is here without waiting: a test moves the end of a value into the past, as theirs do. Not here:
`test_omit_expired_disabled_preserves_expired_rows`, for Weft never shows what is over, as if `omit_expired` were always set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from langgraph.store.base import PutOp

from graphs.basestore import TTLConfig, WeftStore
from store.errors import Invalid
from tests.basestore.conftest import weft

pytestmark = pytest.mark.anyio
Look = Callable[..., Awaitable[Any]]
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def behind(admin_url: str) -> Look:
    """Asks the database something, past the store: the first column of the first row."""

    async def ask(statement: str, **values: Any) -> Any:
        async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
            cursor = await connection.execute(statement.encode(), values)
            row = await cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    return ask


async def over(behind: Look, key: str) -> None:
    """Moves the end of a value's time into the past."""
    await behind(
        """UPDATE weft.memories m SET expires_at = now() - interval '1 minute' FROM weft.memory_entries e
           WHERE (m.id = e.memory_id OR m.series = e.memory_id::text) AND e.key = %(key)s""",
        key=key,
    )


async def left(behind: Look, key: str) -> timedelta | None:
    return await behind(
        """SELECT m.expires_at - now() FROM weft.memories m JOIN weft.memory_entries e ON m.id = e.memory_id WHERE e.key = %(key)s""",
        key=key,
    )


async def test_what_is_over_is_nowhere_before_it_is_cleared_away(weft_store: WeftStore, behind: Look) -> None:
    await weft_store.aput(("omit", "expired"), "e", {"data": "gone"}, ttl=1)
    await weft_store.aput(("omit", "control"), "c", {"data": "keep"}, ttl=None)
    await over(behind, "e")
    assert await behind("SELECT count(*) FROM weft.memory_entries") == 2
    assert await weft_store.aget(("omit", "expired"), "e") is None
    assert await weft_store.aget(("omit", "control"), "c") is not None
    assert await weft_store.asearch(("omit", "expired")) == []
    assert [item.key for item in await weft_store.asearch(("omit",))] == ["c"]
    assert [item.key for item in await weft_store.asearch(("omit",), query="gone")] == ["c"]
    assert await weft_store.alist_namespaces(prefix=("omit",)) == [("omit", "control")]


async def test_reading_lengthens_the_life_of_what_lives_and_wakes_nothing(weft_store: WeftStore, behind: Look) -> None:
    ns = ("refresh",)
    for key in ("expired", "by get", "by search", "unread"):
        await weft_store.aput(ns, key, {"text": key}, ttl=1)
    await over(behind, "expired")
    await behind("UPDATE weft.memories SET expires_at = now() + interval '10 seconds' WHERE expires_at > now()")
    assert await weft_store.aget(ns, "expired", refresh_ttl=True) is None
    assert await weft_store.aget(ns, "by get", refresh_ttl=True) is not None
    assert await weft_store.aget(ns, "unread", refresh_ttl=False) is not None
    (found,) = await weft_store.asearch(ns, query="by search", limit=1, refresh_ttl=True)
    assert found.key == "by search"
    await weft_store.asearch(ns, refresh_ttl=False)
    lives = {key: await left(behind, key) for key in ("expired", "by get", "by search", "unread")}
    assert all(life is not None for life in lives.values())
    ends: dict[str, Any] = lives
    assert ends["expired"] < timedelta(0)
    assert ends["unread"] <= timedelta(seconds=10) < ends["by get"] <= MINUTE
    assert timedelta(seconds=10) < ends["by search"] <= MINUTE


async def test_pages_are_full_although_something_in_between_is_over(weft_store: WeftStore, behind: Look) -> None:
    ns = ("page",)
    for key in ("c", "b", "expired", "a"):
        await weft_store.aput(ns, key, {"k": key}, ttl=1)
    await over(behind, "expired")
    assert [item.key for item in await weft_store.asearch(ns, limit=2)] == ["a", "b"]
    assert [item.key for item in await weft_store.asearch(ns, limit=2, offset=2)] == ["c"]


async def test_the_configuration_of_the_store_counts_unless_a_call_says_otherwise(app_url: str, behind: Look) -> None:
    ttl: TTLConfig = {"default_ttl": 30, "refresh_on_read": False}
    async with weft(app_url, ttl=ttl) as store:
        await store.aput(("n",), "default", {"text": "word " * 1_000})
        await store.aput(("n",), "own", {"v": 1}, ttl=0.5)
        await store.aput(("n",), "for ever", {"v": 1}, ttl=None)
        ends: dict[str, Any] = {key: await left(behind, key) for key in ("default", "own", "for ever")}
        assert 29 * MINUTE < ends["default"] <= 30 * MINUTE
        assert timedelta(0) < ends["own"] <= timedelta(seconds=30)
        assert ends["for ever"] is None
        assert await behind("SELECT count(DISTINCT expires_at) FROM weft.memories WHERE length > 10") == 1  # pieces and the whole
        await behind("UPDATE weft.memories SET expires_at = now() + interval '10 seconds' WHERE expires_at IS NOT NULL")
        await store.aget(("n",), "default")
        assert (await left(behind, "default") or MINUTE) <= timedelta(seconds=10)
        await store.aget(("n",), "default", refresh_ttl=True)
        assert (await left(behind, "default") or MINUTE) > 29 * MINUTE
        await store.aput(("n",), "default", {"v": 2}, ttl=None)
        assert await left(behind, "default") is None


async def test_clearing_away_removes_values_with_their_pieces(app_url: str, behind: Look) -> None:
    async with weft(app_url, ttl={"sweep_interval_minutes": 60}) as store:
        for number in range(450):
            await store.aput(("n",), f"k{number}", {"text": "short"}, ttl=1)
        await store.aput(("n",), "long", {"text": "A sentence in the middle of it. " * 300}, ttl=1)
        await store.aput(("n",), "kept", {"text": "kept"}, ttl=1)
        await behind("UPDATE weft.memories SET expires_at = now() - interval '1 minute' WHERE body NOT LIKE 'kept%%'")
        assert await store.sweep_ttl() == 451
        assert await store.sweep_ttl() == 0
    assert await behind("SELECT count(*) FROM weft.memories") == 1
    assert await behind("SELECT count(*) FROM weft.memory_entries") == 1


async def test_writing_clears_away_what_is_over_every_so_often(app_url: str, behind: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    async with weft(app_url, ttl={"sweep_interval_minutes": 1}) as store:
        await store.aput(("n",), "old", {"v": 1}, ttl=1)
        await over(behind, "old")
        await store.aput(("n",), "new", {"v": 1}, ttl=1)
        assert await behind("SELECT count(*) FROM weft.memory_entries") == 2
        monkeypatch.setattr(store, "_swept_at", 0.0)
        await store.aput(("n",), "newer", {"v": 1}, ttl=1)
        assert await behind("SELECT array_agg(key ORDER BY key) FROM weft.memory_entries") == ["new", "newer"]


async def test_what_is_put_again_after_its_end_is_new(weft_store: WeftStore, behind: Look) -> None:
    await weft_store.aput(("n",), "key", {"v": 1}, ttl=1)
    first = await weft_store.aget(("n",), "key")
    await over(behind, "key")
    await weft_store.aput(("n",), "key", {"v": 2})
    second = await weft_store.aget(("n",), "key")
    assert first is not None
    assert second is not None
    assert second.created_at > first.updated_at
    assert second.value == {"v": 2}


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan"), 1e9])
async def test_a_time_to_live_that_is_none_is_refused(weft_store: WeftStore, ttl: float) -> None:
    with pytest.raises(Invalid, match="a number of minutes above 0 up to 100 years"):
        await weft_store.aput(("n",), "key", {"v": 1}, ttl=ttl)
    assert await weft_store.aget(("n",), "key") is None


async def test_a_page_is_full_although_hundreds_before_it_are_over(weft_store: WeftStore, behind: Look) -> None:
    await weft_store.abatch([PutOp(("n",), f"kept{number}", {"v": number}) for number in range(3)])
    await weft_store.abatch([PutOp(("n",), f"over{number}", {"v": number}, ttl=1) for number in range(250)])
    await behind("UPDATE weft.memories SET expires_at = now() - interval '1 minute' WHERE expires_at IS NOT NULL")
    assert {item.key for item in await weft_store.asearch(("n",), limit=3)} == {"kept0", "kept1", "kept2"}
    assert len(await weft_store.asearch(("n",), limit=2, offset=1)) == 2
    assert await weft_store.asearch(("n",), offset=3) == []
