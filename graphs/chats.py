"""Chats as their people read them: the list, the search, a chat with its branches, and what may be changed of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from graphs import keeping, lending, memories, runs, shipped
from graphs.documents import is_object
from graphs.memories import Access, Wanted
from graphs.memories.embedding import embed
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from memory.embedding import EmbeddingFailed
from store import chats, pages
from store.chats import Chat, Message
from store.errors import Denied, Invalid, NotFound
from store.pages import Page
from store.runs import Run

NOTHING = (
    "The weather is mild today.", "Water boils at a hundred degrees.", "He closed the door and left.", "The book has many pages.",
    "They play music in the evening.",
)  # fmt: skip
NEARER = 0.2  # of the way from there to the same words; with the built-in embedder other words for the same have 0.3 and more
KEEPING = 2.0  # seconds until what was said is kept by whoever heard it, once the run has ended
MISSED = 60.0  # seconds after which a turn whose run never began counts as failed
FREED = lending.ASKED - {"answer_task"}  # tools about which one may be asked no more: questions to people are theirs to answer
NOT_FOUND = "there is no chat {!r} of yours; GET /api/v1/chats, weft://chats/all and /chats in `weft chat` list them"
NO_MESSAGE = "this chat has no message {!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A chat with its whole tree of messages, in the order in which they were said."""

    chat: Chat
    messages: Sequence[Message]


async def get(runtime: Runtime, actor: Actor, chat: str) -> Conversation:
    """Raises NotFound, alike for what is not there and what is somebody else's."""
    found, every = await own(actor, chat), await chats.messages(actor.tenant, actor.user_id, chat)
    return Conversation(chat=found, messages=[await ended(runtime, actor, chat, one.id) if lost(one) else shown(one) for one in every])


def lost(one: Message) -> bool:
    """Whether nothing is kept as yet of a turn that came to no answer: whoever began it is about to, or gone."""
    return one.state == "writing" and one.run_state in keeping.ENDED


async def message(runtime: Runtime, actor: Actor, chat: str, message_id: str) -> Message:
    """Raises NotFound."""
    await own(actor, chat)
    found = await chats.message(actor.tenant, actor.user_id, chat, message_id)
    if found is None:
        raise NotFound(NO_MESSAGE.format(message_id))
    return shown(found)


async def ended(runtime: Runtime, actor: Actor, chat: str, answer_id: str) -> Message:
    """An answer whose run is over, with what was kept of it."""
    await kept(runtime, actor, chat, answer_id)
    return await message(runtime, actor, chat, answer_id)


async def kept(runtime: Runtime, actor: Actor, chat: str, answer_id: str) -> bool:
    """Waits until whoever heard an answer has kept it, and keeps what is recorded of it where they are gone; False where it goes on."""
    deadline = time.monotonic() + KEEPING
    while (found := await chats.message(actor.tenant, actor.user_id, chat, answer_id)) and found.state == "writing":
        if time.monotonic() > deadline:
            if not lost(found) or not found.run_id:
                return False
            await keeping.settle(actor, chat, answer_id, await runs.get(runtime, actor, found.run_id))
            break
        await asyncio.sleep(0.05)
    return True


async def own(actor: Actor, chat: str) -> Chat:
    found = await chats.get(actor.tenant, actor.user_id, chat)
    if found is None:
        raise NotFound(NOT_FOUND.format(chat))
    return found


def chat_of(run: Run) -> str | None:
    """The chat that a run is a turn of; None for every other run."""
    turn = run.workflow == shipped.CHAT and run.private_to is not None and is_object(run.input)
    return str(run.input["chat"]) if turn and {"chat", "message", "answer"} <= run.input.keys() else None


def shown(one: Message) -> Message:
    """A message whose turn has ended without an answer is not "being written"."""
    if one.state != "writing":
        return one
    if one.run_state is None and (datetime.now(UTC) - one.created_at).total_seconds() > MISSED:
        return replace(one, state="failed", error={"code": "not_started", "message": "this turn was never begun; say it again"})
    if one.run_state == "cancelled":
        return replace(one, state="stopped")
    if one.run_state in ("failed", "succeeded"):
        return replace(one, state="failed", error=one.run_error or {"code": "no_answer", "message": "the run gave no answer"})
    return one


async def page(
    runtime: Runtime, actor: Actor, *, search: str | None = None, archived: bool | None = False, limit: int = 20, cursor: str | None = None
) -> Page[Chat]:
    """One's own chats, the one written in last first. `search`: those in which these words were said, and those in which memory finds
    something that answers."""
    at, id = pages.place(cursor, str, str)
    before = None if at is None else (datetime.fromisoformat(str(at)), str(id))
    limit = pages.limited(limit)
    found = await chats.page(actor.tenant, actor.user_id, words=search, archived=archived, before=before, limit=limit)
    more = len(found) > limit
    items = found[:limit]
    if search and not more and before is None:
        items += await _recalled(runtime, actor, search, {one.id for one in items}, archived, limit - len(items))
    cursor = pages.cursor(items[-1].updated_at.isoformat(), items[-1].id) if more else None
    return Page(items=items, next_cursor=cursor, total=len(items))


async def _recalled(runtime: Runtime, actor: Actor, search: str, known: set[str], archived: bool | None, room: int) -> list[Chat]:
    """Chats that say it in other words."""
    if room <= 0 or runtime.embedder is None:
        return []
    access = memories.access(runtime, actor)
    found = await memories.recall(access, Wanted(query=search[:2000], scope="user", kinds=["conversation"], k=20))
    hits = [hit.memory for hit in found.recalled.hits if str(hit.memory.series).startswith("chat:")]
    near = await _near(access, search[:2000], [hit.body[:1000] for hit in hits])
    sessions = [str(hit.series) for hit, close in zip(hits, near, strict=True) if close]
    ids = [id for id in dict.fromkeys(session.removeprefix("chat:") for session in sessions) if id not in known]
    rows = await chats.page(actor.tenant, actor.user_id, among=ids, archived=archived, limit=100) if ids else []
    return sorted(rows, key=lambda one: ids.index(one.id))[:room]


async def _near(access: Access, question: str, texts: Sequence[str]) -> list[bool]:
    """Which texts are about what is asked. Recall finds the best there is, however bad; how alike texts are that have nothing to do with
    one another depends on the embedder, so it is measured against sentences about nothing."""
    try:
        [asked] = await embed(access, [question], query=True)
        vectors = await embed(access, [*NOTHING, *texts])
    except EmbeddingFailed:
        return [False] * len(texts)
    alike = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]
    usual = median(alike[: len(NOTHING)])
    return [one > usual + NEARER * (1 - usual) for one in alike[len(NOTHING) :]]


async def change(
    runtime: Runtime,
    actor: Actor,
    chat: str,
    *,
    title: str | None = None,
    archived: bool | None = None,
    auto_approve: Sequence[str] | None = None,
    head: str | None = None,
) -> Chat:
    """What is None stays. `head`: the branch to go on with, by its last message. `auto_approve`: tools about which one is asked no more in
    this chat; only a person at a door chooses them."""
    only_people(actor)
    for name in auto_approve or ():
        if name not in FREED:
            raise Invalid(f"{name!r} cannot be allowed once and for all. " + nearest(name, sorted(FREED), "These can"))
    if head is not None:
        await message(runtime, actor, chat, head)
    await own(actor, chat)
    await chats.change(actor.tenant, actor.user_id, chat, title=title, archived=archived, auto_approve=auto_approve, head=head)
    return await own(actor, chat)


def only_people(actor: Actor) -> None:
    """Raises Denied."""
    if actor.depth:
        raise Denied("a run cannot chat: only a person can.")
