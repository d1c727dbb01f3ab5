"""kill -9 of the worker at every commit boundary and during every call, for every node type."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from graphs.catalogue import node_types
from graphs.expressions import Evaluator
from graphs.runtime import Actor
from store import identities
from store.postgres import Database
from tests.conftest import Server
from tests.engine.conftest import House
from tests.faults.furnishing import connected
from tests.faults.ledger import Ledger, ledger
from tests.faults.matrix import Lane, Tally, Tell, matrix, opened
from tests.faults.scenarios import BY_TYPE, ELSEWHERE, SCENARIOS, types_in
from tests.models.loopback import ModelServer, model_server
from tests.remote.toolserver import TEXT, ToolServer, tool_server

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.promise("P1")]
ROOT = Path(__file__).parents[2]
LANES = 3  # lives side by side; each has moments in which it only waits


@asynccontextmanager
async def lane(server: Server, evaluator: Evaluator, book: Ledger, models: ModelServer, tools: ToolServer) -> AsyncGenerator[Lane]:
    """A house on a database of its own."""
    with server.clone() as name:
        url = server.app_url(name)
        async with Database.open(url) as database:
            tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
            user = await identities.create_user(tenant, name="Olga", role="owner")
            actor = Actor(tenant=tenant, user_id=user.id, user_name="Olga", role="owner", via="http")
            house = House(database=database, evaluator=evaluator, actor=actor)
            async with opened(house, models.openai()):
                await connected(house.runtime, actor, ledger=f"http://127.0.0.1:{book.port}", tools=tools.url)
                yield Lane(house=house, url=url, book=book, models=models)


@asynccontextmanager
async def lanes(server: Server, evaluator: Evaluator, file: Path, count: int = LANES) -> AsyncGenerator[list[Lane]]:
    async with AsyncExitStack() as stack:
        book = await stack.enter_async_context(ledger(file))
        models = stack.enter_context(model_server())
        tools = stack.enter_context(tool_server())
        tools.ledger = book.port
        tools.tools.update({name: {"name": name, "inputSchema": TEXT} for name in ("put", "post")})
        yield [await stack.enter_async_context(lane(server, evaluator, book, models, tools)) for _ in range(count)]


async def run_all(lanes: list[Lane], names: list[str], tell: Tell) -> dict[str, Tally]:
    """Every scenario in some lane, one after another there."""
    left, found = iter(names), dict[str, Tally]()

    async def work(mine: Lane) -> None:
        for name in left:
            found[name] = await matrix(mine, name.replace(" ", "-").replace("_", "-"), SCENARIOS[name], tell)
            tell(f"{len(found)} of {len(names)} scenarios: {name}")

    async with asyncio.TaskGroup() as group:
        for each in lanes:
            group.create_task(work(each))
    return found


def test_every_node_type_has_a_scenario() -> None:
    assert set(BY_TYPE) | set(ELSEWHERE) == set(node_types())
    assert not set(BY_TYPE) & set(ELSEWHERE)
    for test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        assert f"async def {name}(" in (ROOT / file).read_text()
    for name, scenario in BY_TYPE.items():
        assert name in set(types_in(scenario.make(1)))


async def test_a_run_survives_a_kill_at_every_commit_and_in_every_call(
    server: Server, evaluator: Evaluator, tmp_path: Path, tell: Tell
) -> None:
    began, total = time.monotonic(), Tally()
    async with lanes(server, evaluator, tmp_path / "ledger") as opened_lanes:
        found = await run_all(opened_lanes, list(SCENARIOS), tell)
        written = len((tmp_path / "ledger").read_text().splitlines())
        assert written == len(opened_lanes[0].book.arrivals)
    for tally in found.values():
        total.add(tally)
    show(found, total, time.monotonic() - began, tell)
    assert (total.lost, total.silent, total.wrong) == ([], [], [])
    assert total.reported == total.real > 0
    for name, tally in found.items():  # before and after each of its commits
        assert sum(tally.kills.values()) >= 2 * tally.boundaries >= 6, name


def show(found: dict[str, Tally], total: Tally, seconds: float, tell: Tell) -> None:
    names = ("commits", "kills", "lost", "repeats", "silent", "ambiguous", "real", "arrived")
    tell(f"\n{'kill -9 in':24}" + "".join(f"{name:>11}" for name in names))
    for name, tally in [*found.items(), ("all", total)]:
        kills = sum(tally.kills.values())
        figures = (tally.boundaries, kills, len(tally.lost), tally.repeats, len(tally.silent), tally.reported, tally.real, tally.arrived)
        tell(f"{name:24}" + "".join(f"{figure:11}" for figure in figures))
    kills = total.kills
    tell(f"{kills['before']} before a commit, {kills['after']} after one, {kills['calling']} during a call; {seconds:.0f} s")
    for line in total.faults:
        tell(f"  {line}")
