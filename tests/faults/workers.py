"""Workers that die: processes with an engine of their own, killed with SIGKILL at a chosen commit of their journal."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from store.journal import Entry, Journal
from store.postgres import Database

LEASE = timedelta(seconds=1)
When = Literal["before", "after"]
CONTEXT = multiprocessing.get_context("forkserver")  # a clean process that has the imports behind it: forking one takes milliseconds
CONTEXT.set_forkserver_preload(["tests.faults.workers", "graphs.engine", "langgraph.graph"])


class DyingJournal(Journal):
    """Kills its process before or after its n-th commit."""

    fatal: int = 0
    when: When = "before"
    commits: int = 0

    async def _commit(self, batch: list[tuple[Entry, asyncio.Future[bool]]]) -> None:
        self.commits += 1
        if self.commits == self.fatal and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super()._commit(batch)
        if self.commits == self.fatal and self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)


def start(url: str, *, kill_at: int = 0, when: When = "before") -> BaseProcess:
    """Starts a worker; `kill_at` 0 lets it live. The caller ends it."""
    process = CONTEXT.Process(target=_serve, args=(url, kill_at, when), daemon=True)
    process.start()
    return process


def _serve(url: str, kill_at: int, when: When) -> None:
    asyncio.run(_work(url, kill_at, when))


async def _work(url: str, kill_at: int, when: When) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(url, max_connections=4))
        evaluator = await stack.enter_async_context(Evaluator())
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",), allow_nets=("127.0.0.0/8",))))
        options: dict[str, Any] = {"variables": {}, "lease": LEASE, "poll": 0.05}
        engine = Engine(database, evaluator, outbound, Models(ModelSettings(), outbound), **options)
        journal = DyingJournal(database, on_woken=engine.look)
        journal.fatal, journal.when = kill_at, when
        engine.journal = journal
        await stack.enter_async_context(engine)
        await stack.enter_async_context(engine.serving())
        await asyncio.Event().wait()
