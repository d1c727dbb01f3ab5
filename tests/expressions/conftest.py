"""One evaluator per test module: starting a worker costs more than most tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from graphs.expressions import Evaluator
from graphs.expressions.sandbox import Limits


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: str) -> AsyncIterator[Evaluator]:
    async with Evaluator(script_limits=Limits(seconds=0.7, memory=64 * 2**20)) as evaluator:
        yield evaluator
