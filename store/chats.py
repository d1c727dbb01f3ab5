"""Chats and their messages. Every query names the user: a chat is its user's alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.ids import is_id
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
MAX_MESSAGES = 5_000  # of one chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """`head`: the message that the conversation has come to. `auto_approve`: tools that its user wants to be asked about no more."""

    id: str
    title: str
    head: str | None
    auto_approve: list[str]
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`content`: its parts; `text`: what was said, without attachments. `run_state`: of the run that writes it."""

    id: str
    parent_id: str | None
    role: str
    state: str
    content: Any
    text: str
    error: Any
    run_id: str | None
    created_at: datetime
    run_state: str | None
    run_error: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    head: str | None
    state: str | None
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    id: str
    parent_id: str | None
    role: str
    content: Any
    text: str
    run_id: str | None = None


ROWS: dict[str, type] = {
    "get": Chat,
    "list": Chat,
    "lock": Locked,
    "drop_runs": int,
    "under_way": int,
    "messages": Message,
    "message": Message,
    "upward": Message,
}


async def create(session: Session, id: str, *, user_id: str, title: str) -> None:
    await session.execute(SQL.create, id=id, user_id=user_id, title=title)


async def get(session: Session, user_id: str, id: str) -> Chat | None:
    return await session.one(SQL.get, Chat, id=id, user_id=user_id) if is_id(id) else None


async def page(
    session: Session,
    user_id: str,
    *,
    words: str | None = None,
    among: Sequence[str] | None = None,
    archived: bool | None = False,
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Chat]:
    """The one written in last first; `limit` + 1 rows at most. `archived` None: both."""
    at, at_id = before or (None, None)
    given = {"words": words, "among": None if among is None else list(among), "archived": archived, "before": at, "before_id": at_id}
    return await session.all(SQL.list, Chat, user_id=user_id, limit=limit + 1, **given)


async def change(
    session: Session,
    user_id: str,
    id: str,
    *,
    title: str | None = None,
    archived: bool | None = None,
    auto_approve: Sequence[str] | None = None,
    head: str | None = None,
) -> bool:
    """What is None stays. False where there is no such chat."""
    tools = None if auto_approve is None else list(auto_approve)
    return bool(await session.execute(SQL.change, id=id, user_id=user_id, title=title, archived=archived, auto_approve=tools, head=head))


async def delete(session: Session, user_id: str, id: str) -> bool:
    """With all its messages."""
    return bool(await session.execute(SQL.delete, id=id, user_id=user_id)) if is_id(id) else False


async def drop_runs(session: Session, user_id: str, id: str) -> int:
    """The runs of its turns, and what repeats them, with all that is recorded of them; how many."""
    return await session.one(SQL.drop_runs, int, id=id, user_id=user_id) or 0


async def under_way(session: Session, id: str) -> int:
    """How many of its answers are being written."""
    return await session.one(SQL.under_way, int, id=id) or 0


async def lock(session: Session, user_id: str, id: str) -> Locked | None:
    """Until the transaction ends nobody else adds to the chat."""
    return await session.one(SQL.lock, Locked, id=id, user_id=user_id)


async def add(session: Session, chat_id: str, new: NewMessage) -> None:
    """`run_id`: it is an answer, and that run writes it."""
    await session.execute(
        SQL.add,
        id=new.id,
        chat_id=chat_id,
        parent_id=new.parent_id,
        role=new.role,
        state="writing" if new.run_id else "said",
        content=Json(new.content),
        text=new.text,
        run_id=new.run_id,
    )


async def move(session: Session, chat_id: str, head: str) -> None:
    await session.execute(SQL.move, id=chat_id, head=head)


async def messages(session: Session, user_id: str, chat_id: str) -> list[Message]:
    return await session.all(SQL.messages, Message, chat_id=chat_id, user_id=user_id, limit=MAX_MESSAGES)


async def message(session: Session, user_id: str, chat_id: str, id: str) -> Message | None:
    if not (is_id(chat_id) and is_id(id)):
        return None
    return await session.one(SQL.message, Message, chat_id=chat_id, id=id, user_id=user_id)


async def path(session: Session, user_id: str, chat_id: str, id: str) -> list[Message]:
    """From the first message to this one."""
    if not (is_id(chat_id) and is_id(id)):
        return []
    return (await session.all(SQL.upward, Message, chat_id=chat_id, id=id, user_id=user_id, limit=MAX_MESSAGES))[::-1]


async def settle(session: Session, user_id: str, chat_id: str, id: str, *, state: str, text: str, content: Any, error: Any = None) -> bool:
    """Ends an answer; False where it had ended already. What the run itself says at last takes the place of what was thought to be lost."""
    found = await session.execute(
        SQL.settle,
        id=id,
        chat_id=chat_id,
        user_id=user_id,
        state=state,
        text=text,
        content=Json(content),
        error=None if error is None else Json(error),
    )
    return bool(found)
