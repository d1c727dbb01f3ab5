"""What the checks of the pages need besides the pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from graphs.expressions import Evaluator


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: str) -> AsyncGenerator[Evaluator]:
    async with Evaluator() as opened:
        yield opened
