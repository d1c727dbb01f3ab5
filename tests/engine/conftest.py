"""A running engine over a clone of the migrated database, and short ways to run definitions on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from graphs import runs
from graphs.connections import Connections, MasterKey, Vault
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.runtime import Actor, Runtime
from store import workflows
from store.postgres import Database, Tenant
from store.runs import Run


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: str) -> AsyncGenerator[Evaluator]:
    async with Evaluator() as opened:
        yield opened


@pytest.fixture
def actor(tenant: Tenant, owner: str) -> Actor:
    return Actor(tenant=tenant, user_id=owner, user_name="Olga", role="owner", via="http")


@dataclass(slots=True, kw_only=True)
class House:
    """Runtimes that share a database, as processes of one house do."""

    database: Database
    evaluator: Evaluator
    actor: Actor
    runtime: Runtime = field(init=False)
    master_keys: list[MasterKey] = field(default_factory=lambda: [MasterKey(id="first", key=b"m" * 32)])

    @asynccontextmanager
    async def opened(self, *, serving: bool = True, models: ModelSettings | None = None, **options: Any) -> AsyncGenerator[Runtime]:
        async with AsyncExitStack() as stack:
            outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",))))
            models_ = Models(models or ModelSettings(), outbound)
            variables = {"REGION": "north"}
            connections = Connections(Vault(lambda: self.master_keys), outbound)
            options = {"connections": connections, **options}
            engine = Engine(self.database, self.evaluator, outbound, models_, variables=variables, poll=0.05, **options)
            await stack.enter_async_context(engine)
            if serving:
                await stack.enter_async_context(engine.serving(grace=2.0))
            yield Runtime(
                database=self.database,
                evaluator=self.evaluator,
                outbound=outbound,
                models=models_,
                variables=variables,
                engine=engine,
                connections=connections,
            )

    async def publish(self, definition: dict[str, Any]) -> str:
        made = await workflows.create(
            self.actor.tenant, name=definition["name"], description="", definition=definition, user_id=self.actor.user_id
        )
        await workflows.publish(self.actor.tenant, made.id, user_id=self.actor.user_id)
        return made.name

    async def start(self, definition: dict[str, Any], input: Any = None, *, mode: Any = "production", mocks: Any = None) -> Run:
        return await runs.start_definition(
            self.runtime, self.actor, definition=definition, input=input or {}, mode=mode, mocks=mocks, name=definition["name"]
        )

    async def run(self, definition: dict[str, Any], input: Any = None, *, mode: Any = "production", mocks: Any = None) -> Run:
        """Starts a definition and waits until it is finished or needs somebody."""
        started = await self.start(definition, input, mode=mode, mocks=mocks)
        return await runs.wait(self.runtime, self.actor, started.id, seconds=20)


@pytest.fixture
def house(database: Database, evaluator: Evaluator, actor: Actor) -> House:
    """No engine runs yet: open as many as the test needs."""
    return House(database=database, evaluator=evaluator, actor=actor)


@pytest.fixture
async def running(house: House) -> AsyncGenerator[House]:
    async with house.opened() as runtime:
        house.runtime = runtime
        yield house


def flow(*nodes: dict[str, Any], edges: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A definition; edges as (from, to) or (from, to, {more})."""
    listed: list[dict[str, Any]] = [{"from": edge[0], "to": edge[1], **(edge[2] if len(edge) > 2 else {})} for edge in edges or []]
    return {"name": "flow", "nodes": list(nodes), "edges": listed, **more}


def put(id: str, /, **values: Any) -> dict[str, Any]:
    """A `set` node."""
    return {"id": id, "type": "set", "config": {"values": values or {"at": id}}}


Starter = Callable[..., Any]
