"""Agents in a running house, with a model on loopback that says what a test wants, and a world outside that counts what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from graphs import runs, tasks
from graphs.definition import Json
from store.runs import Run
from tests.engine.conftest import House, actor, evaluator, flow, house
from tests.faults.ledger import Ledger, ledger
from tests.models.loopback import ModelServer, Turn, model_server

__all__ = ["actor", "evaluator", "house"]


@pytest.fixture
def models() -> Generator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
async def book(anyio_backend: str) -> AsyncGenerator[Ledger]:
    async with ledger() as opened:
        yield opened


@pytest.fixture
async def working(house: House, models: ModelServer) -> AsyncGenerator[House]:
    async with house.opened(models=models.openai()) as runtime:
        house.runtime = runtime
        yield house


def agent(*tools: dict[str, Any], **config: Any) -> dict[str, Any]:
    """A workflow of one agent."""
    offered = {"tools": list(tools)} if tools else {}
    return flow({"id": "a", "type": "agent", "config": {"prompt": "Do the work.", **offered, **config}})


def post(book: Ledger, name: str = "pay", **more: Any) -> dict[str, Any]:
    """A tool that does something in the world which must not be done twice. The ledger's tag is the name of the test."""
    return {"node": "http", "name": name, "config": {"method": "POST", "url": f"http://127.0.0.1:{book.port}/t/{name}"}, **more}


def calls(*made: tuple[str, dict[str, Any]]) -> Turn:
    return Turn(text="", calls=made)


def results(models: ModelServer) -> list[str]:
    """What the model was told of its calls, all of them, as of its last turn."""
    return [str(message["content"]) for message in models.asked[-1]["messages"] if message["role"] == "tool"]


async def until(house: House, run_id: str, state: str) -> Run:
    async with asyncio.timeout(20):
        while (run := await runs.wait(house.runtime, house.actor, run_id, seconds=5)).state != state:
            await asyncio.sleep(0)
    return run


async def answer(house: House, run_id: str, given: Json, *, at: str | None = None) -> None:
    open = (await tasks.page(house.runtime, house.actor, run_id=run_id)).items
    (task,) = [task for task in open if at in (None, task.position)]
    await tasks.answer(house.runtime, house.actor, task.id, given)


async def rows(house: House, run_id: str) -> dict[str, tuple[str, str]]:
    """Position -> type and state."""
    trace = await runs.trace(house.runtime, house.actor, run_id)
    return {row.position: (row.node_type, row.state) for row in trace}
