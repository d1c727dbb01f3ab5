"""The durable executors that Weft is measured against, each as its documentation shows it: ten steps, every one committed."""

# pyright: reportUnknownMemberType=false
# (LangGraph leaves type parameters of its own open)
from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from dbos import DBOS
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

STEPS = 10
Run = Callable[[], Awaitable[None]]


class State(TypedDict, total=False):
    v: dict[str, int]


@asynccontextmanager
async def stock(url: str) -> AsyncGenerator[Run]:
    """LangGraph: a node per step, the stock saver on a pool, durability "sync"."""
    options: dict[str, Any] = {"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0}
    async with AsyncConnectionPool(url, kwargs=options, max_size=20) as pool:
        saver = AsyncPostgresSaver(pool)  # pyright: ignore[reportArgumentType]
        await saver.setup()
        builder = StateGraph(State)

        async def step(state: State) -> State:
            return {"v": {"n": (state.get("v") or {"n": 0})["n"] + 1}}

        for number in range(STEPS):
            builder.add_node(f"s{number}", step)
            builder.add_edge(START if number == 0 else f"s{number - 1}", f"s{number}")
        builder.add_edge(f"s{STEPS - 1}", END)
        graph = builder.compile(checkpointer=saver)

        async def run() -> None:
            done = await graph.ainvoke({"v": {"n": 0}}, {"configurable": {"thread_id": str(uuid.uuid4())}}, durability="sync")
            assert done["v"]["n"] == STEPS

        yield run


@DBOS.step()
async def _step(value: int) -> int:
    return value + 1


@DBOS.workflow()
async def _ten(value: int) -> int:
    for _ in range(STEPS):
        value = await _step(value)
    return value


@asynccontextmanager
async def dbos(url: str) -> AsyncGenerator[Run]:
    """DBOS: an async workflow of async steps."""
    DBOS(config={"name": "bench", "system_database_url": url, "sys_db_pool_size": 20, "log_level": "ERROR"})
    DBOS.launch()

    async def run() -> None:
        assert await _ten(0) == STEPS

    try:
        yield run
    finally:
        DBOS.destroy()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())  # it had put its own there, which is closed now
