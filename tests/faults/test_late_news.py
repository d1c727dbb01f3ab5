"""What came while nobody drove the run is seen all at once, and counts as if it had been seen one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from graphs import runs, signals, tasks
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import until
from tests.faults.ledger import ledger
from tests.faults.scenarios import TAGGED, call, node
from tests.faults.skew import Skew, skewed

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P1")]
LEASE = timedelta(seconds=2)


def definition() -> dict[str, Any]:
    told = {"name": "told", "event": "paid", "correlation": "{{ input.tag }}", "interrupting": False}
    asked = {**node("ok", "approval", title="Go on?"), "boundary": [told]}
    edges = [("ok", "after"), ("ok", "beside", {"branch": "told"})]
    return flow(asked, put("after"), put("beside"), edges=edges, input=TAGGED, output={"beside": "{{ nodes.beside.at }}"})


async def test_an_event_at_a_boundary_counts_although_the_answer_that_ends_the_step_is_seen_with_it(house: House) -> None:
    async with house.opened() as house.runtime:
        run = await house.start(definition(), {"tag": "t"})
        await until(house, run.id, "waiting")
    async with house.opened(serving=False) as house.runtime:
        received = await signals.send(house.runtime, house.actor, name="paid", correlation="t")
        assert received.woken == [run.id]
        (task,) = (await tasks.page(house.runtime, house.actor, run_id=run.id)).items
        await tasks.answer(house.runtime, house.actor, task.id, {"approved": True})
    async with house.opened() as house.runtime:
        done = await runs.wait(house.runtime, house.actor, run.id, seconds=20)
    assert (done.state, done.output) == ("succeeded", {"beside": "beside"})


@pytest.fixture
def skew(admin_url: str) -> Generator[Skew]:
    """Asked for before the house is, whose connections must know of it."""
    with skewed(admin_url) as moved:
        yield moved


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_timer_begun_after_the_clock_has_jumped_takes_its_seconds_and_no_hours(skew: Skew, house: House, hours: int) -> None:
    """The run was claimed by the clock of before; what wakes it goes by the clock of now."""
    async with ledger() as book, house.opened(clock=skew.now, lease=LEASE) as house.runtime:
        book.delay = 1.0
        slow = call("slow", book.port, "GET")
        rest = node("rest", "wait", seconds=0.8)  # long enough to be put down for
        run = await house.start(flow(slow, rest, edges=[("slow", "rest")], input=TAGGED), {"tag": "t"})
        async with asyncio.timeout(10):
            while not book.arrivals:
                await asyncio.sleep(0.01)
        skew(timedelta(hours=hours))
        began = time.monotonic()
        done = await runs.wait(house.runtime, house.actor, run.id, seconds=20)
    assert done.state == "succeeded"
    assert time.monotonic() - began > 1.6  # what the call had left, and the timer in full
