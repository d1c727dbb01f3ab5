"""What a run shows live reaches whoever watches it, in its process and in others, nobody else, and is kept nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import psycopg
import pytest

from graphs import live, watching
from graphs.expressions import Evaluator
from graphs.live import Shown, Watch
from graphs.runtime import Runtime
from store.ids import new_id
from store.postgres import Database, Tenant
from tests.chat.conftest import process
from tests.server.conftest import House, http
from tests.server.samples import ASK, LISTEN

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
SECONDS = 20.0


def text(*deltas: str) -> list[tuple[str, Any]]:
    return [("text", {"delta": delta}) for delta in deltas]


def show(runtime: Runtime, org_id: str, run_id: str, *things: tuple[str, Any], position: str = "say") -> None:
    for name, data in things:
        runtime.engine.live(org_id, run_id, position, name, data)


async def seen(watch: Watch, enough: str) -> str:
    """The text that is shown, up to this end."""
    found = ""
    async with asyncio.timeout(SECONDS):
        while not found.endswith(enough):
            found += (await watch.queue.get()).data["delta"]
    return found


@pytest.fixture
async def pair(database: Database, evaluator: Evaluator, app_url: str) -> AsyncGenerator[tuple[Runtime, Runtime]]:
    """Two processes that hear each other; the first drives runs."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(process(database, evaluator, listen=app_url))
        door = await stack.enter_async_context(process(database, evaluator, serving=False, listen=app_url))
        yield worker, door


async def called(runtime: Runtime, tenant: Tenant, run_id: str) -> None:
    """Returns once this process knows that another one watches the run."""
    async with asyncio.timeout(SECONDS):
        while not runtime.engine.bus.watched_elsewhere(tenant.org_id, run_id):
            await asyncio.sleep(0.01)


async def test_a_listener_in_the_same_process_hears_at_once_and_in_order(runtime: Runtime, tenant: Tenant) -> None:
    run_id = new_id()
    async with runtime.engine.bus.watch(tenant, run_id) as watch:
        show(runtime, tenant.org_id, run_id, *text("a", "b"), ("tool", {"name": "x"}))
        assert [watch.queue.get_nowait() for _ in range(3)] == [
            Shown(position="say", name="text", data={"delta": "a"}),
            Shown(position="say", name="text", data={"delta": "b"}),
            Shown(position="say", name="tool", data={"name": "x"}),
        ]


async def test_what_one_process_shows_another_one_hears_in_few_pieces(pair: tuple[Runtime, Runtime], tenant: Tenant) -> None:
    worker, door = pair
    run_id, words = new_id(), [f"{number} " for number in range(500)]
    async with door.engine.bus.watch(tenant, run_id) as watch:
        await called(worker, tenant, run_id)
        show(worker, tenant.org_id, run_id, *text(*words, "end"))
        assert await seen(watch, "end") == "".join(words) + "end"
        assert watch.queue.empty()
        show(worker, tenant.org_id, run_id, ("diff", {"long": "ß" * 20_000}))
        async with asyncio.timeout(SECONDS):
            assert await watch.queue.get() == Shown(position="say", name="diff", data={"long": "ß" * 20_000})


async def test_nothing_is_sent_while_nobody_watches_and_nothing_is_kept(
    pair: tuple[Runtime, Runtime], tenant: Tenant, admin_url: str, app_url: str
) -> None:
    worker, door = pair
    run_id = new_id()
    async with await psycopg.AsyncConnection.connect(app_url, autocommit=True) as ear:
        await ear.execute("LISTEN weft_live")
        show(worker, tenant.org_id, run_id, *text("unheard"))
        async with door.engine.bus.watch(tenant, run_id) as watch:
            await called(worker, tenant, run_id)
            show(worker, tenant.org_id, run_id, *text("heard"))
            assert await seen(watch, "heard") == "heard"
        sent = [note.payload async for note in ear.notifies(timeout=0.2)]
    assert [payload.split(" ")[1] for payload in sent] == ["watch", "live"]
    assert all(len(payload.encode()) < 8_000 and "unheard" not in payload for payload in sent)
    with psycopg.connect(admin_url) as admin:
        assert admin.execute("SELECT count(*) FROM weft.events").fetchone() == (0,)


async def test_another_organization_that_knows_the_run_sees_nothing(
    pair: tuple[Runtime, Runtime], tenant: Tenant, other_tenant: Tenant
) -> None:
    """Also where it asks for it by the same id, in the same process and in another one."""
    worker, door = pair
    run_id = new_id()
    async with AsyncExitStack() as stack:
        spies = [await stack.enter_async_context(one.engine.bus.watch(other_tenant, run_id)) for one in (worker, door)]
        mine = await stack.enter_async_context(door.engine.bus.watch(tenant, run_id))
        await called(worker, tenant, run_id)
        show(worker, tenant.org_id, run_id, *text("secret"))
        assert await seen(mine, "secret") == "secret"
        show(worker, other_tenant.org_id, run_id, *text("own"))
        assert [await seen(spy, "own") for spy in spies] == ["own", "own"]
        assert mine.queue.empty()


async def test_too_much_is_dropped_and_blocks_nobody(runtime: Runtime, tenant: Tenant) -> None:
    run_id = new_id()
    async with runtime.engine.bus.watch(tenant, run_id) as watch:
        show(runtime, tenant.org_id, run_id, *text(*["x"] * (live.QUEUED + 100)))
        assert watch.queue.qsize() == live.QUEUED


async def test_a_tail_of_pieces_whose_beginning_was_missed_is_left_out(pair: tuple[Runtime, Runtime], tenant: Tenant) -> None:
    _, door = pair
    run_id = new_id()
    async with door.engine.bus.watch(tenant, run_id) as watch:
        whole = json.dumps(["say", "text", {"delta": "whole"}])
        for said in ('1 1/2 half of it"]', "1 1/3 and", '1 2/3 more"]', f"2 0/1 {whole}"):
            door.engine.bus.heard(f"{tenant.org_id} live {run_id} stranger {said}")
        assert await seen(watch, "whole") == "whole"


def events_of(lines: list[str]) -> list[tuple[str, Any]]:
    """(event, data) of a stream's lines."""
    found: list[tuple[str, Any]] = []
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


async def test_the_stream_of_a_runs_events_carries_what_is_live_without_an_id(house: House, url: str) -> None:
    await house.publish(LISTEN)
    async with http(url, house.keys["operator"]) as client:
        started = (await client.post("/api/v1/runs", json={"workflow": "listen", "input": {"order": "7"}})).json()
        run_id, lines = started["run_id"], list[str]()
        headers = {"Accept": "text/event-stream"}
        async with asyncio.timeout(SECONDS), client.stream("GET", f"/api/v1/runs/{run_id}/events", headers=headers) as stream:
            async for line in stream.aiter_lines():
                if not lines:
                    show(house.runtime, house.tenant.org_id, run_id, *text("so far"))
                lines.append(line)
                if line.startswith("event: live"):
                    await client.post("/api/v1/events", json={"name": "paid", "correlation": "7", "payload": {"amount": 1}})
    told = events_of(lines)
    assert ("live", {"position": "say", "name": "text", "data": {"delta": "so far"}}) in told
    assert told[-1][0] == "end"
    at = lines.index("event: live")
    assert not any(line.startswith("id:") for line in lines[at - 1 : at + 2])
    listed = [name for name, _ in told if name not in ("live", "end")]
    assert len(listed) == len(set(lines) & {line for line in lines if line.startswith("id: ")})


async def test_a_process_that_hears_nothing_says_so_instead_of_showing_nothing(app_url: str, evaluator: Evaluator, house: House) -> None:
    """As behind PgBouncer without WEFT_LISTEN_DATABASE_URL."""
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    async with Database.open(app_url) as database, process(database, evaluator, serving=False) as deaf:
        database.pooled = True
        async with asyncio.timeout(SECONDS):
            async for item in watching.along(deaf, house.actor(), run.id):
                assert item == Shown(position="", name="deaf", data={"message": watching.DEAF})
                break


async def test_a_stranger_may_not_watch(house: House, stranger: House, url: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    async with http(url, stranger.keys["owner"]) as client:
        refused: httpx2.Response = await client.get(f"/api/v1/runs/{run.id}/events", headers={"Accept": "text/event-stream"})
    assert refused.status_code == 404


async def test_a_text_that_begins_anew_takes_the_place_of_what_was_told_before_it(pair: tuple[Runtime, Runtime], tenant: Tenant) -> None:
    worker, door = pair
    run_id = new_id()
    async with door.engine.bus.watch(tenant, run_id) as watch:
        await called(worker, tenant, run_id)
        show(worker, tenant.org_id, run_id, *text("wrong", " words"), ("text", {"text": "ri"}), *text("ght"), ("end", {}))
        before = ""
        while (shown := await asyncio.wait_for(watch.queue.get(), SECONDS)).name == "text":
            before = live.so_far(before, shown.data)
    assert before == "right"
