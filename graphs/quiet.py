"""Tasks side by side, and ending them quietly."""

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


async def side_by_side(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order. The first failure cancels the others; raises a BaseExceptionGroup of what failed.

    asyncio.TaskGroup would do, but before Python 3.13 it leaves its caller marked as cancelled once a task has failed, and whoever is
    marked so may not wait any more.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await settle_down(tasks)
    if errors := [error for task in tasks if not task.cancelled() and (error := task.exception())]:
        raise BaseExceptionGroup("tasks side by side", errors)
    return [task.result() for task in tasks]


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
