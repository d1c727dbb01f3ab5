"""Thirty-two runs of everything at once, a person who answers them whatever happens to the database, and what must be true at the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import pytest

from graphs import runs, signals, tasks
from store.errors import Conflict, Unavailable
from store.runs import Run
from tests.engine.conftest import House, put
from tests.faults.ledger import Ledger
from tests.faults.scenarios import TAGGED, body, call, event, node

T = TypeVar("T")
RUNS = 32
ITEMS = 8
REST = 1.0  # seconds that each run is put down for
SECONDS = 90.0  # for all of them
OUTPUT = {"sum": 5, "items": ITEMS, "passes": 2}
GAPS = """SELECT coalesce(max(extract(epoch FROM gap)), 0)::float, count(*)
FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM weft.events WHERE type = 'step.succeeded') g"""
LEFT = """SELECT r.id, r.state, r.request, r.wake_at - clock_timestamp() AS wakes, r.lease_until - clock_timestamp() AS lease, r.signal,
  (SELECT json_agg(json_build_object('at', w.position, 'kind', w.kind, 'due', w.due_at - clock_timestamp(), 'since', w.created_at))
   FROM weft.waits w WHERE w.run_id = r.id AND w.state = 'open') AS waits
FROM weft.runs r WHERE r.finished_at IS NULL"""


def definition(port: int) -> dict[str, Any]:
    pay = call("pay", port, name="pay-{{ index }}", retry={"max_attempts": 5, "initial": "100ms"})
    keep = call("keep", port, "PUT", name="keep-{{ index }}", retry={"max_attempts": 5, "initial": "100ms"})
    inner = body(pay, node("pause", "wait", seconds=0.25), keep, edges=[("pay", "pause"), ("pause", "keep")])
    loop = node("loop", "while", condition="index < 2", body=body(call("poll", port, "GET", name="poll-{{ index }}")))
    nodes = [
        put("begin"),
        node("ok", "approval", title="Go on, {{ input.tag }}?"),
        node("each", "foreach", items=list(range(ITEMS)), concurrency=2, body=inner),
        event("paid", "paid"),
        node("rest", "wait", seconds=REST),
        loop,
        call("last", port),
    ]
    ids = [item["id"] for item in nodes]
    edges = [{"from": source, "to": target} for source, target in itertools.pairwise(ids)]
    output = {"sum": "{{ nodes.paid.payload.sum }}", "items": "{{ nodes.each.count }}", "passes": "{{ nodes.loop.iterations }}"}
    return {"name": "load", "input": TAGGED, "nodes": nodes, "edges": edges, "output": output}


async def sure(work: Callable[[], Awaitable[T]]) -> T:
    """Does something again until the database has taken it, as a careful client does."""
    while True:
        try:
            return await work()
        except Unavailable:
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    runs: list[Run]
    stall: float
    steps: int


class Load:
    """Starts the runs and answers what they ask. Nobody repairs anything."""

    def __init__(self, house: House, book: Ledger) -> None:
        self.house, self.book = house, book

    async def started(self) -> list[Run]:
        name = await self.house.publish(definition(self.book.port))
        tags = [f"r{number}" for number in range(RUNS)]
        return list(
            await asyncio.gather(*(runs.start(self.house.runtime, self.house.actor, workflow=name, input={"tag": tag}) for tag in tags))
        )

    async def finished(self, run: Run) -> Run:
        """The run at its end; its question is answered and its event sent as soon as it waits for them."""
        while run.state not in runs.FINISHED:
            for wait in run.waiting_for:
                await self._attend(run, wait)
            run = await sure(lambda id=run.id: runs.wait(self.house.runtime, self.house.actor, id, seconds=1, until="change"))
        return run

    async def _attend(self, run: Run, wait: dict[str, Any]) -> None:
        runtime, actor = self.house.runtime, self.house.actor
        if "task_id" in wait:
            assert wait["title"].startswith("Go on"), wait  # anything else asks a person for help
            with suppress(Conflict):  # an answer whose acknowledgement was lost
                await sure(lambda: tasks.answer(runtime, actor, wait["task_id"], {"approved": True}))
        elif wait["kind"] == "event":
            tag = run.input["tag"]
            await sure(lambda: signals.send(runtime, actor, name="paid", correlation=tag, payload={"sum": 5}, idempotency_key=tag))

    async def arrivals(self, number: int) -> None:
        """Waits until the ledger has seen so many writes."""
        while len(self.book.arrivals) < number:
            await asyncio.sleep(0.01)

    async def more(self, number: int) -> None:
        await self.arrivals(len(self.book.arrivals) + number)


async def outcome(load: Load, fault: Callable[[Load], Awaitable[None]], admin_url: str) -> Outcome:
    """All runs to their end, with the fault while they are under way."""
    try:
        async with asyncio.timeout(SECONDS):
            started = await load.started()
            going = [asyncio.create_task(load.finished(run)) for run in started]
            await load.arrivals(RUNS)
            await fault(load)
            done = await asyncio.gather(*going)
    except TimeoutError:
        with psycopg.connect(admin_url) as admin:
            print(*admin.execute(LEFT), sep="\n")
        raise
    with psycopg.connect(admin_url) as admin:
        found = admin.execute(GAPS).fetchone()
    assert found is not None
    return Outcome(runs=done, stall=found[0], steps=found[1])


def judge(outcome: Outcome, book: Ledger, admin_url: str) -> str:
    """Nothing lost, nothing twice, nobody asked for help. A line with the figures."""
    ended = Counter((run.state, run.error["code"] if run.error else "") for run in outcome.runs)
    assert ended == {("succeeded", ""): RUNS}, (ended, next(run.error for run in outcome.runs if run.error))
    assert all(run.output == OUTPUT for run in outcome.runs)
    once, kept = [f"pay-{item}" for item in range(ITEMS)] + ["last"], [f"keep-{item}" for item in range(ITEMS)]
    done = Counter((seen.tag, seen.name) for seen in book.arrivals if seen.done)
    lost = [(run.input["tag"], name) for run in outcome.runs for name in (*once, *kept) if not done[run.input["tag"], name]]
    double = [(tag, name) for (tag, name), count in done.items() if name in once and count > 1]
    repeats = sum(count - 1 for (_, name), count in done.items() if name in kept)
    assert (lost, double) == ([], [])
    assert all(seen.key.startswith(f"{run.id}/") for run in outcome.runs for seen in book.of(run.input["tag"]))
    with psycopg.connect(admin_url) as admin:
        assert admin.execute("SELECT count(*) FROM weft.tasks WHERE kind = 'resolution'").fetchone() == (0,)
        assert admin.execute("SELECT count(*) FROM weft.node_runs WHERE state = 'ambiguous'").fetchone() == (0,)
        assert admin.execute("SELECT count(*) FROM weft.events WHERE type = 'run.succeeded'").fetchone() == (RUNS,)
    return (
        f"{len(outcome.runs)} runs, {outcome.steps} steps: lost 0, double 0, repeated with its key {repeats}, stall {outcome.stall:.2f} s"
    )


def told(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        print(f"\n{line}")
