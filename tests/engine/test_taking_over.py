"""Leases, fences and handing back: who drives a run, and what happens when that changes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from graphs import runs
from store import runs as run_rows
from store import workflows
from store.queries import Query
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import APPROVAL, answer, until

pytestmark = pytest.mark.anyio
WAIT = {"id": "w", "type": "wait", "config": {"seconds": 0.6}}
BUSY = flow(
    put("a"),
    WAIT,
    put("end"),
    {"id": "each", "type": "foreach", "config": {"items": [1, 2], "body": {"nodes": [put("x")]}}},
    edges=[("a", "w"), ("w", "each"), ("each", "end")],
)
STEAL = Query(
    "steal", b"UPDATE weft.runs SET fence = fence + 1, worker = -7 WHERE org_id = %(org_id)s AND id = %(id)s AND state = 'running'"
)


@pytest.mark.promise("P1")
async def test_a_worker_that_stops_hands_its_runs_to_the_next_one(house: House) -> None:
    async with house.opened() as house.runtime:
        started = [await house.start(BUSY) for _ in range(10)]
    for run in started:
        assert (await run_rows.get(house.actor.tenant, run.id)).state in ("queued", "waiting", "succeeded")  # pyright: ignore[reportOptionalMemberAccess]
    async with house.opened() as house.runtime:
        for run in started:
            assert (await until(house, run.id, "succeeded")).output == {"at": "end"}


@pytest.mark.promise("P2")
async def test_a_driver_that_was_fenced_off_writes_nothing_more(house: House) -> None:
    async with house.opened(lease=timedelta(seconds=60)) as house.runtime:
        body = {"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 0.3}}, put("x")], "edges": [{"from": "w", "to": "x"}]}
        slow = flow(
            {"id": "each", "type": "foreach", "config": {"items": [1], "body": body}},
            {"id": "s", "type": "script", "config": {"code": "return sum(range(400000))"}},
        )
        run = await house.start(slow)
        async with asyncio.timeout(10):
            while not await house.actor.tenant.execute(STEAL, id=run.id):
                await asyncio.sleep(0)
        before = await runs.trace(house.runtime, house.actor, run.id)
        async with asyncio.timeout(10):
            while house.runtime.engine.driving:
                await asyncio.sleep(0.01)
        assert await runs.trace(house.runtime, house.actor, run.id) == before
        assert (await runs.get(house.runtime, house.actor, run.id)).state == "running"


@pytest.mark.promise("P5")
async def test_a_run_keeps_its_version_whatever_is_published_later(running: House) -> None:
    name = await running.publish(flow(APPROVAL, put("end", v="one"), edges=[("ok", "end")]))
    run = await runs.start(running.runtime, running.actor, workflow=name, input={"what": "x"})
    flow_row = await workflows.get(running.actor.tenant, name)
    newer = flow(APPROVAL, put("end", v="two"), edges=[("ok", "end")])
    saved = await workflows.save_draft(running.actor.tenant, flow_row.id, revision=1, name=name, description="", definition=newer)
    await workflows.publish(running.actor.tenant, saved.id, user_id=running.actor.user_id)
    run = await until(running, run.id, "waiting")
    await answer(running, run.id, {"approved": True})
    run = await until(running, run.id, "succeeded")
    assert (run.version, run.output) == (1, {"v": "one"})


async def test_many_runs_that_end_in_one_commit_all_end(running: House) -> None:
    started = await asyncio.gather(*(running.start(flow(put("a"), put("b"), edges=[("a", "b")])) for _ in range(64)))
    for run in started:
        assert (await until(running, run.id, "succeeded")).output == {"at": "b"}


async def test_a_due_run_is_claimed_by_one_of_several_engines(house: House) -> None:
    async with house.opened(serving=False) as house.runtime, house.opened(), house.opened(), house.opened():
        started = [await house.start(flow(put("a"))) for _ in range(30)]
        for run in started:
            await until(house, run.id, "succeeded")
            trace = await runs.trace(house.runtime, house.actor, run.id)
            assert [(step.position, step.attempt) for step in trace] == [("a", 1)]
