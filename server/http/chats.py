"""HTTP operations on chats, and the live stream of a turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import Field
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from graphs import chats, chatting, ending, following, runs
from graphs.chatting import Said, Turn
from graphs.definition import Json
from graphs.documents import is_object
from graphs.following import News
from server.auth import Caller, Scope
from server.chats import given
from server.excerpts import preview
from server.http.operations import Call, Operation, Query, answer, encode
from server.http.shapes.chats import (
    Again,
    Approve,
    Attachment,
    Change,
    ChatDetail,
    ChatPage,
    ChatView,
    Deleted,
    Edit,
    Events,
    MessageView,
    Say,
    TurnBegun,
)
from server.http.shapes.tasks import TaskDetail
from server.views.tasks import task_view
from store.chats import Chat, Message
from store.errors import Conflict, Invalid, NotFound

PATH = "/api/v1/chats"
SHOWN = 2_000  # characters of a tool's arguments, and of what it answers
STREAM = "text/event-stream"


class ListQuery(Query):
    search: str | None = Field(default=None, min_length=1, max_length=500, description="words that were said, or what it was about")
    archived: bool = False
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=400)


# -- views -----------------------------------------------------------------------------------------------------------------------


def chat_view(chat: Chat) -> dict[str, Json]:
    return {
        "id": chat.id,
        "title": chat.title,
        "head": chat.head,
        "auto_approve": chat.auto_approve,
        "archived": chat.archived_at is not None,
        "created_at": chat.created_at.isoformat(),
        "updated_at": chat.updated_at.isoformat(),
    }


def message_view(message: Message, siblings: Sequence[str] = ()) -> dict[str, Json]:
    return {
        "id": message.id,
        "parent": message.parent_id,
        "role": message.role,
        "state": message.state,
        "text": message.text,
        "attachments": [_attached(part) for part in message.content if part["type"] != "text"],
        "branches": list(siblings) if len(siblings) > 1 else [],
        "error": message.error,
        "run_id": message.run_id,
        "created_at": message.created_at.isoformat(),
    }


def _attached(part: dict[str, Any]) -> dict[str, Json]:
    if part["type"] == "image":
        return {"name": part["name"], "type": "image", "media_type": part["media_type"]}
    return {"name": part["name"], "type": "file", "characters": len(part["text"])}


def conversation_view(found: chats.Conversation) -> dict[str, Json]:
    beside: dict[str | None, list[str]] = {}
    for one in found.messages:
        beside.setdefault(one.parent_id, []).append(one.id)
    return {**chat_view(found.chat), "messages": [message_view(one, beside[one.parent_id]) for one in found.messages]}


def turn_view(turn: Turn) -> dict[str, Json]:
    return {"chat": turn.chat, "message": turn.message, "answer": turn.answer, "run_id": turn.run_id}


def news_view(news: News) -> dict[str, Json]:
    """What is told of a turn, with arguments and results as short as a person reads them."""
    cut = {name: preview(news.data[name], SHOWN, "the run has all of it") for name in ("arguments", "result", "error") if name in news.data}
    return {**news.data, **cut}


# -- the stream of a turn --------------------------------------------------------------------------------------------------------


async def told(
    caller: Caller, chat: str, answer_id: str, run_id: str, *, after: int = 0
) -> AsyncIterator[tuple[str, dict[str, Json], int | None]]:
    """(event, data, id) of a turn from its beginning: `chat`, then what happens, then `message`, `usage` and `end`."""
    runtime, actor = caller.runtime, caller.actor
    begun = await chats.message(runtime, actor, chat, answer_id)
    yield "chat", {"chat": chat, "message": begun.parent_id, "answer": answer_id, "run_id": run_id}, None
    async for news in following.turn(runtime, actor, run_id, after=after):
        yield news.name, news_view(news), news.seq
    run = await runs.get(runtime, actor, run_id)
    done = await chats.ended(runtime, actor, chat, answer_id)
    yield "message", message_view(done), None
    if is_object(run.output) and is_object(usage := run.output.get("usage")):
        yield "usage", {**usage, "model": run.output.get("model")}, None
    yield "end", {"chat": chat, "answer": answer_id, "state": done.state}, None


def stream(caller: Caller, turn: Turn, *, after: int = 0) -> Response:
    async def events() -> AsyncIterator[ServerSentEvent]:
        try:
            async for name, data, seq in told(caller, turn.chat, turn.answer, turn.run_id, after=after):
                yield ServerSentEvent(encode(data).decode(), event=name, id=None if seq is None else str(seq), sep="\n")
        except NotFound:
            gone = {"chat": turn.chat, "answer": turn.answer, "state": "deleted"}
            yield ServerSentEvent(encode(gone).decode(), event="end", sep="\n")

    return EventSourceResponse(events(), sep="\n")


async def under_way(caller: Caller, chat: str) -> Turn:
    """The turn that the chat has come to, over or not. Raises NotFound, Conflict where there is none."""
    found = await chats.own(caller.actor, chat)
    head = await chats.message(caller.runtime, caller.actor, chat, found.head) if found.head else None
    if head is None or head.run_id is None or head.parent_id is None:
        raise Conflict("nothing has been answered in this chat yet")
    return Turn(chat=chat, message=head.parent_id, answer=head.id, run_id=head.run_id)


def _begun(call: Call[Any, Query], turn: Turn) -> Json | Response:
    return stream(call.caller, turn) if STREAM in call.headers.get("accept", "") else answer(turn_view(turn), 202)


def _said(text: str, attachments: Sequence[Attachment], model: str | None) -> Said:
    return Said(text=text, attachments=given(attachments), model=model)


# -- operations ------------------------------------------------------------------------------------------------------------------


async def say(call: Call[Say, Query]) -> Json | Response:
    body, caller = call.body, call.caller
    said = _said(body.message, body.attachments, body.model)
    return _begun(call, await chatting.send(caller.runtime, caller.actor, said, chat=body.chat, parent=body.parent))


async def edit(call: Call[Edit, Query]) -> Json | Response:
    body, caller = call.body, call.caller
    said = _said(body.message, body.attachments, body.model)
    return _begun(call, await chatting.edit(caller.runtime, caller.actor, call.path["chat"], call.path["message"], said))


async def again(call: Call[Again, Query]) -> Json | Response:
    caller = call.caller
    return _begun(call, await chatting.again(caller.runtime, caller.actor, call.path["chat"], call.path["message"], call.body.model))


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await chats.page(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    return {"chats": [chat_view(one) for one in page.items], "next_cursor": page.next_cursor}


async def get(call: Call[None, Query]) -> Json:
    return conversation_view(await chats.get(call.caller.runtime, call.caller.actor, call.path["chat"]))


async def change(call: Call[Change, Query]) -> Json:
    caller = call.caller
    return chat_view(await chats.change(caller.runtime, caller.actor, call.path["chat"], **call.body.model_dump()))


async def delete(call: Call[None, Query]) -> Json:
    await ending.delete(call.caller.runtime, call.caller.actor, call.path["chat"])
    return {"deleted": True}


async def events(call: Call[None, Query]) -> Json | Response:
    """The turn that the chat has come to: what was recorded of it, and then what happens."""
    caller, chat = call.caller, call.path["chat"]
    turn = await under_way(caller, chat)
    if STREAM not in call.headers.get("accept", ""):
        return {"chat": chat, "state": (await chats.message(caller.runtime, caller.actor, chat, turn.answer)).state}
    last = call.headers.get("last-event-id", "")
    if last and not (last.isdecimal() and len(last) < 19):
        raise Invalid("Last-Event-ID must be the id of an event of this stream.")
    return stream(caller, turn, after=int(last) if last else 0)


async def stop(call: Call[None, Query]) -> Json:
    return message_view(await ending.stop(call.caller.runtime, call.caller.actor, call.path["chat"]))


async def approve(call: Call[Approve, Query]) -> Json:
    body, caller = call.body, call.caller
    task = await chatting.approve(
        caller.runtime, caller.actor, call.path["chat"], body.task_id, approved=body.approved, comment=body.comment
    )
    return task_view(task)


ONE = f"{PATH}/{{chat}}"
MESSAGE = f"{ONE}/messages/{{message}}"
RESUME = (("Last-Event-ID", "streams only: go on after this event"),)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path="/api/v1/chat", name="sayInChat", summary="Say something to the assistant, and follow its answer",
        scope=Scope.READ, run=say, answer=TurnBegun, body=Say, status=202, streams=True,
    ),
    Operation(
        method="GET", path=PATH, name="listChats", summary="List or search your chats",
        scope=Scope.READ, run=listed, answer=ChatPage, query=ListQuery,
    ),
    Operation(
        method="GET", path=ONE, name="getChat", summary="Read a chat with all its branches",
        scope=Scope.READ, run=get, answer=ChatDetail,
    ),
    Operation(
        method="PATCH", path=ONE, name="changeChat", summary="Rename, archive, switch the branch, or be asked no more about a tool",
        scope=Scope.READ, run=change, answer=ChatView, body=Change,
    ),
    Operation(
        method="DELETE", path=ONE, name="deleteChat", summary="Delete a chat and what is remembered of it",
        scope=Scope.READ, run=delete, answer=Deleted,
    ),
    Operation(
        method="GET", path=f"{ONE}/events", name="followChat", summary="Follow the turn under way, from any device",
        scope=Scope.READ, run=events, answer=Events, headers=RESUME, streams=True,
    ),
    Operation(
        method="POST", path=f"{ONE}/stop", name="stopChat", summary="Stop the answer and keep what was said",
        scope=Scope.READ, run=stop, answer=MessageView,
    ),
    Operation(
        method="POST", path=f"{ONE}/approve", name="approveInChat", summary="Allow or refuse what the assistant wants to do",
        scope=Scope.TASK, run=approve, answer=TaskDetail, body=Approve,
    ),
    Operation(
        method="POST", path=f"{MESSAGE}/edit", name="editMessage", summary="Say something else in the place of a message: a new branch",
        scope=Scope.READ, run=edit, answer=TurnBegun, body=Edit, status=202, streams=True,
    ),
    Operation(
        method="POST", path=f"{MESSAGE}/again", name="answerAgain", summary="Write another answer beside the one there is",
        scope=Scope.READ, run=again, answer=TurnBegun, body=Again, status=202, streams=True,
    ),
)  # fmt: skip
