"""Scale: a hundred thousand waiting runs cost no memory and wake at once; ten thousand timers that are due together fire once each."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from graphs import runs, signals, tasks
from graphs.engine import conduct as conducting
from graphs.engine.drive import Drive
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]
RUNS = 100_000
TIMERS = 10_000
WOKEN = 40
MOST_MS = 50.0
MOST_BYTES = 100  # of memory per waiting run: what is measured is noise


@pytest.fixture
def admin(admin_url: str) -> Generator[psycopg.Connection]:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # copies of rows that are whole need no check of foreign keys
        yield connection


def copies(admin: psycopg.Connection, run: Run, count: int) -> None:
    """As many runs more in the state of this one, with everything that belongs to it; waits have the correlations "1" and so on."""
    admin.execute("CREATE TEMP TABLE copy AS SELECT n, weft.uuid7() AS id FROM generate_series(1, %s) n", (count,))
    for table, key, changed in (
        ("runs", "id", {"id": "c.id"}),
        ("node_runs", "run_id", {"run_id": "c.id"}),
        ("waits", "run_id", {"run_id": "c.id", "correlation": "c.n::text"}),
        ("tasks", "run_id", {"run_id": "c.id", "id": "weft.uuid7()"}),
        ("checkpoints", "thread_id", {"thread_id": "c.id::text"}),
    ):
        names = [
            name
            for (name,) in admin.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = ('weft.' || %s)::regclass AND attnum > 0 AND NOT attisdropped", (table,)
            )
        ]
        values = ", ".join(changed.get(name, f"t.{name}") for name in names)
        copying = f"INSERT INTO weft.{table} ({', '.join(names)}) SELECT {values} FROM weft.{table} t, copy c WHERE t.{key}::text = %s"
        admin.execute(copying.encode(), (run.id,))
    admin.execute("ANALYZE")


def ids(admin: psycopg.Connection, count: int) -> list[tuple[int, str]]:
    return admin.execute("SELECT n, id::text FROM copy ORDER BY random() LIMIT %s", (count,)).fetchall()


def resident() -> int:
    """Bytes of this process, in which the engine runs."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


Spent = tuple[float, float]


async def driven(house: House, begun: dict[str, float], run_id: str, waking: Awaitable[None]) -> Spent:
    """Milliseconds from the call of a door until the run it wakes is driven, and until it has been driven to its end."""
    async with house.runtime.engine.watching(run_id) as changed, asyncio.timeout(20):
        called = time.perf_counter()
        await waking
        await changed.wait()
        return (begun[run_id] - called) * 1000, (time.perf_counter() - called) * 1000


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """When each run began to be driven, the last time."""
    moments: dict[str, float] = {}
    conduct = conducting.conduct

    async def noted(drive: Drive, *given: Any, **more: Any) -> None:
        moments[drive.run_id] = time.perf_counter()
        await conduct(drive, *given, **more)

    monkeypatch.setattr(conducting, "conduct", noted)
    return moments


async def test_a_hundred_thousand_waiting_runs_take_no_memory_and_wake_at_once(
    house: House, admin: psycopg.Connection, begun: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "{{ input.order }}"}}
    asked = {"id": "ok", "type": "approval", "config": {"title": "Go on?"}}
    async with house.opened() as house.runtime:
        await until(house, (await house.start(flow(put("a")))).id, "succeeded")
        by_event = await until(house, (await house.start(flow(event, put("end"), edges=[("paid", "end")]), {"order": "0"})).id, "waiting")
        by_person = await until(house, (await house.start(flow(asked, put("end"), edges=[("ok", "end")]))).id, "waiting")
        before = resident()
        copies(admin, by_event, RUNS)
        spent = {"send_event": [await driven(house, begun, id, send(house, str(n))) for n, id in ids(admin, WOKEN)]}
        admin.execute("DROP TABLE copy")
        copies(admin, by_person, 1000)
        spent["answer_task"] = [await driven(house, begun, id, answer(house, id)) for _, id in ids(admin, WOKEN)]
        per_run = (resident() - before) / RUNS
    with capsys.disabled():
        print(f"\n{RUNS:,} waiting runs: {per_run:.1f} bytes of memory each. From a call that wakes one, in the median")
        for name, found in spent.items():
            print(f"  {name}: driven after {median(found, 0):.1f} ms, done after {median(found, 1):.1f} ms")
    assert per_run < MOST_BYTES
    assert all(median(found, 0) <= MOST_MS for found in spent.values())


def median(spent: list[Spent], part: int) -> float:
    return statistics.median(pair[part] for pair in spent)


async def send(house: House, correlation: str) -> None:
    await signals.send(house.runtime, house.actor, name="paid", correlation=correlation, payload=1)


async def answer(house: House, run_id: str) -> None:
    (task,) = (await tasks.page(house.runtime, house.actor, run_id=run_id)).items
    await tasks.answer(house.runtime, house.actor, task.id, {"approved": True})


async def test_ten_thousand_timers_that_are_due_at_once_all_fire_once(
    house: House, admin: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    timer = {"id": "w", "type": "wait", "config": {"duration": "1h"}}
    async with house.opened() as house.runtime:
        template = await until(house, (await house.start(flow(timer, put("end"), edges=[("w", "end")]))).id, "waiting")
    copies(admin, template, TIMERS)
    admin.execute("UPDATE weft.waits SET due_at = clock_timestamp() WHERE run_id IN (SELECT id FROM copy)")
    admin.execute("UPDATE weft.runs SET wake_at = clock_timestamp() WHERE id IN (SELECT id FROM copy)")
    began = time.perf_counter()
    async with house.opened() as house.runtime, house.opened(), asyncio.timeout(600):
        while (await runs.page(house.runtime, house.actor, state="succeeded", limit=1)).total < TIMERS:
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - began
    fired = admin.execute(
        """SELECT count(*), count(DISTINCT run_id), count(*) FILTER (WHERE state = 'succeeded') FROM weft.node_runs
           WHERE run_id IN (SELECT id FROM copy) AND node_id = 'w'"""
    ).fetchone()
    ended = admin.execute(
        "SELECT count(*), count(DISTINCT run_id) FROM weft.events WHERE run_id IN (SELECT id FROM copy) AND type = 'run.succeeded'"
    ).fetchone()
    with capsys.disabled():
        print(f"\n{TIMERS:,} timers due at once, two engines: all fired once in {seconds:.1f} s")
    assert fired == (TIMERS, TIMERS, TIMERS)
    assert ended == (TIMERS, TIMERS)
