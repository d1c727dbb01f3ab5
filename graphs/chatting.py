"""Operations on chats: say something, stop, edit, read, search. A turn is a run of the shipped workflow `chat`, as the person."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from graphs import attachments as files
from graphs import lending, memories, runs, shipped, steering, tasks
from graphs.attachments import plain
from graphs.definition import Json
from graphs.following import keep, said_so_far
from graphs.memories import Selection, Wanted
from graphs.models import SCRIPTED, vendors
from graphs.nodetype import Effect
from graphs.pinning import nearest
from graphs.runs import FINISHED
from graphs.runtime import Actor, Runtime
from graphs.turns import spoken
from store import chats, pages
from store.chats import MAX_MESSAGES, Chat, Message, NewMessage
from store.errors import Conflict, Denied, Invalid, NotFound, Unavailable, WeftError
from store.ids import new_id
from store.pages import Page
from store.postgres import Session
from store.tasks import Task

WORKFLOW = "chat"
ASSISTANT = "assistant"  # its node that works with tools
MAX_TEXT = 100_000  # characters of a message
MAX_TITLE = 80
MAX_TURNS = 4  # under way at a time in one chat, on branches of it
STOPPING = 10.0  # seconds that a stop waits for the run to end
KEEPING = 2.0  # and then for what was said to be kept by whoever heard it
MISSED = 60.0  # seconds after which a turn whose run never began counts as failed
NOT_FOUND = "there is no chat {!r} of yours; GET /api/v1/chats lists them"
NO_MESSAGE = "this chat has no message {!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of the person, the answer to it, and the run that writes that."""

    chat: str
    message: str
    answer: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A chat with its whole tree of messages, in the order in which they were said."""

    chat: Chat
    messages: Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person says: words, files, and if they choose one the model that answers."""

    text: str
    attachments: Sequence[Mapping[str, Any]] = ()
    model: str | None = None


# -- saying something ------------------------------------------------------------------------------------------------------------


async def send(runtime: Runtime, actor: Actor, said: Said, *, chat: str | None = None, parent: str | None = None) -> Turn:
    """Begins a chat, or goes on with one: behind its last message, or behind `parent`, an answer. Acknowledged means kept. Raises NotFound,
    Conflict while the last answer is still being written, Invalid."""
    _only_people(actor)
    _check_model(said.model)
    text, content = await _content(said)
    turn = Turn(chat=chat or new_id(), message=new_id(), answer=new_id(), run_id=new_id())
    async with actor.tenant.transaction() as transaction:
        if chat is None:
            await chats.create(transaction, turn.chat, user_id=actor.user_id, title=_title(text, content))
        else:
            parent = await _parent(transaction, actor, chat, parent)
        asked = NewMessage(id=turn.message, parent_id=parent, role="user", content=content, text=text)
        await _add(transaction, turn, asked)
    return await _begin(runtime, actor, turn, said.model)


async def edit(runtime: Runtime, actor: Actor, chat: str, message_id: str, said: Said) -> Turn:
    """Says something else in the place of a message: a new branch beside it. The old one stays."""
    _only_people(actor)
    _check_model(said.model)
    text, content = await _content(said)
    old = await message(runtime, actor, chat, message_id)
    if old.role != "user":
        raise Invalid("only what you said yourself can be edited; answers are written again with POST …/again")
    turn = Turn(chat=chat, message=new_id(), answer=new_id(), run_id=new_id())
    async with actor.tenant.transaction() as transaction:
        await _locked(transaction, actor, chat)
        await _add(transaction, turn, NewMessage(id=turn.message, parent_id=old.parent_id, role="user", content=content, text=text))
    return await _begin(runtime, actor, turn, said.model)


async def again(runtime: Runtime, actor: Actor, chat: str, answer_id: str, model: str | None = None) -> Turn:
    """Another answer to the same message, beside the one there is."""
    _only_people(actor)
    _check_model(model)
    old = await message(runtime, actor, chat, answer_id)
    if old.role != "assistant" or old.parent_id is None:
        raise Invalid("only an answer can be written again; what you said yourself is edited")
    turn = Turn(chat=chat, message=old.parent_id, answer=new_id(), run_id=new_id())
    async with actor.tenant.transaction() as transaction:
        await _locked(transaction, actor, chat)
        await _add(transaction, turn, None)
    return await _begin(runtime, actor, turn, model)


def _only_people(actor: Actor) -> None:
    if actor.depth:
        raise Denied("a run cannot start a chat: only a person can.")


def _check_model(model: str | None) -> None:
    vendor, _, name = (model or "scripted").partition(":")
    if vendor not in vendors() or not (name or vendor == SCRIPTED):
        raise Invalid(f"{model!r} is not a model; write vendor:name with a vendor of {', '.join(vendors())}")


async def _content(said: Said) -> tuple[str, list[dict[str, Json]]]:
    text = plain(said.text).strip()
    if len(text) > MAX_TEXT:
        raise Invalid(f"the message has {len(text):,} characters; at most {MAX_TEXT:,} are taken. Attach what is long as a file")
    parts = await files.parts(said.attachments)
    if not text and not parts:
        raise Invalid("say something, or attach something")
    return text, [*([{"type": "text", "text": text}] if text else []), *parts]


def _title(text: str, content: Sequence[Mapping[str, Any]]) -> str:
    """The beginning of the first message, up to a word."""
    line = " ".join(text.split()) or str(next((part["name"] for part in content if "name" in part), "Chat"))
    if len(line) <= MAX_TITLE:
        return line
    return (line[:MAX_TITLE].rsplit(" ", 1)[0] if " " in line[:MAX_TITLE] else line[: MAX_TITLE - 1]) + "…"


async def _locked(session: Session, actor: Actor, chat: str) -> chats.Locked:
    found = await chats.lock(session, actor.user_id, chat) if await chats.get(session, actor.user_id, chat) else None
    if found is None:
        raise NotFound(NOT_FOUND.format(chat))
    if found.messages > MAX_MESSAGES - 2:
        raise Conflict(f"this chat has {found.messages:,} messages, and no room for more; begin a new one")
    if await chats.under_way(session, chat) >= MAX_TURNS:
        raise Conflict(f"{MAX_TURNS} answers are being written in this chat; stop one, or wait for it")
    return found


async def _parent(session: Session, actor: Actor, chat: str, parent: str | None) -> str | None:
    """What the new message follows."""
    locked = await _locked(session, actor, chat)
    wanted = parent or locked.head
    if wanted is None:
        return None
    found = await chats.message(session, actor.user_id, chat, wanted)
    if found is None:
        raise NotFound(NO_MESSAGE.format(wanted))
    if found.role != "assistant":
        raise Invalid("a message follows an answer; to say something else in the place of one, edit it")
    if shown(found).state == "writing":
        raise Conflict("the answer before is still being written; stop it first, or wait for it", run_id=found.run_id)
    return wanted


async def _add(session: Session, turn: Turn, asked: NewMessage | None) -> None:
    if asked is not None:
        await chats.add(session, turn.chat, asked)
    await chats.add(
        session,
        turn.chat,
        NewMessage(id=turn.answer, parent_id=turn.message, role="assistant", content=[], text="", run_id=turn.run_id),
    )
    await chats.move(session, turn.chat, turn.answer)


async def _begin(runtime: Runtime, actor: Actor, turn: Turn, model: str | None) -> Turn:
    chat = await _chat(actor, turn.chat)
    tools = await _tools(runtime, actor)
    input: Json = {"chat": turn.chat, "message": turn.message, "answer": turn.answer}
    try:
        await runs.start_definition(
            runtime,
            actor,
            definition=definition(actor, tools, chat.auto_approve, model),
            input=input,
            mode="production",
            mocks=None,
            name=WORKFLOW,
            id=turn.run_id,
            private=True,
        )
    except WeftError as error:
        wrong: Json = {"code": error.code, "message": error.message}
        with suppress(WeftError):
            await chats.settle(actor.tenant, actor.user_id, turn.chat, turn.answer, state="failed", text="", content=[], error=wrong)
        raise
    runtime.engine.background(keep(runtime, actor, turn.chat, turn.answer, turn.run_id))
    return turn


async def _tools(runtime: Runtime, actor: Actor) -> frozenset[str]:
    """The tools of the house that the person may use."""
    house = runtime.engine.house
    if house is None:
        raise Unavailable("this process lends its tools to nobody, so it cannot hold a chat")
    return frozenset(tool.name for tool in await asyncio.to_thread(house.specs, actor.role))


def definition(actor: Actor, tools: frozenset[str], auto_approve: Sequence[str], model: str | None = None) -> Json:
    """The shipped workflow for this person: with the tools that they may use, they approve, they are not asked about those they have
    chosen, and the model is theirs."""
    document: Json = copy.deepcopy(shipped.definition(WORKFLOW))
    config: dict[str, Any] = next(node["config"] for node in document["nodes"] if node["id"] == ASSISTANT)
    config["approvers"] = {"user": actor.user_name}
    if model is not None:
        config["model"] = model
    listed = [(name, group["approve"]) for group in config["tools"] for name in group["house"] if name in tools]
    free = [name for name, approve in listed if not approve or name in auto_approve]
    asked = [name for name, _ in listed if name not in free]
    config["tools"] = [{"house": names, "approve": approve} for names, approve in ((free, False), (asked, True)) if names]
    return document


# -- stopping and approving ------------------------------------------------------------------------------------------------------


async def stop(runtime: Runtime, actor: Actor, chat: str) -> Message:
    """Cancels the turn under way and keeps what was said. Raises Conflict where there is none."""
    found = await _chat(actor, chat)
    writing = await chats.message(actor.tenant, actor.user_id, chat, found.head) if found.head else None
    if writing is None or writing.run_id is None or shown(writing).state != "writing":
        raise Conflict("nothing is being written in this chat just now")
    with suppress(Conflict):  # it has come to its end meanwhile
        await steering.control(runtime, actor, writing.run_id, "cancel")
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline:
        run = await runs.wait(runtime, actor, writing.run_id, seconds=1.0)
        now = await chats.message(actor.tenant, actor.user_id, chat, writing.id)
        if run.state in FINISHED:
            deadline = min(deadline, time.monotonic() + KEEPING)
            if now is None or now.state != "writing":
                break
        await asyncio.sleep(0.05)
    else:  # whoever began the turn is gone
        text = await said_so_far(actor, writing.run_id)
        content = spoken(text) if text else []
        await chats.settle(actor.tenant, actor.user_id, chat, writing.id, state="stopped", text=text, content=content)
    return await message(runtime, actor, chat, writing.id)


async def approve(runtime: Runtime, actor: Actor, chat: str, task_id: str, *, approved: bool, comment: str | None = None) -> Task:
    """Answers what the assistant asks before it acts, in this chat. Raises NotFound, Conflict."""
    task = await tasks.get(runtime, actor, task_id)
    if task.run_id not in {one.run_id for one in (await get(runtime, actor, chat)).messages}:
        raise NotFound(f"this chat has asked nothing under {task_id!r}")
    return await tasks.answer(runtime, actor, task_id, {"approved": approved}, comment)


# -- reading ---------------------------------------------------------------------------------------------------------------------


async def get(runtime: Runtime, actor: Actor, chat: str) -> Conversation:
    """Raises NotFound, alike for what is not there and what is somebody else's."""
    found = await _chat(actor, chat)
    return Conversation(chat=found, messages=[shown(one) for one in await chats.messages(actor.tenant, actor.user_id, chat)])


async def message(runtime: Runtime, actor: Actor, chat: str, message_id: str) -> Message:
    """Raises NotFound."""
    await _chat(actor, chat)
    found = await chats.message(actor.tenant, actor.user_id, chat, message_id)
    if found is None:
        raise NotFound(NO_MESSAGE.format(message_id))
    return shown(found)


async def ended(runtime: Runtime, actor: Actor, chat: str, answer_id: str) -> Message:
    """An answer whose run is over, with what was kept of it."""
    deadline = time.monotonic() + KEEPING
    while (found := await chats.message(actor.tenant, actor.user_id, chat, answer_id)) and found.state == "writing":
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    return await message(runtime, actor, chat, answer_id)


async def _chat(actor: Actor, chat: str) -> Chat:
    found = await chats.get(actor.tenant, actor.user_id, chat)
    if found is None:
        raise NotFound(NOT_FOUND.format(chat))
    return found


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
    sessions = [str(hit.memory.series) for hit in found.recalled.hits if str(hit.memory.series).startswith("chat:")]
    ids = [id for id in dict.fromkeys(session.removeprefix("chat:") for session in sessions) if id not in known]
    rows = await chats.page(actor.tenant, actor.user_id, among=ids, archived=archived, limit=100) if ids else []
    return sorted(rows, key=lambda one: ids.index(one.id))[:room]


# -- changing --------------------------------------------------------------------------------------------------------------------


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
    _only_people(actor)
    for name in auto_approve or ():
        if lending.EFFECTS.get(name, Effect.READ) is Effect.READ:
            able = [tool for tool, effect in lending.EFFECTS.items() if effect is not Effect.READ]
            raise Invalid(f"nobody is asked about {name!r}. " + nearest(name, able, "People are asked about"))
    if head is not None:
        await message(runtime, actor, chat, head)
    await _chat(actor, chat)
    await chats.change(actor.tenant, actor.user_id, chat, title=title, archived=archived, auto_approve=auto_approve, head=head)
    return await _chat(actor, chat)


async def delete(runtime: Runtime, actor: Actor, chat: str) -> None:
    """With all its messages, with what was remembered of it, and with its runs and what repeats them: no word of it stays."""
    _only_people(actor)
    await _chat(actor, chat)
    with suppress(Conflict):
        await stop(runtime, actor, chat)
    await memories.forget(memories.access(runtime, actor), Selection(source=f"chat {chat}"), reason="a chat was deleted")
    async with actor.tenant.transaction() as transaction:
        await chats.drop_runs(transaction, actor.user_id, chat)
        if not await chats.delete(transaction, actor.user_id, chat):
            raise NotFound(NOT_FOUND.format(chat))
