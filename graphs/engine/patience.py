"""Patience with a database that is away for a while: a run under way reads on when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from store.errors import Unavailable

PATIENCE = 300.0  # seconds; as long as the journal holds on to what it has to write
LONGEST = 1.0

T = TypeVar("T")


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Tries again while Postgres does not answer. For what may be done twice. Raises Unavailable after five minutes."""
    end = asyncio.get_running_loop().time() + PATIENCE
    delay = 0.05
    while True:
        try:
            return await read()
        except Unavailable:
            if asyncio.get_running_loop().time() + delay > end:
                raise
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST)
