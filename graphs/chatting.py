"""Talking with the assistant: say something, edit, allow or refuse. A turn is a run of the shipped workflow `chat`, as the person."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import store.runs
from graphs import attachments as files
from graphs import chats, runs, shipped, tasks
from graphs.attachments import plain
from graphs.chats import NO_MESSAGE, NOT_FOUND, only_people, shown
from graphs.definition import Json
from graphs.keeping import keep
from graphs.models import SCRIPTED, vendors
from graphs.redaction import blotted
from graphs.runtime import Actor, Runtime
from store import chats as chat_rows
from store import models
from store.chats import MAX_MESSAGES, Message, NewMessage
from store.errors import Conflict, Invalid, NotFound, Unavailable, WeftError
from store.ids import is_id, new_id
from store.postgres import Session
from store.tasks import Task

WORKFLOW = shipped.CHAT
ASSISTANT = "assistant"  # its node that works with tools
MAX_TEXT = 100_000  # characters of a message
MAX_TITLE = 80
MAX_TURNS = 4  # under way at a time in one chat, on branches of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of the person, the answer to it, and the run that writes that. `begun`: it was said before, under the same key."""

    chat: str
    message: str
    answer: str
    run_id: str
    begun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person says: words, files, and if they choose one the model that answers. `key`: said again under the same one it is said
    once."""

    text: str
    attachments: Sequence[Mapping[str, Any]] = ()
    model: str | None = None
    key: str | None = None


# -- saying something ------------------------------------------------------------------------------------------------------------


async def send(runtime: Runtime, actor: Actor, said: Said, *, chat: str | None = None, parent: str | None = None) -> Turn:
    """Begins a chat, or goes on with one: behind its last message, or behind `parent`, an answer. Acknowledged means kept. Raises NotFound,
    Conflict while the last answer is still being written, Invalid."""
    only_people(actor)
    await _check_model(actor, said.model)
    text, content = await _content(said)
    turn, follows = _turn(actor, chat, said.key), None
    async with actor.tenant.transaction() as transaction:
        if chat is None:
            await chat_rows.create(transaction, turn.chat, user_id=actor.user_id, title=_title(text, content))
        locked = await _locked(transaction, actor, turn.chat)
        known = await _known(transaction, actor, turn, content, parent, said.model) if said.key else None
        if known is None:
            await _room(transaction, turn.chat, locked)
            follows = await _parent(transaction, actor, turn.chat, parent or locked.head)
            before = follows.id if follows else None
            await _add(transaction, turn, NewMessage(id=turn.message, parent_id=before, role="user", content=content, text=text))
    if follows and chats.lost(follows):
        await chats.ended(runtime, actor, turn.chat, follows.id)
    return known if known and known.begun else await _begin(runtime, actor, known or turn, said.model)


async def edit(runtime: Runtime, actor: Actor, chat: str, message_id: str, said: Said) -> Turn:
    """Says something else in the place of a message: a new branch beside it. The old one stays."""
    only_people(actor)
    await _check_model(actor, said.model)
    text, content = await _content(said)
    old = await chats.message(runtime, actor, chat, message_id)
    if old.role != "user":
        raise Invalid("only what you said yourself can be edited; answers are written again with POST …/again")
    turn = _turn(actor, chat, said.key)
    async with actor.tenant.transaction() as transaction:
        locked = await _locked(transaction, actor, chat)
        known = await _known(transaction, actor, turn, content, old.parent_id, said.model) if said.key else None
        if known is None:
            await _room(transaction, chat, locked)
            await _add(transaction, turn, NewMessage(id=turn.message, parent_id=old.parent_id, role="user", content=content, text=text))
    return known if known and known.begun else await _begin(runtime, actor, known or turn, said.model)


async def again(runtime: Runtime, actor: Actor, chat: str, answer_id: str, model: str | None = None) -> Turn:
    """Another answer to the same message, beside the one there is."""
    only_people(actor)
    await _check_model(actor, model)
    old = await chats.message(runtime, actor, chat, answer_id)
    if old.role != "assistant" or old.parent_id is None:
        raise Invalid("only an answer can be written again; what you said yourself is edited")
    turn = Turn(chat=chat, message=old.parent_id, answer=new_id(), run_id=new_id())
    async with actor.tenant.transaction() as transaction:
        await _room(transaction, chat, await _locked(transaction, actor, chat))
        await _add(transaction, turn, None)
    return await _begin(runtime, actor, turn, model)


def _turn(actor: Actor, chat: str | None, key: str | None) -> Turn:
    """With a key its message, and the chat that it begins, have the same ids every time."""
    if key is None:
        return Turn(chat=chat or new_id(), message=new_id(), answer=new_id(), run_id=new_id())
    names = [str(uuid.uuid5(uuid.UUID(actor.user_id), f"{what} {key}")) for what in ("chat", "message")]
    return Turn(chat=chat or names[0], message=names[1], answer=new_id(), run_id=new_id())


async def _known(
    session: Session, actor: Actor, turn: Turn, content: Sequence[Mapping[str, Any]], parent: str | None, model: str | None
) -> Turn | None:
    """The turn that this message began when it was said before; not `begun` where nobody came so far as to start it. Raises Conflict where
    the key is that of something else, and while whoever said it first is about to start it."""
    said = await chat_rows.message(session, actor.user_id, turn.chat, turn.message)
    if said is None:
        return None
    if said.content != content or (parent is not None and said.parent_id != parent):
        raise Conflict("this idempotency key was used for another message")
    every = await chat_rows.messages(session, actor.user_id, turn.chat)
    first = next(one for one in every if one.parent_id == said.id)
    if first.run_state is not None and await _model_of(session, str(first.run_id)) != (model or _model_in(shipped.definition(WORKFLOW))):
        raise Conflict("this idempotency key was used for this message with another model")
    begun = first.run_state is not None or first.state != "writing"
    if not begun and shown(first).state == "writing":
        raise Conflict("this message was received, and its answer begins just now; repeat the call in a moment")
    return Turn(chat=turn.chat, message=said.id, answer=first.id, run_id=str(first.run_id), begun=begun)


async def _model_of(session: Session, run_id: str) -> str | None:
    """The one that a turn was begun with."""
    loaded = await store.runs.load_run(session, run_id)
    return _model_in(await store.runs.definition(session, loaded.digest)) if loaded else None


def _model_in(document: Any) -> str | None:
    return next(node["config"].get("model") for node in document["nodes"] if node["id"] == ASSISTANT)


async def _check_model(actor: Actor, model: str | None) -> None:
    if model is not None and model.startswith("@"):
        aliases = [one.alias for one in (await models.known(actor.tenant)).models.values() if one.alias]
        if model[1:] not in aliases:
            raise Invalid(f"no model is called {model!r} here; there are {', '.join(f'@{one}' for one in aliases) or 'none'}")
        return
    vendor, _, name = (model or "scripted").partition(":")
    if vendor not in vendors() or not (name or vendor == SCRIPTED):
        raise Invalid(f"{model!r} is not a model; write @alias, or vendor:name with a vendor of {', '.join(vendors())}")


async def _content(said: Said) -> tuple[str, list[dict[str, Json]]]:
    text = plain(said.text).strip()
    if len(text) > MAX_TEXT:
        raise Invalid(f"the message has {len(text):,} characters; at most {MAX_TEXT:,} are taken. Attach what is long as a file")
    text = blotted(text)
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


async def _locked(session: Session, actor: Actor, chat: str) -> chat_rows.Locked:
    found = await chat_rows.lock(session, actor.user_id, chat) if is_id(chat) else None
    if found is None:
        raise NotFound(NOT_FOUND.format(chat))
    return found


async def _room(session: Session, chat: str, locked: chat_rows.Locked) -> None:
    if locked.messages > MAX_MESSAGES - 2:
        raise Conflict(f"this chat has {locked.messages:,} messages, and no room for more; begin a new one")
    if await chat_rows.under_way(session, chat) >= MAX_TURNS:
        raise Conflict(f"{MAX_TURNS} answers are being written in this chat; stop one, or wait for it")


async def _parent(session: Session, actor: Actor, chat: str, wanted: str | None) -> Message | None:
    """What the new message follows."""
    if wanted is None:
        return None
    found = await chat_rows.message(session, actor.user_id, chat, wanted)
    if found is None:
        raise NotFound(NO_MESSAGE.format(wanted))
    if found.role != "assistant":
        raise Invalid("a message follows an answer; to say something else in the place of one, edit it")
    if found.run_state == "waiting":
        message = (
            "the assistant waits for your word before it goes on: allow or refuse it, or stop the answer (weft chat --continue shows it)"
        )
        raise Conflict(message, run_id=found.run_id)
    if shown(found).state == "writing":
        raise Conflict("the answer before is still being written; stop it first, or wait for it", run_id=found.run_id)
    return found


async def _add(session: Session, turn: Turn, asked: NewMessage | None) -> None:
    if asked is not None:
        await chat_rows.add(session, turn.chat, asked)
    await chat_rows.add(
        session,
        turn.chat,
        NewMessage(id=turn.answer, parent_id=turn.message, role="assistant", content=[], text="", run_id=turn.run_id),
    )
    await chat_rows.move(session, turn.chat, turn.answer)


async def _begin(runtime: Runtime, actor: Actor, turn: Turn, model: str | None) -> Turn:
    chat = await chats.own(actor, turn.chat)
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
        if not await _is_there(runtime, actor, turn.run_id):
            wrong: Json = {"code": error.code, "message": error.message}
            with suppress(WeftError):
                await chat_rows.settle(
                    actor.tenant, actor.user_id, turn.chat, turn.answer, state="failed", text="", content=[], error=wrong
                )
            raise
    runtime.engine.background(keep(runtime, actor, turn.chat, turn.answer, turn.run_id))
    return turn


async def _is_there(runtime: Runtime, actor: Actor, run_id: str) -> bool:
    """Whether the run has begun: by a call that was repeated at the same time, or by this one though its answer was lost."""
    try:
        await runs.get(runtime, actor, run_id)
    except NotFound:
        return False
    return True


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


# -- approving ----------------------------------------------------------------------------------------------------------------------


async def approve(runtime: Runtime, actor: Actor, chat: str, task_id: str, *, approved: bool, comment: str | None = None) -> Task:
    """Answers what the assistant asks before it acts, in this chat. Raises NotFound, Conflict."""
    task = await tasks.get(runtime, actor, task_id)
    if task.run_id not in {one.run_id for one in (await chats.get(runtime, actor, chat)).messages}:
        raise NotFound(f"this chat has asked nothing under {task_id!r}")
    return await tasks.answer(runtime, actor, task_id, {"approved": approved}, comment)
