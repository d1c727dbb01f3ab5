"""Ending things of a chat: an answer that is being written is stopped and kept, a chat is deleted with all that came of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from graphs import chats, memories, runs, steering
from graphs.chats import NOT_FOUND, only_people, shown
from graphs.keeping import said_so_far
from graphs.memories import Selection
from graphs.runs import FINISHED
from graphs.runtime import Actor, Runtime
from graphs.turns import spoken
from store import chats as chat_rows
from store.chats import Message
from store.errors import Conflict, NotFound

NOTHING = "nothing is being written in this chat just now"
STOPPING = 10.0  # seconds that a stop waits for the run to end


async def stop(runtime: Runtime, actor: Actor, chat: str) -> Message:
    """Cancels the turn under way and keeps what was said. Raises Conflict where there is none, or it is just about to begin."""
    found = await chats.own(actor, chat)
    writing = await chat_rows.message(actor.tenant, actor.user_id, chat, found.head) if found.head else None
    if writing is None:
        raise Conflict(NOTHING)
    return await _stop(runtime, actor, chat, writing)


async def _stop(runtime: Runtime, actor: Actor, chat: str, writing: Message) -> Message:
    if writing.run_id is None or shown(writing).state != "writing":
        raise Conflict(NOTHING)
    if writing.run_state is None:
        raise Conflict("the answer begins just now; repeat the call in a moment")
    with suppress(Conflict):  # it has come to its end meanwhile
        await steering.control(runtime, actor, writing.run_id, "cancel")
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline:
        if (await runs.wait(runtime, actor, writing.run_id, seconds=1.0)).state in FINISHED:
            break
        await asyncio.sleep(0.05)
    if not await chats.kept(runtime, actor, chat, writing.id):  # whoever began the turn is gone
        text = await said_so_far(actor, writing.run_id)
        content = spoken(text) if text else []
        await chat_rows.settle(actor.tenant, actor.user_id, chat, writing.id, state="stopped", text=text, content=content)
    return await chats.message(runtime, actor, chat, writing.id)


async def _stopped(runtime: Runtime, actor: Actor, chat: str, writing: Message) -> None:
    with suppress(Conflict, NotFound):  # it has ended, or never begun
        await _stop(runtime, actor, chat, writing)


async def delete(runtime: Runtime, actor: Actor, chat: str) -> None:
    """With all its messages, with what was remembered of it, and with its runs and what repeats them: no word of it stays."""
    only_people(actor)
    await chats.own(actor, chat)
    every = await chat_rows.messages(actor.tenant, actor.user_id, chat)
    await asyncio.gather(*(_stopped(runtime, actor, chat, one) for one in every if one.state == "writing"))
    await memories.forget(memories.access(runtime, actor), Selection(source=f"chat {chat}"), reason="a chat was deleted")
    async with actor.tenant.transaction() as transaction:
        await chat_rows.drop_runs(transaction, actor.user_id, chat)
        if not await chat_rows.delete(transaction, actor.user_id, chat):
            raise NotFound(NOT_FOUND.format(chat))
