"""Remembering: a text, or something structured of any kind. From a text also what it says: entities, facts and episodes, by rules, or by a
model that is handed in. What is concluded rests on the text, is trusted no more than it is, and goes with it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memory import concluding, extraction, kinds
from memory.chunking import SIZE
from memory.extraction import Extract, Extracted, NotRead
from memory.items import tokens
from memory.kinds import Outcome
from memory.writing import Desk
from store import looks, memories
from store.errors import Invalid
from store.memories import Memory

LONG = 4 * SIZE  # tokens: what is longer is a document, in pieces
MOST_ASKED = 20  # turns or pieces of one remembrance that a model reads; what it does not read, the rules do
AT_ONCE = 4  # of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """How many texts were read by the model and by the rules; `failed`: why the model did not read what it was asked to, once for all."""

    model: int = 0
    rules: int = 0
    failed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """`kept`: what was said itself; `concluded`: what follows from it."""

    kept: Outcome
    concluded: Outcome = field(default_factory=Outcome)
    readings: Readings = Readings()


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

    `extract`: a model's reading instead of the rules', once for each text; `infer=False`: nothing is concluded. Of documents something is
    concluded only by a model: rules read what people say, not prose.
    """
    if not isinstance(content, str):
        if kind is None:
            raise Invalid(f"Say of what kind this is: {', '.join(kinds.names())}.")
        kept = await kinds.keep(desk, kind, content)
        return await _concluded(desk, kept, extract) if infer and kind == "conversation" else Remembered(kept=kept)
    if kind not in (None, "conversation", "document"):
        raise Invalid(f"A text is kept as a conversation or a document; a {kind} takes {_fields(kind)}.")
    if kind == "document" or (kind is None and tokens(content) > LONG):
        item: dict[str, Any] = {"text": content, "at": at}
        kept = await kinds.keep(desk, "document", item)
        return await _concluded(desk, kept, extract) if infer and extract else Remembered(kept=kept)
    identity = message_id or (None if at else "text " + hashlib.sha256(f"{speaker}\x1f{content}".encode("utf-8", "replace")).hexdigest())
    message = {"text": content, "speaker": speaker, "role": role, "at": at, "id": identity}
    item = {"session": session, "messages": [message]}
    if infer and extract is None:
        (told,) = kinds.given("conversation", item).messages
        kept, concluded = await concluding.tell(desk, told, session)
        return Remembered(kept=kept, concluded=concluded, readings=Readings(rules=1))
    kept = await kinds.keep(desk, "conversation", item)
    return await _concluded(desk, kept, extract) if infer else Remembered(kept=kept)


async def _concluded(desk: Desk, kept: Outcome, extract: Extract | None) -> Remembered:
    found = await memories.get(desk.tenant, [*kept.created, *kept.known])
    texts = [text for text in found if text.kind != "document" and text.role not in ("system", "developer")]
    outcome = Outcome()
    if extract is None:
        for text in texts:
            outcome.add(await concluding.conclude(desk, text.id, extraction.extract(text.body, text.speaker, _told(text))))
        return Remembered(kept=kept, concluded=outcome, readings=Readings(rules=len(texts)))
    done = await looks.finished(desk.tenant, "read", [text.id for text in texts])
    asked = await _asked(desk, [text for text in texts if text.id not in done], extract)
    failed = next((str(answer) for answer in asked.values() if isinstance(answer, NotRead)), None)
    read = rules = 0
    for text in texts:
        answer = asked.get(text.id)
        if isinstance(answer, Extracted):
            outcome.add(await concluding.conclude(desk, text.id, answer))
            await looks.finish(desk.tenant, "read", [text.id])
            read += 1
        elif text.id not in done and text.kind == "turn":
            outcome.add(await concluding.conclude(desk, text.id, extraction.extract(text.body, text.speaker, _told(text))))
            rules += 1
    return Remembered(kept=kept, concluded=outcome, readings=Readings(model=read, rules=rules, failed=failed))


async def _asked(desk: Desk, texts: Sequence[Memory], extract: Extract) -> dict[str, Extracted | NotRead]:
    """The model's reading of each text that it was never asked about, of the first MOST_ASKED. It is noted before it is asked: whatever
    happens in between, nobody pays twice for a text; where it gave no answer it may be asked again."""
    ours = await looks.begin(desk.tenant, "read", [text.id for text in texts[:MOST_ASKED]])
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(text: Memory) -> Extracted | NotRead:
        async with room:
            try:
                return await extract(text.body, text.speaker, _told(text))
            except NotRead as failed:
                return failed

    chosen = [text for text in texts if text.id in ours]
    answers = await asyncio.gather(*(ask(text) for text in chosen))
    found = {text.id: answer for text, answer in zip(chosen, answers, strict=True)}
    await looks.drop(desk.tenant, "read", [memory_id for memory_id, answer in found.items() if isinstance(answer, NotRead)])
    return found


def _told(text: Memory) -> datetime:
    return text.occurred_at or text.recorded_at


def _fields(kind: str) -> str:
    return ", ".join(kinds.named(kind).Item.model_fields)
