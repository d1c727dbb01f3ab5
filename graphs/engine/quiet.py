"""Ending tasks quietly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def settle_down(given: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended; what they raise is of no interest any more. Who is cancelled once more meanwhile
    passes that on and still waits: what is left behind would go on beside whatever comes next."""
    tasks = list(given)
    again: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            again = error
            for task in left:
                task.cancel()
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if again:
        raise again


async def unbroken(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """The value of work that is done to its end, and whether whoever waits for it was cancelled meanwhile, which they must see to."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled
