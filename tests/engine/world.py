"""The real side of the state machine: two workers on one Postgres, each a real engine without its loops, so that things happen one by one.

The clock is moved by moving all that is stored the other way, which no statement can tell from a clock that jumps. What lasts is a script
whose end the test decides (`Gates`). A worker dies with everything it had not committed, its session lock included.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import psycopg

from graphs import runs, signals, steering, tasks
from graphs.definition import Json
from graphs.engine import Engine
from graphs.engine.upkeep import Upkeep
from graphs.expressions import Evaluator, ExpressionError, Template
from graphs.runtime import Actor, Runtime
from store import identities
from store import runs as run_rows
from store.postgres import Database
from tests.conftest import Server
from tests.engine.model import LEASE, TIMER, ModelRun, Step

KINDS: dict[str, dict[str, Any]] = {
    "work": {"type": "script", "config": {}},
    "ask": {"type": "approval", "config": {"title": "?"}},
    "hear": {"type": "wait_event", "config": {}},
    "time": {"type": "wait", "config": {"seconds": TIMER}},
}
SHIFT = """
WITH by AS (SELECT make_interval(secs => %(by)s) AS d),
  runs AS (UPDATE weft.runs SET lease_until = lease_until - d, wake_at = wake_at - d, created_at = created_at - d FROM by),
  waits AS (UPDATE weft.waits SET due_at = due_at - d, created_at = created_at - d FROM by),
  steps AS (UPDATE weft.node_runs SET started_at = started_at - d, retry_at = retry_at - d FROM by)
UPDATE weft.received_events SET received_at = received_at - d FROM by"""
LOOK = """
SELECT r.id::text, r.state, r.request, r.fence, r.signal, r.worker, r.wake_at IS NOT NULL,
  (SELECT coalesce(json_object_agg(n.position, json_build_array(n.attempt, n.state)), '{}') FROM (
     SELECT DISTINCT ON (position) position, attempt, state FROM weft.node_runs WHERE run_id = r.id AND node_type <> 'parallel'
     ORDER BY position, attempt DESC) n),
  (SELECT coalesce(json_object_agg(w.position, w.state), '{}') FROM weft.waits w WHERE w.run_id = r.id)
FROM weft.runs r"""
TWICE = "SELECT run_id, position, count(*) FROM weft.events WHERE type = 'step.succeeded' GROUP BY 1, 2 HAVING count(*) > 1"
FORGET = "; ".join(f"DELETE FROM weft.{table}" for table in ("runs", "node_runs", "events", "checkpoints", "received_events"))
LOCKED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = %s"


class Gates:
    """Stands in for the sandbox: a script lasts until it is let go, and then succeeds or fails."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], asyncio.Future[bool]] = {}  # run and step -> its end

    async def script(self, code: str, scope: Mapping[str, Json]) -> Json:
        key = (scope["run"]["id"], code.split("'")[1])
        self.open[key] = mine = asyncio.get_running_loop().create_future()
        try:
            if not await mine:
                raise ExpressionError("it was told to fail")
        finally:
            if self.open.get(key) is mine:
                del self.open[key]

    async def render(self, template: Template, scope: Mapping[str, Json]) -> Json:
        return template.resolve(scope)

    async def syntax(self, expressions: Iterable[str], scripts: Iterable[str] = ()) -> dict[str, str]:
        return {}


@dataclass(slots=True)
class Worker:
    number: int
    engine: Engine
    gates: Gates
    lock: psycopg.Connection | None  # None: only its leases count


def definition(branches: list[list[Step]], nested: bool) -> dict[str, Any]:
    bodies: dict[str, Any] = {}
    for number, branch in enumerate(branches):
        ids = [step.id for step in branch]
        nodes = [{"id": id, **KINDS[step.kind]} for id, step in zip(ids, branch, strict=True)]
        for node in nodes:
            own = {"script": {"code": f"return '{node['id']}'"}, "wait_event": {"event": node["id"]}}
            node["config"] = own.get(node["type"], node["config"])
        bodies[f"b{number}"] = {"nodes": nodes, "edges": [{"from": a, "to": b} for a, b in itertools.pairwise(ids)]}
    if nested:
        return {"name": "machine", "nodes": [{"id": "par", "type": "parallel", "config": {"branches": bodies}}], "edges": []}
    parts = bodies.values()
    return {"name": "machine", "nodes": [n for body in parts for n in body["nodes"]], "edges": [e for body in parts for e in body["edges"]]}


@dataclass(slots=True)
class World:
    database: Database
    admin: psycopg.Connection
    actor: Actor
    url: str
    door: Runtime
    stack: AsyncExitStack
    workers: list[Worker] = field(default_factory=list[Worker])
    numbers: int = 1000

    # -- workers -----------------------------------------------------------------------------------------------------------------

    async def hire(self, place: int, *, locked: bool) -> None:
        """A new worker in a place of the house."""
        self.numbers += 1
        gates = Gates()
        engine = Engine(
            self.database, cast(Evaluator, gates), cast(Any, None), cast(Any, None), variables={}, lease=timedelta(seconds=LEASE)
        )
        await engine.__aenter__()
        lock = psycopg.connect(self.url, autocommit=True) if locked else None
        if lock:
            lock.execute("SELECT pg_advisory_lock(%s)", (self.numbers,))
        engine.worker = self.numbers if locked else -self.numbers
        self.workers[place : place + 1] = [Worker(engine.worker, engine, gates, lock)]

    async def kill(self, place: int) -> None:
        """It stops where it is: nothing it has not committed is written, nothing is handed back, and its lock goes with its session."""
        worker = self.workers[place]
        driving = list(worker.engine.driving.values())
        for drive, task in driving:
            if drive:
                drive.unloading = True
            task.cancel()
        await worker.engine.__aexit__()
        if driving:
            await asyncio.wait([task for _, task in driving])
        if worker.lock:
            worker.lock.close()
            async with asyncio.timeout(10):
                while self.admin.execute(LOCKED, (worker.number,)).fetchone() != (0,):
                    await asyncio.sleep(0.001)

    def settled_in(self) -> bool:
        """Whether Postgres has run for a lease: before that nobody counts as dead for want of a lock."""
        lease = self.workers[0].engine.lease
        return self.admin.execute("SELECT clock_timestamp() > pg_postmaster_start_time() + %s", (lease,)).fetchone() == (True,)

    async def claim(self, place: int) -> None:
        worker = self.workers[place]
        for claimed in await run_rows.claim(self.database, slots=10, worker=worker.number, lease=worker.engine.lease):
            worker.engine._begin(claimed, None)  # pyright: ignore[reportPrivateUsage]

    async def renew(self, place: int) -> None:
        """What the engine's own loop does from time to time."""
        await Upkeep(self.workers[place].engine)._renew()  # pyright: ignore[reportPrivateUsage]

    # -- what happens ------------------------------------------------------------------------------------------------------------

    async def start(self, branches: list[list[Step]], nested: bool) -> str:
        given = definition(branches, nested)
        run = await runs.start_definition(self.door, self.actor, definition=given, input={}, mode="production", mocks=None, name="machine")
        return run.id

    async def answer(self, run_id: str, place: str) -> None:
        page = await tasks.page(self.door, self.actor, run_id=run_id)
        task = next(task for task in page.items if task.position == place)
        await tasks.answer(self.door, self.actor, task.id, {"approved": True})

    async def send(self, name: str) -> None:
        await signals.send(self.door, self.actor, name=name)

    async def control(self, run_id: str, action: Any) -> None:
        await steering.control(self.door, self.actor, run_id, action)

    def jump(self, seconds: int) -> None:
        """The clock of the database jumps. What drivers took from it before does not."""
        self.admin.execute(SHIFT, {"by": seconds})
        by = timedelta(seconds=seconds)
        for worker in self.workers:
            for drive, _ in worker.engine.driving.values():
                if drive:
                    stamp, mark = drive.clock
                    drive.clock = (stamp - by, mark)
                    for held in drive.waits.values():
                        held.due_at = held.due_at - by if held.due_at else None
                    drive.holds = {place: replace(hold, due=hold.due - by if hold.due else None) for place, hold in drive.holds.items()}

    # -- what there is -----------------------------------------------------------------------------------------------------------

    def told(self) -> dict[str, dict[str, object]]:
        """Every run as it is in the database, in the words of the model."""
        names = ("state", "request", "fence", "signal", "worker", "wakes")
        found: dict[str, dict[str, object]] = {}
        for id, *values, steps, waits in self.admin.execute(LOOK).fetchall():
            rows = {position: tuple(row) for position, row in steps.items()}
            found[id] = {**dict(zip(names, values, strict=True)), "steps": rows, "waits": waits}
        return found

    def working(self, worker: int, run_id: str) -> set[str]:
        """Work under way there."""
        return {key[1] for each in self.workers if each.number == worker for key in each.gates.open if key[0] == run_id}

    async def settles(self, models: dict[str, ModelRun], patience: float) -> list[str]:
        """Waits until everything is as the models say. What is not, in the end."""
        end = asyncio.get_running_loop().time() + patience
        while problems := self.differences(models):
            if asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.001)
        return problems

    def differences(self, models: dict[str, ModelRun]) -> list[str]:
        there = self.told()
        found: list[str] = []
        for id, model in models.items():
            told = model.told()
            found += [f"{name}: {there[id][name]!r}, not {right!r}" for name, right in told.items() if there[id][name] != right]
            drive = self.drive(model.fence, id)
            if model.driver is None:
                found += ["its driver has not let go of it"] if drive else []
            elif drive is None or drive.poked.is_set() or (drive.signal, drive.request) != (model.driver.signal, model.driver.request):
                found.append("its driver does not know what it should")
            elif (there_now := self.working(model.driver.worker, id)) != model.working():
                found.append(f"under way: {there_now}, not {model.working()}")
        return found

    def drive(self, fence: int, run_id: str) -> Any:
        """The drive under this fence, if it is there."""
        found = [worker.engine.driving.get(run_id, (None, None))[0] for worker in self.workers]
        return next((drive for drive in found if drive and drive.claimed.fence == fence), None)

    async def close(self) -> None:
        for place in range(len(self.workers)):
            await self.kill(place)
        self.workers.clear()
        self.admin.execute(FORGET)


@asynccontextmanager
async def world(server: Server, name: str) -> AsyncGenerator[World]:
    """A house with a door and no worker yet, over the database of that name."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(server.app_url(name), max_connections=6))
        tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
        owner = (await identities.create_user(tenant, name="Olga", role="owner")).id
        actor = Actor(tenant=tenant, user_id=owner, user_name="Olga", role="owner", via="http")
        engine = Engine(database, cast(Evaluator, Gates()), cast(Any, None), cast(Any, None), variables={})
        door = Runtime(
            database=database, evaluator=engine.evaluator, outbound=engine.outbound, models=engine.models, variables={}, engine=engine
        )
        admin = stack.enter_context(psycopg.connect(server.admin_url(name), autocommit=True))
        yield World(database, admin, actor, server.app_url(name), door, stack)
