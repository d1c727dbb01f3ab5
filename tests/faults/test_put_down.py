"""Postgres does not answer a driver that looks or waits for something: the run is put down as it is, and nothing of it is spoilt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from graphs import runs, signals, tasks
from store import waits
from store.errors import Conflict, Unavailable
from tests.engine.conftest import House, flow, put
from tests.faults.ledger import ledger
from tests.faults.scenarios import TAGGED, body, call, event, node

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P1")]
SECONDS = 20.0


def definition(port: int) -> dict[str, Any]:
    branches = {
        "time": body(node("rest", "wait", seconds=0.2)),
        "money": body(call("pay", port)),
        "people": body(node("ok", "approval", title="Go on?")),
        "news": body(event("paid", "paid")),
    }
    return flow(node("all", "parallel", branches=branches), put("end"), edges=[("all", "end")], input=TAGGED)


async def attend(house: House, wait: dict[str, Any]) -> None:
    runtime, actor = house.runtime, house.actor
    if "task_id" in wait:
        with suppress(Conflict):
            await tasks.answer(runtime, actor, wait["task_id"], {"approved": True})
    elif wait["kind"] == "event":
        await signals.send(runtime, actor, name="paid", correlation="t", idempotency_key="paid")


@pytest.mark.parametrize("query", ["expire", "attention", "missed"])
async def test_a_look_that_fails_spoils_nothing_that_is_under_way(house: House, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing, original = 2, getattr(waits, query)

    async def gone(*args: Any, **named: Any) -> Any:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise Unavailable("Postgres does not answer")
        return await original(*args, **named)

    monkeypatch.setattr(waits, query, gone)
    async with ledger() as book, house.opened() as house.runtime:
        book.delay = 0.6
        run = await house.start(definition(book.port), {"tag": "t"})
        async with asyncio.timeout(SECONDS):
            while run.state not in runs.FINISHED:
                for wait in run.waiting_for:
                    await attend(house, wait)
                await asyncio.sleep(0.05)
                run = await runs.get(house.runtime, house.actor, run.id)
        assert (run.state, run.error) == ("succeeded", None)
        assert failing < 0
        assert book.effects == {f"{run.id}/all/pay": 1}
