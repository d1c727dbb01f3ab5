"""kill -9 of the worker of an agent with 20 tool calls, at every commit and in every call: nothing is done twice in silence, and no answer
of a model is paid for twice once its receipt is there."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from graphs.expressions import Evaluator
from store.queries import Query
from tests.conftest import Server
from tests.faults.ledger import ledger
from tests.faults.matrix import FAMILY, Lane, Life, Tally, matrix
from tests.faults.scenarios import Scenario, agent_at_work
from tests.faults.test_kills import lane
from tests.models.loopback import PLAY, ModelServer, model_server
from tests.remote.toolserver import TEXT, tool_server

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


async def lives(server: Server, evaluator: Evaluator, file: Path, turns: int, step: int) -> Tally:
    async with ledger(file) as book:
        with model_server() as models, tool_server() as tools:
            Paid.server = models
            tools.ledger = book.port
            tools.tools["put"] = {"name": "put", "inputSchema": TEXT}
            async with lane(server, evaluator, book, models, tools) as mine:
                return await matrix(mine, "agent", Scenario(make=partial(agent_at_work, turns=turns)), Paid, step)


def show(tally: Tally, seconds: float, calls: int) -> None:
    kills = sum(tally.kills.values())
    print(
        f"\nagent with {calls} calls: {tally.boundaries} commits, {kills} kills ({dict(tally.kills)}), "
        f"{len(tally.silent)} effects repeated in silence, {len(tally.lost)} lost, {tally.repeats} harmless repeats, "
        f"{tally.reported} doubts reported of {tally.real} real, "
        f"{len(tally.wrong)} other faults (model calls paid twice among them); {seconds:.0f} s"
    )
    for line in (*tally.lost, *tally.silent, *tally.wrong):
        print(f"  {line}")


@pytest.mark.timeout(120)
async def test_an_agent_survives_some_kills(
    server: Server, evaluator: Evaluator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    tally = await lives(server, evaluator, tmp_path / "ledger", turns=2, step=13)
    with capsys.disabled():
        show(tally, time.monotonic() - began, 6)
    assert (tally.lost, tally.silent, tally.wrong) == ([], [], [])
    assert sum(tally.kills.values()) >= 4


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_an_agent_with_twenty_calls_survives_a_kill_at_every_boundary(
    server: Server, evaluator: Evaluator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    tally = await lives(server, evaluator, tmp_path / "ledger", turns=7, step=1)
    with capsys.disabled():
        show(tally, time.monotonic() - began, 21)
    assert (tally.lost, tally.silent, tally.wrong) == ([], [], [])
    assert tally.reported == tally.real > 0
    assert sum(tally.kills.values()) >= tally.boundaries >= 40
