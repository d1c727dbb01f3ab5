"""The house of the door tests, which also lends its tools to runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.runtime import Runtime
from server.house import OwnTools
from store.listener import Beacon
from store.postgres import Database
from tests.chat.talking import SCRIPTS
from tests.server.conftest import evaluator, house, settings, stranger, url

__all__ = ["evaluator", "house", "settings", "stranger", "url"]

VARIABLES: dict[str, str] = dict.fromkeys(("SHOP_URL", "PAY_URL", "BILLING_URL"), "http://127.0.0.1:9")  # nothing listens there


@asynccontextmanager
async def process(
    database: Database, evaluator: Evaluator, *, models: ModelSettings | None = None, serving: bool = True, listen: str | None = None
) -> AsyncGenerator[Runtime]:
    """What one process of the house holds; with `listen` it hears what the others say."""
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",))))
        models_ = Models(models or ModelSettings(), outbound)
        engine = await stack.enter_async_context(Engine(database, evaluator, outbound, models_, variables=VARIABLES, poll=0.05))
        runtime = Runtime(database=database, evaluator=evaluator, outbound=outbound, models=models_, variables=VARIABLES, engine=engine)
        engine.house = OwnTools(runtime)
        if listen is not None:
            beacon = await stack.enter_async_context(Beacon(listen, on_live=engine.bus.heard).open())
            assert await beacon.wait_lit(10)
            engine.bus.hears = lambda: beacon.lit
        if serving:
            await stack.enter_async_context(engine.serving(grace=2.0))
        yield runtime


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator) -> AsyncGenerator[Runtime]:
    async with process(database, evaluator, models=ModelSettings(scripts=SCRIPTS)) as opened:
        yield opened
