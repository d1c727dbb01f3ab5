"""Conversations: messages in the order they were said, each with its tokens; a window hands the last of them to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from memory.items import TRUST, NewMemory, digest
from memory.kinds import Given, Moment, Outcome, Short, Text
from memory.policies import Window
from memory.writing import Desk
from store import conversations
from store.ids import new_id
from store.memories import Memory
from store.postgres import Session

ROWS = ("turn",)
PERSON = 3


class Message(Given):
    """`id`: the sender's own, which makes sending it twice one message; without it, what the same one said at the same time is one."""

    text: Text
    speaker: Short | None = None
    role: Literal["user", "assistant", "system", "tool", "developer"] = "user"
    at: Moment | None = None
    id: Short | None = None
    data: dict[str, Any] | None = None


class Item(Given):
    session: Short = "main"
    messages: tuple[Message, ...] = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """The end of a conversation, oldest first. `left_out`: messages before these."""

    messages: Sequence[Memory]
    tokens: int
    left_out: int


def turns(desk: Desk, item: Item) -> list[NewMemory]:
    """Its messages as memories that have no number yet."""
    return [
        _desk_of(desk, message.role).memory(
            "turn", message.text, speaker=message.speaker, role=_role(desk, message.role), series=item.session, occurred_at=message.at,
            data=message.data, identity=_identity(item.session, message), **message.common(),
        )
        for message in item.messages
    ]  # fmt: skip


async def keep(desk: Desk, item: Item) -> Outcome:
    """Appends what is new, in order, with numbers that leave no gap, also when several append at once."""
    made = turns(desk, item)
    outcome = Outcome()
    async with desk.sheet() as sheet:
        first = await conversations.lock(sheet.transaction, desk.scope.id)
        known = await conversations.known(sheet.transaction, desk.scope.id, "turn", [digest(turn) for turn in made])
        numbered = list({digest(turn): turn for turn in reversed(made) if digest(turn) not in known}.values())[::-1]
        places = {digest(turn): first + number for number, turn in enumerate(numbered)}
        for row in await sheet.keep([replace(turn, seq=places.get(digest(turn))) for turn in made]):
            (outcome.created if row.created else outcome.known).append(row.id)
        await conversations.advance(sheet.transaction, desk.scope.id, len(numbered))
    return outcome


async def buffer(session: Session, scope_id: int, name: str, window: Window, *, min_trust: int = 0) -> Buffer:
    """The last messages that fit the window; at least one, however long it is."""
    found, total = await conversations.last(session, scope_id, name, window.messages, min_trust=min_trust)
    taken: list[Memory] = []
    spent = 0
    for turn in found:
        if taken and spent + turn.tokens > window.tokens:
            break
        taken.append(turn)
        spent += turn.tokens
    return Buffer(messages=taken[::-1], tokens=spent, left_out=total - len(taken))


def show(memory: Memory) -> dict[str, Any]:
    return {
        "session": memory.series, "seq": memory.seq, "speaker": memory.speaker, "role": memory.role, "text": memory.body,
        "at": memory.occurred_at.isoformat() if memory.occurred_at else None, "tokens": memory.tokens, "data": memory.data,
    }  # fmt: skip


def _desk_of(desk: Desk, role: str) -> Desk:
    """Whoever hands a conversation in, what a tool said in it is a tool's, and what a model said is a model's."""
    said = {"tool": "tool", "assistant": "agent"}.get(role)
    own = desk.provenance
    return desk if said is None or TRUST[own.origin] <= TRUST[said] else replace(desk, provenance=replace(own, origin=said))


def _role(desk: Desk, role: str) -> str:
    """Only a person says what a system says: from others it is a tool's word, or it would be handed to a model as an instruction."""
    return "tool" if role in ("system", "developer") and desk.own_trust < PERSON else role


def _identity(session: str, message: Message) -> str:
    """Somebody may say "yes" twice: without an id and a time, every message is one of its own."""
    if message.id is not None:
        return f"{session}\x1f{message.id}"
    return f"{session}\x1f{message.speaker}\x1f{message.at.isoformat()}\x1f{message.text}" if message.at else f"{session}\x1f{new_id()}"
