"""The journal while its Postgres is killed again and again, between and during commits."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import AsyncGenerator

import psycopg
import pytest

from store import identities
from store.journal import Entry, Journal
from store.postgres import Database
from tests.faults.mortal import Mortal, mortal
from tests.store.test_journal import again, begun, nobody, step, told

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180), pytest.mark.promise("P1")]
WRITERS = 8
KILLS = 6


@pytest.fixture
async def server(anyio_backend: str) -> AsyncGenerator[Mortal]:
    async with mortal() as opened:
        yield opened


async def test_no_receipt_is_lost_and_no_event_doubled_when_postgres_is_killed(server: Mortal) -> None:
    async with Database.open(server.app_url) as database, Journal(database, on_woken=nobody) as journal:
        tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
        owner = (await identities.create_user(tenant, name="Olga", role="owner")).id
        entries = [await begun(tenant, owner) for _ in range(WRITERS)]
        acknowledged: dict[str, int] = {}
        over = asyncio.Event()

        async def write(first: Entry) -> None:
            """Steps one after the other, as a run makes them; each has its own position and its own event."""
            for number in itertools.count():
                entry = again(first.run_id, tenant)
                entry.node_runs = [step(f"s{number}", seq=number)]
                entry.events = [{**told("step.succeeded"), "position": f"s{number}"}]
                if over.is_set():
                    entry.settle = {"state": "succeeded"}
                assert await journal.submit(entry)
                acknowledged[first.run_id] = number
                if entry.settle:
                    return

        writers = [asyncio.create_task(write(entry)) for entry in entries]
        for round in range(KILLS):
            seen = sum(acknowledged.values())
            while sum(acknowledged.values()) < seen + 40 + 7 * round:  # so that it dies at ever other moments
                await asyncio.sleep(0)
            server.kill(signal.SIGQUIT)
            if round == KILLS - 1:
                over.set()  # the last entries settle their runs while nobody is there
            await server.start()
        await asyncio.gather(*writers)
    with psycopg.connect(server.admin_url) as admin:
        for entry in entries:
            expected = {f"s{number}" for number in range(acknowledged[entry.run_id] + 1)}
            rows = admin.execute("SELECT position FROM weft.node_runs WHERE run_id = %s", (entry.run_id,)).fetchall()
            told_of = admin.execute(
                "SELECT position FROM weft.events WHERE run_id = %s AND type = 'step.succeeded' ORDER BY seq", (entry.run_id,)
            ).fetchall()
            assert {row[0] for row in rows} == expected
            assert Counter(row[0] for row in told_of) == Counter(expected)
            assert [row[0] for row in told_of] == sorted(expected, key=lambda position: int(position[1:])), "in their order"
        states = admin.execute("SELECT DISTINCT state FROM weft.runs").fetchall()
    assert states == [("succeeded",)]
