"""kill -9 of the worker at every commit boundary of a run with a parallel block, effects and an approval."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from graphs import runs, tasks
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.faults import workers
from tests.faults.ledger import Ledger, ledger

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]
MOST_COMMITS = 60


def effect(id: str, port: int, method: str) -> dict[str, Any]:
    return {"id": id, "type": "http", "config": {"method": method, "url": f"http://127.0.0.1:{port}/{id}", "json": {"n": 1}}}


def definition(port: int, method: str) -> dict[str, Any]:
    branch = {"nodes": [effect("left", port, method), put("left_done")], "edges": [{"from": "left", "to": "left_done"}]}
    fan = {"id": "fan", "type": "parallel", "config": {"branches": {"a": branch, "b": {"nodes": [effect("right", port, method)]}}}}
    return flow(
        put("begin"),
        effect("first", port, method),
        fan,
        {"id": "ok", "type": "approval", "config": {"title": "Go on?"}},
        effect("second", port, method),
        put("sum"),
        put("end"),
        edges=[
            ("begin", "first"),
            ("first", "fan"),
            ("fan", "ok"),
            ("ok", "second", {"when": "nodes.ok.approved"}),
            ("second", "sum"),
            ("sum", "end"),
        ],
    )


async def settled(house: House, run: Run, *, seconds: float = 40) -> Run:
    """The run once it is finished or waits for a person."""
    async with asyncio.timeout(seconds):
        return await runs.wait(house.runtime, house.actor, run.id, seconds=seconds)


async def finish(house: House, run: Run, retried: list[str]) -> Run:
    """Answers the approval when it comes, and where the run says that it does not know, takes the risk and says so."""
    while (run := await settled(house, run)).state != "succeeded":
        if run.state == "waiting":
            (task,) = (await tasks.page(house.runtime, house.actor, run_id=run.id)).items
            await tasks.answer(house.runtime, house.actor, task.id, {"approved": True})
        elif run.state == "failed" and run.error["code"] == "in_doubt":
            retried.append(f"{run.id}/{run.error['position']}")
            await runs.control(house.runtime, house.actor, run.id, "retry")
        else:
            raise AssertionError(f"the run is {run.state}: {run.error}")
        async with asyncio.timeout(20):
            while (await runs.get(house.runtime, house.actor, run.id)).state in ("waiting", "failed"):
                await asyncio.sleep(0.02)
    return run


async def one_life(house: House, url: str, run: Run, kill_at: int, when: workers.When, retried: list[str]) -> bool:
    """Drives the run with a worker that dies at the given commit, then with one that does not. Whether the kill was reached."""
    doomed = workers.start(url, kill_at=kill_at, when=when)
    finishing = asyncio.create_task(finish(house, run, retried))
    while doomed.exitcode is None and not finishing.done():
        await asyncio.sleep(0.01)
    reached = doomed.exitcode is not None
    heir = workers.start(url) if reached else doomed
    try:
        assert (await finishing).output == {"at": "end"}
    finally:
        heir.kill()
        heir.join()
    return reached


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_run_survives_a_kill_at_every_commit(house: House, app_url: str, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    repeats: Counter[str] = Counter()
    retried: list[str] = []
    kills = lost = boundary = 0
    async with ledger() as book, house.opened(serving=False) as house.runtime:
        for boundary in range(1, MOST_COMMITS):
            reached: list[bool] = []
            for when in ("before", "after"):
                run = await house.start(definition(book.port, method))
                reached.append(await one_life(house, app_url, run, boundary, when, retried))
                kills += reached[-1]
                lost += missing(book, run)
                repeats.update(extra(book, run))
            if not any(reached):
                break
    silent = [key for key in repeats if method == "POST" and key not in retried]
    with capsys.disabled():
        print(f"\n{method}: {kills} kills -9 at {boundary - 1} commit boundaries: ", end="")
        print(f"lost {lost}, repeated {sum(repeats.values())}, silent {len(silent)}")
    assert kills >= 20
    assert lost == 0
    assert all(count == 1 for count in repeats.values())  # at most the step in flight
    assert silent == []  # a write-once effect is repeated only after the run has said that it does not know


EFFECTS = ("first", "fan/left", "fan/right", "second")


def missing(book: Ledger, run: Run) -> int:
    return sum(book.effects[f"{run.id}/{position}"] == 0 for position in EFFECTS)


def extra(book: Ledger, run: Run) -> Counter[str]:
    return Counter({key: count - 1 for key in (f"{run.id}/{position}" for position in EFFECTS) if (count := book.effects[key]) > 1})
