"""Ending tasks quietly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


async def settle_down(given: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended; what they raise is of no interest any more."""
    tasks = list(given)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
