"""A step that kills its worker every time: it is given up after a bound, the other runs go on, and a person can send it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from graphs import runs, steering
from graphs.engine.dispatch import MAX_RECOVERIES
from store.runs import Run
from tests.engine.conftest import House, put
from tests.faults import workers
from tests.faults.ledger import Ledger, ledger
from tests.faults.load import told
from tests.faults.scenarios import call, chain, node

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600), pytest.mark.promise("P8")]
SECONDS = 60.0
INNOCENT = 8
SLOW = 1.0  # seconds that a call of theirs takes: longer than the workers live


def poison(port: int) -> dict[str, Any]:
    return {**chain(node("bad", "script", code=workers.POISON), put("end", tag="{{ input.tag }}")), "name": "poison"}


def innocent(port: int) -> dict[str, Any]:
    return {**chain(put("begin"), call("look", port, "GET"), call("keep", port, "PUT"), put("end")), "name": "innocent"}


class Supervisor:
    """Starts a worker whenever the one before has died, as an init does; counts the deaths."""

    def __init__(self, url: str) -> None:
        self.url, self.deaths = url, 0

    async def _keep(self) -> None:
        while True:
            worker = workers.start(workers.Orders(url=self.url, poisoned=True, locked=True, lease=15.0))
            try:
                await workers.ended(worker, seconds=SECONDS)
                self.deaths += 1
            finally:
                workers.end(worker)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def started(house: House, name: str, tag: str) -> Run:
    return await runs.start(house.runtime, house.actor, workflow=name, input={"tag": tag})


async def over(house: House, run: Run) -> Run:
    async with asyncio.timeout(SECONDS):
        while run.state not in runs.FINISHED:
            await asyncio.sleep(0.05)
            run = await runs.get(house.runtime, house.actor, run.id)
    return run


async def published(house: House, book: Ledger) -> None:
    for make in (poison, innocent):
        await house.publish(make(book.port))


async def test_a_poisoned_run_is_given_up_after_a_bound_and_can_be_sent_back(
    house: House, app_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ledger() as book, house.opened(serving=False) as house.runtime:
        await published(house, book)
        supervisor = Supervisor(app_url)
        async with supervisor.working():
            run = await over(house, await started(house, "poison", "p"))
            assert (run.state, run.error["code"]) == ("failed", "poison")
            assert run.dead_at is not None
        told(capsys, f"a poisoned run killed {supervisor.deaths} workers and was given up")
        assert supervisor.deaths == MAX_RECOVERIES + 1  # the first attempt, and as many more as a run gets
        await steering.control(house.runtime, house.actor, run.id, "requeue")
        async with house.runtime.engine.serving():
            back = await over(house, await runs.get(house.runtime, house.actor, run.id))
        assert (back.state, back.output, back.dead_at) == ("succeeded", {"tag": "p"}, None)


async def test_runs_beside_a_poisoned_one_are_not_given_up_with_it(house: House, app_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They lose their worker as often as it does, and their calls take longer than a worker lives."""
    async with ledger() as book, house.opened(serving=False) as house.runtime:
        book.delay = SLOW
        await published(house, book)
        supervisor = Supervisor(app_url)
        others = [await started(house, "innocent", f"i{number}") for number in range(INNOCENT)]
        bad = await started(house, "poison", "p")
        async with supervisor.working():
            done = [await over(house, run) for run in [bad, *others]]
        told(
            capsys,
            f"beside {INNOCENT} others: {supervisor.deaths} workers killed, {sum(run.state == 'succeeded' for run in done)} succeeded",
        )
        assert (done[0].error["code"], supervisor.deaths) == ("poison", MAX_RECOVERIES + 1)
        assert [(run.state, run.error) for run in done[1:]] == [("succeeded", None)] * INNOCENT
