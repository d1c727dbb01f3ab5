"""Behind PgBouncer in transaction mode: approvals, timers, events, dying workers, a pooler that dies; and what the house does about it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from graphs import authoring, runs, signals, tasks
from graphs.engine.dispatch import LEASE
from graphs.expressions import Evaluator
from graphs.runtime import Actor, Runtime
from server.process import house as whole_house
from server.process import local_owner
from server.settings import Settings
from store.embedded import Embedded, embedded
from store.postgres import Database
from store.runs import Run
from tests.conftest import Server
from tests.engine.conftest import House, flow, put
from tests.faults import workers
from tests.faults.pgbouncer import SERVERS, Pooler, pgbouncer

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300), pytest.mark.promise("P9")]
SECONDS = 60.0  # for any one change of a run
RUNS = 24
DEFINITION = flow(
    put("begin"),
    {"id": "ok", "type": "approval", "config": {"title": "Ship {{ input.order }}?"}},
    {"id": "rest", "type": "wait", "config": {"seconds": 0.2}},
    {"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "{{ input.order }}"}},
    {"id": "each", "type": "foreach", "config": {"items": [1, 2, 3], "body": {"nodes": [put("n", n="{{ item }}")]}}},
    edges=[("begin", "ok"), ("ok", "rest", {"when": "nodes.ok.approved"}), ("rest", "paid"), ("paid", "each")],
    output={"sum": "{{ nodes.paid.payload.sum }}", "items": "{{ [item.n for item in nodes.each.items] }}"},
)


@pytest.fixture
async def pooler(server: Server) -> AsyncGenerator[Pooler]:
    async with pgbouncer(server.postgres) as opened:
        yield opened


@pytest.fixture
async def pooled(pooler: Pooler, database_name: str, evaluator: Evaluator, actor: Actor) -> AsyncGenerator[House]:
    """A house whose every connection goes through the pooler."""
    async with Database.open(pooler.url(database_name), max_connections=8) as database:
        owner = Actor(tenant=database.tenant(actor.tenant.org_id), user_id=actor.user_id, user_name="Olga", role="owner", via="http")
        yield House(database=database, evaluator=evaluator, actor=owner)


async def waiting(runtime: Runtime, actor: Actor, run_id: str, kind: str) -> Run:
    """The run once it waits for a person ("task") or an event; fails when it is over instead."""
    async with asyncio.timeout(SECONDS):
        while True:
            run = await runs.wait(runtime, actor, run_id, seconds=5)
            if any(wait["kind"] == kind for wait in run.waiting_for):
                return run
            assert run.state in ("queued", "running", "waiting"), run.error
            await asyncio.sleep(0.02)


async def carried_through(runtime: Runtime, actor: Actor, run: Run) -> Run:
    """Answers the approval, sends the event, and gives back the run at its end."""
    asked = await waiting(runtime, actor, run.id, "task")
    await tasks.answer(runtime, actor, asked.waiting_for[0]["task_id"], {"approved": True})
    await waiting(runtime, actor, run.id, "event")
    await signals.send(runtime, actor, name="paid", correlation=run.input["order"], payload={"sum": 5})
    async with asyncio.timeout(SECONDS):
        while (run := await runs.wait(runtime, actor, run.id, seconds=5)).state in ("queued", "running", "waiting"):
            await asyncio.sleep(0.02)
    return run


def assert_whole(run: Run) -> None:
    assert (run.state, run.output) == ("succeeded", {"sum": 5, "items": [1, 2, 3]}), run.error


async def test_a_pooler_is_told_from_postgres_itself(pooled: House, database: Database) -> None:
    assert (pooled.database.pooled, database.pooled) == (True, False)


async def test_runs_of_two_workers_go_through_a_pool_that_they_share(
    pooled: House, pooler: Pooler, capsys: pytest.CaptureFixture[str]
) -> None:
    """A door that drives nothing and two workers; what one process does, the others find by looking."""
    async with AsyncExitStack() as stack:
        pooled.runtime = door = await stack.enter_async_context(pooled.opened(serving=False))
        for _ in range(2):
            await stack.enter_async_context(pooled.opened())
        started = [await pooled.start(DEFINITION, {"order": f"A-{number}"}) for number in range(RUNS)]
        done = await asyncio.gather(*(carried_through(door, pooled.actor, run) for run in started))
        clients, servers = await pooler.connections()
    for run in done:
        assert_whole(run)
    with capsys.disabled():
        print(f"\n{RUNS} runs, each with an approval, a timer and an event: {clients} clients shared {servers} connections to Postgres")
    assert servers <= SERVERS < clients


async def test_a_worker_that_dies_behind_the_pooler_is_replaced_when_its_lease_runs_out(
    pooled: House, pooler: Pooler, database_name: str
) -> None:
    async with pooled.opened(serving=False) as pooled.runtime:
        run = await pooled.start(DEFINITION, {"order": "B"})
        doomed = workers.start(workers.Orders(url=pooler.url(database_name), at=2))
        async with asyncio.timeout(SECONDS):
            while doomed.exitcode is None:
                await asyncio.sleep(0.02)
        heir = workers.start(workers.Orders(url=pooler.url(database_name)))
        try:
            assert_whole(await carried_through(pooled.runtime, pooled.actor, run))
        finally:
            heir.kill()
            heir.join()


async def test_a_pooler_that_is_killed_and_comes_back_loses_nothing(pooled: House, pooler: Pooler) -> None:
    async with pooled.opened() as runtime:
        pooled.runtime = runtime
        started = [await pooled.start(DEFINITION, {"order": f"C-{number}"}) for number in range(4)]
        await waiting(runtime, pooled.actor, started[0].id, "task")
        await pooler.kill()
        await pooler.start()
        for run in await asyncio.gather(*(carried_through(runtime, pooled.actor, run) for run in started)):
            assert_whole(run)


# -- the whole house, which decides by itself what it can rely on --------------------------------------------------------------------


@pytest.fixture(scope="module")
async def durable(anyio_backend: str) -> AsyncGenerator[Embedded]:
    """A Postgres that the house accepts: that of the other tests has fsync off."""
    folder = Path(tempfile.mkdtemp(prefix="weft-pooler-"))
    try:
        async with embedded(folder / "postgres", folder / "keys.json") as postgres:
            yield postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settings(postgres: Embedded, pooler: Pooler, folder: Path, **chosen: Any) -> Settings:
    return Settings(
        data_dir=folder,
        database_url=SecretStr(pooler.url("weft")),
        admin_database_url=SecretStr(postgres.admin_url),
        auto_migrate=True,
        **chosen,
    )


@pytest.mark.parametrize("listening", ["through the pooler", "past the pooler"])
async def test_the_house_notices_the_pooler_and_drives_runs_all_the_same(
    durable: Embedded, tmp_path: Path, listening: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the pooler it may not rely on a lock or on notifications, and says so; with an address past it, it has both."""
    past = listening == "past the pooler"
    async with pgbouncer(durable) as pooler, AsyncExitStack() as stack:
        chosen = settings(durable, pooler, tmp_path, **({"listen_database_url": SecretStr(durable.app_url)} if past else {}))
        caplog.set_level(logging.WARNING)
        door = await stack.enter_async_context(whole_house(chosen))
        worker = await stack.enter_async_context(whole_house(chosen, drive=True))
        assert ("WEFT_LISTEN_DATABASE_URL" in caplog.text) is not past
        assert (worker.engine.worker > 0) is past
        owner = await local_owner(door.database)
        workflow, report = await authoring.create(door, owner, {**DEFINITION, "name": f"pooled-{'past' if past else 'through'}"})
        assert workflow is not None, report
        await authoring.publish(door, owner, workflow.name)
        run = await runs.start(door, owner, workflow=workflow.name, input={"order": f"D-{past}"})
        async with asyncio.timeout(LEASE.total_seconds() * 3):
            assert_whole(await carried_through(door, owner, run))
