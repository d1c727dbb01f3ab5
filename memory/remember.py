"""Remembering: a text, or something structured of any kind. From a text also what it says: entities, facts and episodes, by rules, or by a
model that is handed in. What is concluded rests on the text, is trusted no more than it is, and goes with it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memory import extraction, kinds, names, words
from memory.chunking import SIZE
from memory.extraction import Extract, Extracted, FoundFact, NotRead
from memory.items import tokens
from memory.kinds import Outcome, entity, episode, fact
from memory.writing import Desk
from store import entities, lineage, looks, memories
from store.errors import Invalid
from store.memories import Memory

LONG = 4 * SIZE  # tokens: what is longer is a document, in pieces
MOST = 200  # of each kind that one text is taken to say
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
    kept = await kinds.keep(desk, "conversation", {"session": session, "messages": [message]})
    return await _concluded(desk, kept, extract) if infer else Remembered(kept=kept)


async def conclude(desk: Desk, memory_id: str, found: Extracted) -> Outcome:
    """Keeps what a memory says. Once more is the same once; what was retracted since is not held again because of the same words."""
    (told,) = await memories.get(desk.tenant, [memory_id])
    derived = desk.derived([memory_id])
    outcome = Outcome()
    before = {(row.subject, row.predicate, row.object) for row in await lineage.concluded(desk.tenant, memory_id)}
    mentioned: list[str] = []
    async with derived.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        for one in found.entities[:MOST]:
            if words.plain(one.name).strip():
                made = await entity.ensure(derived, sheet, entity.Item(name=one.name[:500], type=one.type), literal=False)
                mentioned.append(made.id)
                (outcome.created if made.created else outcome.known).append(made.id)
        if mentioned:
            await entities.mention(sheet.transaction, memory_id, mentioned)
    for one in found.facts[:MOST]:
        if _key(one) not in before:
            outcome.add(await fact.keep(derived, _item(one, told.occurred_at or told.recorded_at), literal=False))
    for one in found.episodes[:MOST]:
        item = episode.Item(
            actor=one.actor, action=one.action, object=one.object, outcome=one.outcome, importance=one.importance,
            at=one.occurred_at or told.occurred_at or told.recorded_at,
        )  # fmt: skip
        outcome.add(await episode.keep(derived, item, literal=False))
    return outcome


async def _concluded(desk: Desk, kept: Outcome, extract: Extract | None) -> Remembered:
    found = await memories.get(desk.tenant, [*kept.created, *kept.known])
    texts = [text for text in found if text.kind != "document" and text.role not in ("system", "developer")]
    outcome = Outcome()
    if extract is None:
        for text in texts:
            outcome.add(await conclude(desk, text.id, extraction.extract(text.body, text.speaker, _told(text))))
        return Remembered(kept=kept, concluded=outcome, readings=Readings(rules=len(texts)))
    done = await looks.finished(desk.tenant, "read", [text.id for text in texts])
    asked = await _asked(desk, [text for text in texts if text.id not in done], extract)
    failed = next((str(answer) for answer in asked.values() if isinstance(answer, NotRead)), None)
    read = rules = 0
    for text in texts:
        answer = asked.get(text.id)
        if isinstance(answer, Extracted):
            outcome.add(await conclude(desk, text.id, answer))
            await looks.finish(desk.tenant, "read", [text.id])
            read += 1
        elif text.id not in done and text.kind == "turn":
            outcome.add(await conclude(desk, text.id, extraction.extract(text.body, text.speaker, _told(text))))
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


def _key(found: FoundFact) -> tuple[str, str, str]:
    return names.compared(found.subject), extraction.predicate_named(found.predicate), " ".join(words.plain(found.object).split())


def _item(found: FoundFact, told: datetime) -> fact.Item:
    since = found.valid_from or (None if found.valid_to else told)
    if since and found.valid_to and since >= found.valid_to:
        since = None
    return fact.Item(
        subject=found.subject, predicate=found.predicate, object=found.object, single=found.single, confidence=found.confidence,
        valid_from=since, valid_to=found.valid_to, relation=found.object_is_entity,
    )  # fmt: skip


def _fields(kind: str) -> str:
    return ", ".join(kinds.named(kind).Item.model_fields)
