"""Remembering: a text, or something structured of any kind. From a text also what it says: entities, facts and episodes, by rules, or by a
model that is handed in. What is concluded rests on the text, is trusted no more than it is, and goes with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memory import concluding, extraction, kinds
from memory.chunking import SIZE
from memory.extraction import Extract
from memory.items import tokens
from memory.kinds import Outcome
from memory.writing import Desk
from store import memories
from store.errors import Invalid

LONG = 4 * SIZE  # tokens: what is longer is a document, in pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """`kept`: what was said itself; `concluded`: what follows from it."""

    kept: Outcome
    concluded: Outcome = field(default_factory=Outcome)


async def remember(
    desk: Desk,
    content: str | Mapping[str, Any],
    *,
    kind: str | None = None,
    speaker: str | None = None,
    role: str = "user",
    session: str = "main",
    at: datetime | None = None,
    message_id: str | None = None,
    extract: Extract | None = None,
    infer: bool = True,
) -> Remembered:
    """Keeps a text as a turn (a long one as a document), or an item of `kind`; the same once more changes nothing.

    `extract`: a model's reading instead of the rules'; `infer=False`: nothing is concluded. Of documents something is concluded only by
    a model: rules read what people say, not prose.
    """
    if not isinstance(content, str):
        if kind is None:
            raise Invalid(f"Say of what kind this is: {', '.join(kinds.names())}.")
        kept = await kinds.keep(desk, kind, content)
        return Remembered(kept=kept, concluded=await _of_turns(desk, kept, extract) if infer and kind == "conversation" else Outcome())
    if kind not in (None, "conversation", "document"):
        raise Invalid(f"A text is kept as a conversation or a document; a {kind} takes {_fields(kind)}.")
    if kind == "document" or (kind is None and tokens(content) > LONG):
        item: dict[str, Any] = {"text": content, "at": at}
        kept = await kinds.keep(desk, "document", item)
        return Remembered(kept=kept, concluded=await _of_turns(desk, kept, extract) if infer and extract else Outcome())
    identity = message_id or (None if at else "text " + hashlib.sha256(f"{speaker}\x1f{content}".encode("utf-8", "replace")).hexdigest())
    message = {"text": content, "speaker": speaker, "role": role, "at": at, "id": identity}
    item = {"session": session, "messages": [message]}
    if infer and extract is None:
        (told,) = kinds.given("conversation", item).messages
        kept, concluded = await concluding.tell(desk, told, session)
        return Remembered(kept=kept, concluded=concluded)
    kept = await kinds.keep(desk, "conversation", item)
    return Remembered(kept=kept, concluded=await _of_turns(desk, kept, extract) if infer else Outcome())


async def _of_turns(desk: Desk, kept: Outcome, extract: Extract | None) -> Outcome:
    outcome = Outcome()
    for turn in await memories.get(desk.tenant, [*kept.created, *kept.known]):
        if turn.kind == "document" or turn.role in ("system", "developer"):
            continue
        told = turn.occurred_at or turn.recorded_at
        found = await extract(turn.body, turn.speaker, told) if extract else extraction.extract(turn.body, turn.speaker, told)
        outcome.add(await concluding.conclude(desk, turn.id, found))
    return outcome


def _fields(kind: str) -> str:
    return ", ".join(kinds.named(kind).Item.model_fields)
