"""kill -9 of the worker of an agent with 20 tool calls, at every commit and in every call: nothing is done twice in silence, and no answer
of a model is paid for twice once its receipt is there."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from graphs.expressions import Evaluator
from store.queries import Query
from tests.conftest import Server
from tests.faults.matrix import FAMILY, Lane, Life, Tally, Tell, matrix
from tests.faults.scenarios import Scenario, agent_at_work
from tests.faults.test_kills import LANES, lanes
from tests.models.loopback import PLAY, ModelServer

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]
RECEIPTS = Query(
    "receipts",
    FAMILY
    + b"""SELECT n.position FROM weft.node_runs n JOIN family f ON f.id = n.run_id
    WHERE n.org_id = %(org_id)s::uuid AND n.node_type = 'llm' AND n.state = 'succeeded'""",
)


class Paid(Life):
    """A life whose model keeps count of what it was asked: every answer of it costs money."""

    server: ModelServer

    def __init__(self, lane: Lane, name: str, scenario: Scenario) -> None:
        super().__init__(lane, name, scenario)
        self.paid: Counter[str] = Counter()

    def asked_for(self) -> Counter[str]:
        """How often each turn of this life was asked for."""
        found: Counter[str] = Counter()
        for asked in list(self.server.asked):
            said = next(message["content"] for message in asked["messages"] if message["role"] == "user")
            if said.startswith(PLAY) and re.search(rf"/{re.escape(self.tag)}/", json.dumps(said)):
                found[f"work/turn_{1 + sum(message['role'] == 'assistant' for message in asked['messages'])}"] += 1
        return found

    async def seen_dead(self) -> None:
        await super().seen_dead()
        receipts = set(await self.actor.tenant.all(RECEIPTS, str, tag=self.tag))
        self.paid = Counter({turn: count for turn, count in self.asked_for().items() if turn in receipts})

    def faults(self) -> list[str]:
        after = self.asked_for()
        return [f"{self.tag}: {turn} was paid for again after its receipt" for turn, count in self.paid.items() if after[turn] > count]


async def lives(server: Server, evaluator: Evaluator, file: Path, tell: Tell, *, turns: int, every: int, count: int) -> Tally:
    """Each `every`-th death, in lanes side by side; the boundaries are those of one life."""
    scenario = Scenario(make=partial(agent_at_work, turns=turns))
    async with lanes(server, evaluator, file, count) as opened:
        assert opened[0].models
        Paid.server = opened[0].models
        step = every * len(opened)
        work = [
            matrix(mine, f"agent-{number}", scenario, tell, lived=Paid, step=step, first=every * number)
            for number, mine in enumerate(opened)
        ]
        found, *others = await asyncio.gather(*work)
    for tally in others:
        found.add(replace(tally, boundaries=0))
    return found


def show(tally: Tally, seconds: float, calls: int, tell: Tell) -> None:
    kills = sum(tally.kills.values())
    tell(
        f"\nagent with {calls} calls: {tally.boundaries} commits, {kills} kills ({dict(tally.kills)}), "
        f"{len(tally.silent)} effects repeated in silence, {len(tally.lost)} lost, {tally.repeats} harmless repeats, "
        f"{tally.reported} doubts reported of {tally.real} real, "
        f"{len(tally.wrong)} other faults (model calls paid twice among them); {seconds:.0f} s"
    )
    for line in tally.faults:
        tell(f"  {line}")


@pytest.mark.timeout(180)
async def test_an_agent_survives_some_kills(server: Server, evaluator: Evaluator, tmp_path: Path, tell: Tell) -> None:
    began = time.monotonic()
    tally = await lives(server, evaluator, tmp_path / "ledger", tell, turns=2, every=13, count=1)
    show(tally, time.monotonic() - began, 6, tell)
    assert (tally.lost, tally.silent, tally.wrong) == ([], [], [])
    assert sum(tally.kills.values()) >= 4


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_an_agent_with_twenty_calls_survives_a_kill_at_every_boundary(
    server: Server, evaluator: Evaluator, tmp_path: Path, tell: Tell
) -> None:
    began = time.monotonic()
    tally = await lives(server, evaluator, tmp_path / "ledger", tell, turns=7, every=1, count=LANES)
    show(tally, time.monotonic() - began, 21, tell)
    assert (tally.lost, tally.silent, tally.wrong) == ([], [], [])
    assert tally.reported == tally.real > 0
    assert sum(tally.kills.values()) >= tally.boundaries >= 40
