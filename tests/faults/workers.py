"""Workers that die: processes with an engine of their own, stopped by a signal at a chosen commit of theirs.

Counted is every transaction of theirs that may write for a run: batches of the journal, and what a driver does beside it (waits that
expire or are dropped, events that are given out). Claims and renewals are not: they go on for ever.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any, ClassVar, Literal

from psycopg import AsyncCursor
from psycopg.rows import AsyncRowFactory
from pydantic import SecretStr

from graphs.expressions import Evaluator
from graphs.models import ModelSettings
from graphs.outbound import Outbound, Policy
from store.listener import Beacon, worker_number
from store.postgres import Database, Tenant, Transaction
from store.queries import Query
from tests.faults.furnishing import furnished

When = Literal["before", "after"]
CONTEXT = multiprocessing.get_context("forkserver")  # a clean process that has the imports behind it: forking one takes milliseconds
CONTEXT.set_forkserver_preload(["tests.faults.preloaded"])
WRITES = re.compile(rb"\b(INSERT INTO|UPDATE|DELETE FROM)\b")
POISON = "return 'poison'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is told. `at` 0 lets it live. `locked`: it holds a session lock, so that others notice its death at once."""

    url: str
    at: int = 0
    when: When = "before"
    signal: int = signal.SIGKILL
    locked: bool = False
    lease: float = 1.0
    slots: int = 64
    model_url: str = ""
    model_key: str = ""
    poisoned: bool = False
    count: Any = field(default=None)  # a shared integer: commits begun


class Failpoint:
    """Counts the commits of this process and ends it at the chosen one."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.commits = 0

    def before(self) -> int:
        """A commit begins; its number is what `after` wants."""
        self.commits += 1
        if self.orders.count is not None:
            self.orders.count.value = self.commits
        self._perhaps("before", self.commits)
        return self.commits

    def after(self, number: int) -> None:
        self._perhaps("after", number)

    def _perhaps(self, when: When, number: int) -> None:
        if (number, when) == (self.orders.at, self.orders.when):
            os.kill(os.getpid(), self.orders.signal)


class DyingDatabase(Database):
    failpoint: ClassVar[Failpoint]  # one per process, like the database

    async def batch(self, statements: Any) -> Any:
        number = self.failpoint.before()
        answers: Any = await super().batch(statements)
        self.failpoint.after(number)
        return answers

    def tenant(self, org_id: str) -> Tenant:
        return DyingTenant(self, org_id)


class DyingTenant(Tenant):
    async def _call(self, query: Query, params: dict[str, Any], factory: AsyncRowFactory[Any]) -> AsyncCursor[Any]:
        if not WRITES.search(query.text):
            return await super()._call(query, params, factory)
        number = DyingDatabase.failpoint.before()
        cursor = await super()._call(query, params, factory)
        DyingDatabase.failpoint.after(number)
        return cursor

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Transaction]:
        async with super()._transaction() as transaction:
            yield transaction
            number = DyingDatabase.failpoint.before()  # COMMIT is what comes next
        DyingDatabase.failpoint.after(number)


def start(orders: Orders) -> BaseProcess:
    """Starts a worker. The caller ends it."""
    process = CONTEXT.Process(target=_serve, args=(orders,), daemon=True)
    process.start()
    return process


def counter() -> Any:
    """An integer that a worker and its starter share."""
    return CONTEXT.RawValue("i", 0)


async def ended(process: BaseProcess, *, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while process.exitcode is None:
            await asyncio.sleep(0.005)


def end(*processes: BaseProcess) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _serve(orders: Orders) -> None:
    if orders.poisoned:
        _poison()
    asyncio.run(_work(orders))


def _poison() -> None:
    """From now on a script that returns 'poison' kills this process."""
    import graphs.nodes.script as node
    from graphs.catalogue import node_types

    run = node.run

    async def fatal(config: Any, context: Any) -> Any:
        if config.code == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return await run(config, context)

    node.run = fatal
    node_types.cache_clear()


async def _work(orders: Orders) -> None:
    DyingDatabase.failpoint = Failpoint(orders)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(DyingDatabase.open(orders.url, max_connections=4))
        evaluator = await stack.enter_async_context(Evaluator())
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",), allow_nets=("127.0.0.0/8",))))
        options: dict[str, Any] = {"lease": timedelta(seconds=orders.lease), "slots": orders.slots}
        house = await stack.enter_async_context(furnished(database, evaluator, outbound, _models(orders), **options))
        engine = house.engine
        number = worker_number()

        def heard(payload: str) -> None:
            engine.look(*payload.split(" ")) if " " in payload else engine.wake()

        if orders.locked:
            beacon = await stack.enter_async_context(Beacon(orders.url, number, on_notify=heard).open())
            assert await beacon.wait_lit(10)
        await stack.enter_async_context(engine)
        await stack.enter_async_context(engine.serving(worker=number if orders.locked else None))
        await asyncio.Event().wait()


def _models(orders: Orders) -> ModelSettings:
    if not orders.model_url:
        return ModelSettings()
    return ModelSettings(default="openai:tiny", openai_api_key=SecretStr(orders.model_key), openai_base_url=orders.model_url + "/v1")
