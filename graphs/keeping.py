"""Staying with a turn of a chat until its run has ended, and keeping what was said when that gave no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from graphs import runs
from graphs.documents import is_object
from graphs.following import TURN
from graphs.live import Shown, Watch, so_far
from graphs.runs import FINISHED, Run
from graphs.runtime import Actor, Runtime
from graphs.turns import spoken
from store import chats, node_runs
from store.errors import NotFound, WeftError

LOOK = (1.0, 5.0)  # seconds between looks at a turn that goes on, and at one that waits for a person
ENDED = {"failed": "failed", "cancelled": "stopped"}  # without an answer


async def keep(runtime: Runtime, actor: Actor, chat_id: str, answer_id: str, run_id: str) -> None:
    """Stays with a turn until its run has ended, and when that gave no answer, keeps what was said by then with the reason."""
    spoken_by: dict[str, str] = {}
    async with runtime.engine.bus.watch(actor.tenant, run_id) as watch:
        while run := await over(runtime, actor, run_id, lambda: _fold(watch, spoken_by)):
            with suppress(WeftError):  # what is shown live has been redacted by who drives the run
                return await settle(actor, chat_id, answer_id, run, spoken_by)
            await asyncio.sleep(LOOK[0])  # Postgres is away


async def settle(actor: Actor, chat_id: str, answer_id: str, run: Run, heard: Mapping[str, str] | None = None) -> None:
    """Keeps what was said in a turn whose run has ended without an answer. Nothing is done where that is kept, or it goes on."""
    state = ENDED.get(run.state)
    if state is None:
        return
    text = await said_so_far(actor, run.id, heard)
    error, content = run.error if state == "failed" else None, spoken(text) if text else []
    await chats.settle(actor.tenant, actor.user_id, chat_id, answer_id, state=state, text=text, content=content, error=error)


async def over(runtime: Runtime, actor: Actor, run_id: str, looked: Callable[[], None] | None = None) -> Run | None:
    """The run once it has ended; None when it is there no more, since its chat was deleted. `looked`: called at every look."""
    async with runtime.engine.watching(run_id) as changed:
        while True:
            changed.clear()
            waits = False
            with suppress(WeftError):  # Postgres is away
                try:
                    run = await runs.get(runtime, actor, run_id)
                except NotFound:
                    return None
                if looked is not None:
                    looked()
                if run.state in FINISHED:
                    return run
                waits = run.state == "waiting"
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK[waits]):
                    await changed.wait()


def _fold(watch: Watch, spoken_by: dict[str, str]) -> None:
    while not watch.queue.empty():
        shown: Shown = watch.queue.get_nowait()
        data: Any = shown.data
        if shown.name == "text" and TURN.fullmatch(shown.position):
            spoken_by[shown.position] = so_far(spoken_by.get(shown.position, ""), data)


async def said_so_far(actor: Actor, run_id: str, heard: Mapping[str, str] | None = None) -> str:
    """What the assistant had said when its turn broke off: what is recorded, and what was heard of the rest."""
    texts = dict(heard or {})
    for row in await node_runs.latest(actor.tenant, run_id):
        if TURN.fullmatch(row.position) and is_object(row.output) and isinstance(text := row.output.get("text"), str):
            texts[row.position] = text
    return "\n\n".join(texts[position] for position in sorted(texts, key=_place) if texts[position].strip())


def _place(position: str) -> tuple[int, str]:
    found = TURN.fullmatch(position)
    return (int(found[2]), "") if found and found[2] else (10**6, position)
