"""Watching a run: its events as they are recorded, and between them what it shows live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from graphs import runs
from graphs.live import Shown
from graphs.runtime import Actor, Runtime
from store.errors import WeftError
from store.events import Event

DEAF = "nothing live of runs that other processes drive is heard here: a pooler is in between, and WEFT_LISTEN_DATABASE_URL is not set"

ROOM = 1_000  # events that a watcher has not taken yet: the next ones are read when it has


async def along(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0) -> AsyncIterator[Event | Shown]:
    """Events and what is shown, as they come; ends when the run is finished and all events have been told. Raises NotFound."""
    await runs.get(runtime, actor, run_id)
    bus = runtime.engine.bus
    async with bus.watch(actor.tenant, run_id) as watch:
        if bus.deaf(actor.tenant, run_id):
            yield Shown(position="", name="deaf", data={"message": DEAF})
        queue: asyncio.Queue[Event | Shown | None] = watch.queue
        room = asyncio.Semaphore(ROOM)
        telling = asyncio.create_task(_tell(runtime, actor, run_id, after, queue, room))
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, Event):
                    room.release()
                yield item
            await telling
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError, WeftError):
                await telling


async def _tell(
    runtime: Runtime, actor: Actor, run_id: str, after: int, queue: asyncio.Queue[Event | Shown | None], room: asyncio.Semaphore
) -> None:
    try:
        async for event in runs.follow(runtime, actor, run_id, after=after):
            await room.acquire()
            queue.put_nowait(event)
    finally:
        queue.put_nowait(None)
