"""Two thousand starts at once through the HTTP door, and Postgres restarted among them: a yes is kept, and a no is a clear one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from graphs.expressions import Evaluator
from graphs.runtime import Actor
from server import keys
from server.app import create_app
from server.settings import Settings
from store import identities
from store.postgres import Database
from tests.engine.conftest import House, put
from tests.faults.load import told
from tests.faults.mortal import Mortal, mortal
from tests.faults.scenarios import TAGGED
from tests.server.conftest import http, served

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600), pytest.mark.promise("P1"), pytest.mark.promise("P8")]
STARTS = 2_000
SECONDS = 150.0
DEFINITION: dict[str, Any] = {
    "name": "short",
    "input": TAGGED,
    "nodes": [put("first"), put("second"), put("third", tag="{{ input.tag }}")],
    "edges": [{"from": "first", "to": "second"}, {"from": "second", "to": "third"}],
}
UNFINISHED = "SELECT count(*) FROM weft.runs WHERE finished_at IS NULL"
RUNS = "SELECT id::text, state, input ->> 'tag', output ->> 'tag' FROM weft.runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    url: str
    key: str
    server: Mortal


@dataclass(slots=True, kw_only=True)
class Answers:
    accepted: dict[str, str] = field(default_factory=dict[str, str])  # id of the run, by tag
    refused: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])  # by status and code
    slowest: float = 0.0


@pytest.fixture
async def door(evaluator: Evaluator, tmp_path: Path) -> AsyncGenerator[Door]:
    """The whole app over a Postgres that may be killed."""
    settings = Settings(data_dir=tmp_path / "weft")
    async with mortal() as server, Database.open(server.app_url) as database:
        tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
        user = await identities.create_user(tenant, name="Olga", role="owner")
        pepper = keys.open_keys(settings.keys_dir).pepper
        _, key = await identities.create_key(tenant, user_id=user.id, name="owner", pepper=pepper)
        actor = Actor(tenant=tenant, user_id=user.id, user_name="Olga", role="owner", via="http")
        house = House(database=database, evaluator=evaluator, actor=actor)
        async with house.opened() as runtime, served(create_app(runtime, settings)) as url:
            await house.publish(DEFINITION)
            yield Door(url=url, key=key, server=server)


async def start(client: httpx2.AsyncClient, tag: str, answers: Answers) -> None:
    began = time.monotonic()
    answer = await client.post("/api/v1/runs", json={"workflow": "short", "input": {"tag": tag}})
    answers.slowest = max(answers.slowest, time.monotonic() - began)
    body = answer.json()
    if answer.is_success:
        answers.accepted[tag] = body["run_id"]
    else:
        answers.refused[answer.status_code, body["error"]["code"]] += 1


async def all_over(admin_url: str) -> list[tuple[str, str, str, str]]:
    """The rows of all runs, once none is under way any more."""
    async with asyncio.timeout(SECONDS), await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as admin:
        while (await (await admin.execute(UNFINISHED)).fetchone()) != (0,):
            await asyncio.sleep(0.1)
        return await (await admin.execute(RUNS)).fetchall()


async def for_a_moment(door: Door, answers: Answers) -> None:
    await door.server.restart()


async def until_it_says_no(door: Door, answers: Answers) -> None:
    door.server.kill(signal.SIGQUIT)
    async with asyncio.timeout(SECONDS):
        while not answers.refused:
            await asyncio.sleep(0.01)
    await door.server.start()


@pytest.mark.parametrize("outage", [for_a_moment, until_it_says_no])
async def test_of_two_thousand_starts_at_once_every_accepted_one_is_carried_out(
    door: Door, outage: Callable[[Door, Answers], Awaitable[None]], capsys: pytest.CaptureFixture[str]
) -> None:
    answers, began = Answers(), time.monotonic()
    async with http(door.url, door.key) as client:
        client.timeout = httpx2.Timeout(SECONDS)
        starts = [asyncio.create_task(start(client, f"t{number}", answers)) for number in range(STARTS)]
        while len(answers.accepted) < STARTS // 8 and not any(task.done() and task.exception() for task in starts):
            await asyncio.sleep(0.01)
        gone = time.monotonic()
        await outage(door, answers)
        away = time.monotonic() - gone
        await asyncio.gather(*starts)
    answered = time.monotonic() - began
    rows = {id: (state, tag, output) for id, state, tag, output in await all_over(door.server.admin_url)}
    wrong = [tag for tag, id in answers.accepted.items() if rows.get(id) != ("succeeded", tag, tag)]
    accepted, refused = len(answers.accepted), sum(answers.refused.values())
    figures = f"{accepted} accepted, {len(wrong)} of them lost, {refused} refused {[*answers.refused]}"
    told(capsys, f"{STARTS} starts at once, Postgres away for {away:.1f} s: {figures}; all answered in {answered:.1f} s")
    assert wrong == []
    assert accepted + refused == STARTS
    assert set(answers.refused) <= {(503, "unavailable")}
    assert {state for state, _, _ in rows.values()} == {"succeeded"}  # also of those whose yes was lost on its way
    assert refused > 0 or outage is for_a_moment
