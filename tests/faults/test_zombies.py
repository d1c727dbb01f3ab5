"""A worker that stands still for longer than its lease and then goes on: others drive its runs by then, and nothing it writes is taken."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from graphs.models import ModelSettings
from graphs.runtime import Actor
from tests.engine.conftest import House, put
from tests.faults import workers
from tests.faults.ledger import Arrival, ledger
from tests.faults.load import told
from tests.faults.matrix import Lane, Life, opened
from tests.faults.scenarios import Scenario, call, chain, node

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600), pytest.mark.promise("P1"), pytest.mark.promise("P2")]
LEASE = 1.0
SECONDS = 30.0
TABLES = ("runs", "node_runs", "events", "waits", "tasks", "checkpoints")
MOST = 40


def _make(port: int) -> dict[str, Any]:
    ask = node("ok", "approval", title="Go on?")
    return chain(put("begin"), call("once", port), call("again", port, "PUT"), ask, call("twice", port), put("end"))


def _canary(port: int) -> dict[str, Any]:
    return chain(put("alive"), node("rest", "wait", seconds=0.6), put("still"))


SCENARIO = Scenario(make=_make)
CANARY = Scenario(make=_canary)


@dataclass(slots=True, kw_only=True)
class Found:
    stopped: int = 0
    accepted: int = 0  # rows that a zombie has changed
    reported: int = 0
    doubled: Counter[str] = field(default_factory=Counter[str])  # write-once effects done twice, all of them reported
    silent: list[str] = field(default_factory=list[str])


class Zombie:
    """A worker that stops itself at a commit, or that the ledger stops in its first call."""

    def __init__(self, lane: Lane, at: int, when: workers.When | None) -> None:
        self.lane, self.at, self.when = lane, at, when
        self.life = Life(lane, "zombie", SCENARIO)
        orders: dict[str, Any] = {"at": at, "when": when, "signal": signal.SIGSTOP} if when else {}
        self.process = workers.start(workers.Orders(url=lane.url, lease=LEASE, **orders))
        if when is None:
            lane.book.watched[self.life.tag] = self._arrived
        self.calls = 0

    def _arrived(self, arrival: Arrival) -> bool:
        self.calls += 1
        if self.calls == self.at:
            self._signal(signal.SIGSTOP)
        return True  # the answer waits in the socket until it wakes

    def _signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @property
    def stopped(self) -> bool:
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    def wake(self) -> None:
        self._signal(signal.SIGCONT)


async def rows(admin_url: str, tag: str) -> dict[str, list[str]]:
    """Everything the database has of a run, as text."""
    found: dict[str, list[str]] = {}
    async with await psycopg.AsyncConnection.connect(admin_url) as admin:
        for table in TABLES:
            place = {"runs": "id::text", "checkpoints": "thread_id"}.get(table, "run_id::text")
            query = b"SELECT x::text FROM weft.%s x WHERE %s IN (SELECT id::text FROM weft.runs WHERE input ->> 'tag' = %%s) ORDER BY 1"
            cursor = await admin.execute(query % (table.encode(), place.encode()), (tag,))
            found[table] = [text for (text,) in await cursor.fetchall()]
    return found


async def afterlife(zombie: Zombie, admin_url: str, found: Found) -> bool:
    """A run that loses its driver to a standstill and ends with another, while the first wakes up again. Whether it stood still at all."""
    lane, life = zombie.lane, zombie.life
    finishing = asyncio.create_task(life.whole())
    async with asyncio.timeout(SECONDS):
        while not zombie.stopped and not finishing.done():
            await asyncio.sleep(0.01)
        if finishing.done():
            return False
        async with lane.house.runtime.engine.serving(grace=2.0):
            await finishing
        before = await rows(admin_url, life.tag)
        zombie.wake()
        canary = Life(lane, "canary", CANARY)  # the zombie is the only worker now: when this is done it has got over its past
        await canary.whole()
        after = await rows(admin_url, life.tag)
    found.stopped += 1
    found.accepted += sum(len(set(after[table]) ^ set(before[table])) for table in TABLES)
    asked = await life.asked()
    found.reported += len(asked)
    done = Counter(seen.key for seen in lane.book.of(life.tag) if seen.method == "POST")
    found.doubled.update({key: 1 for key, count in done.items() if count > 1})
    found.silent += [f"{zombie.when} {zombie.at} {key}" for key, count in done.items() if count > 1 and key not in asked]
    return True


async def test_what_a_worker_writes_after_a_standstill_is_refused(
    database: Any, evaluator: Any, actor: Actor, app_url: str, admin_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Found()
    house = House(database=database, evaluator=evaluator, actor=actor)
    async with ledger() as book, opened(house, ModelSettings()):
        lane = Lane(house=house, url=app_url, book=book)
        for name, scenario in (("zombie", SCENARIO), ("canary", CANARY)):
            await lane.publish(name, scenario)
        for when in ("before", "after", None):
            for at in range(1, MOST):
                zombie = Zombie(lane, at, when)
                try:
                    if not await afterlife(zombie, admin_url, found):
                        break
                finally:
                    workers.end(zombie.process)
    figures = f"{found.accepted} rows of theirs taken, {found.reported} calls reported, {sum(found.doubled.values())} of them made twice"
    told(capsys, f"{found.stopped} standstills: {figures}")
    assert found.stopped >= 15
    assert (found.accepted, found.silent) == (0, [])
