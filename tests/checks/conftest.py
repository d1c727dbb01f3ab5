"""One evaluator per test module; the checks use it to compile, never to evaluate."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from graphs.expressions import Evaluator


@pytest.fixture(scope="module")
async def evaluator() -> AsyncIterator[Evaluator]:
    async with Evaluator() as evaluator:
        yield evaluator
