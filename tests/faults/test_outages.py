"""Postgres restarted, cut off, swallowed by the network, out of disk, and the clock moved, under 32 concurrent runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from graphs.expressions import Evaluator
from graphs.runtime import Actor
from store import identities
from store.postgres import Database
from tests.conftest import EMPTY
from tests.engine.conftest import House
from tests.faults.ledger import Ledger, ledger
from tests.faults.load import RUNS, Load, judge, outcome, told
from tests.faults.mortal import Mortal, full, mortal, small_disk
from tests.faults.proxy import Proxy, proxy
from tests.faults.skew import Skew, skewed

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(240), pytest.mark.promise("P1")]
HOLE = 4.0  # seconds
FULL = 3.0
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncGenerator[Mortal]:
    async with mortal() as opened:
        yield opened


@pytest.fixture
async def wire(server: Mortal) -> AsyncGenerator[Proxy]:
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(EMPTY)
    async with proxy(server.postgres.sockets) as opened:
        yield opened


@pytest.fixture
async def book() -> AsyncGenerator[Ledger]:
    async with ledger() as opened:
        opened.delay = 0.03
        yield opened


@pytest.fixture
async def house(server: Mortal, wire: Proxy, evaluator: Evaluator) -> AsyncGenerator[House]:
    """A house that reaches its database through the wire."""
    async with Database.open(server.through(wire.port)) as database:
        tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
        user = await identities.create_user(tenant, name="Olga", role="owner")
        yield House(
            database=database,
            evaluator=evaluator,
            actor=Actor(tenant=tenant, user_id=user.id, user_name="Olga", role="owner", via="http"),
        )


Fault = Callable[[Load], Awaitable[None]]


async def suffered(
    house: House, book: Ledger, server: Mortal, fault: Fault, capsys: pytest.CaptureFixture[str], name: str, **options: Any
) -> float:
    """Runs everything under the fault, judges and tells it; the stall in seconds."""
    async with house.opened(**options) as house.runtime:
        found = await outcome(Load(house, book), fault, server.admin_url)
    told(capsys, f"{name}: {judge(found, book, server.admin_url)}")
    return found.stall


async def test_nothing_stalls_where_nothing_fails(house: House, book: Ledger, server: Mortal, capsys: pytest.CaptureFixture[str]) -> None:
    async def fault(load: Load) -> None:
        pass

    assert await suffered(house, book, server, fault, capsys, "no fault") < 5


async def test_runs_outlive_two_restarts_of_postgres(
    house: House, book: Ledger, server: Mortal, capsys: pytest.CaptureFixture[str]
) -> None:
    away: list[float] = []

    async def fault(load: Load) -> None:
        for _ in range(2):
            away.append(await server.restart())
            await load.more(RUNS)

    stall = await suffered(house, book, server, fault, capsys, "Postgres restarted twice with -m immediate")
    told(capsys, f"  away {away[0]:.2f} and {away[1]:.2f} s")
    assert stall < max(away) + 10


async def test_runs_outlive_five_cuts_of_every_connection(
    house: House, book: Ledger, server: Mortal, wire: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts: list[int] = []

    async def fault(load: Load) -> None:
        for _ in range(5):
            while not wire.connections:  # of the cut before, not all may be back
                await asyncio.sleep(0.01)
            cuts.append(wire.cut())
            await load.more(RUNS // 2)

    stall = await suffered(house, book, server, fault, capsys, "all connections cut five times")
    assert min(cuts) > 0
    assert stall < 10


async def test_runs_outlive_a_network_that_swallows_everything(
    house: House, book: Ledger, server: Mortal, wire: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fault(load: Load) -> None:
        wire.swallow()
        await asyncio.sleep(HOLE)
        wire.let_pass()

    assert await suffered(house, book, server, fault, capsys, f"black hole of {HOLE:.0f} s") < HOLE + 6


async def test_runs_outlive_a_slow_network(
    house: House, book: Ledger, server: Mortal, wire: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fault(load: Load) -> None:
        wire.delay = 0.3
        await load.more(RUNS)
        wire.delay = 0.0

    assert await suffered(house, book, server, fault, capsys, "every answer 0.6 s late") < 10


@pytest.mark.parametrize("way", ["a small disk", "a trigger"])
async def test_runs_outlive_a_full_disk(house: House, book: Ledger, server: Mortal, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a disk of our own where we may mount one; and always with Postgres made to say so."""
    with small_disk(server) if way == "a small disk" else nullcontext() as disk:

        async def fault(load: Load) -> None:
            with full(server, disk):
                await asyncio.sleep(FULL)

        stall = await suffered(house, book, server, fault, capsys, f"disk full for {FULL:.0f} s ({'tmpfs' if disk else 'SQLSTATE 53100'})")
    assert "No space left on device" in server.cluster.log.read_text()
    assert stall < FULL + 10


@pytest.fixture
def skew(server: Mortal) -> Generator[Skew]:
    """Asked for before the house is, whose connections must know of it."""
    with skewed(server.admin_url) as moved:
        yield moved


async def test_runs_outlive_a_clock_that_jumps(
    skew: Skew, house: House, book: Ledger, server: Mortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour ahead, then two hours back: every lease has run out, then whatever was due lies in the future."""

    async def fault(load: Load) -> None:
        for ahead in (HOUR, -HOUR):
            skew(ahead)
            await load.more(RUNS)
            await skew.noticed()

    assert await suffered(house, book, server, fault, capsys, "clock jumped to +1 h, then to -1 h", clock=skew.now) < 10
