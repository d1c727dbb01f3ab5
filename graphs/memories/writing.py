"""Remembering: a text, an item of a kind, the contents of files; and making their vectors anew."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graphs.memories.reach import OWN, Access, check_lengths, parse_scope, spelled
from memory import importing, scopes, spaces
from memory import kinds as kinds_of_memory
from memory import remember as remembering
from memory.embedding import Embedder, EmbeddingFailed
from memory.kinds import Outcome
from memory.reading import Passage
from memory.writing import Desk, Provenance
from store.errors import Invalid

log = logging.getLogger(__name__)

_registered: set[tuple[str, str, str, int]] = set()

ORIGINS = ("user", "agent", "tool", "web", "document")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembrance:
    """Something to remember: a `text`, from which what it says is taken, or an `item` in the form of a `kind`."""

    text: str | None = None
    kind: str | None = None
    item: Mapping[str, Any] | None = None
    scope: str = OWN
    origin: str = "user"
    source: str | None = None
    author: str | None = None
    speaker: str | None = None
    at: datetime | None = None
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """`kept`: what was said itself; `concluded`: what follows from it."""

    kept: Outcome
    concluded: Outcome
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file's contents are kept as."""

    name: str
    title: str
    collection: str = "documents"
    scope: str = OWN
    origin: str = "document"
    labels: Sequence[str] = ()


async def remember(access: Access, wanted: Remembrance) -> Remembered:
    """Keeps a text and what it says, or an item in the form of a kind. Raises Invalid, Denied for a scope the role may not write to."""
    content = wanted.text if wanted.item is None else wanted.item
    if content is None or (wanted.text is not None and wanted.item is not None):
        raise Invalid("give a text, or an item and its kind; one of the two")
    if not isinstance(content, str) and (extra := wanted.speaker or wanted.at):
        raise Invalid(f"{extra} belongs into the item, in the field that its kind has for it")
    desk = await open_desk(access, wanted)
    try:
        kept = await remembering.remember(desk, content, kind=wanted.kind, speaker=wanted.speaker, at=wanted.at)
    except EmbeddingFailed as failed:  # what was written is written; without vectors, which re-embedding makes later, all of it can be
        log.warning("memories are kept without vectors: %s", failed)
        words_only = replace(desk, embedder=None)
        kept = await remembering.remember(words_only, content, kind=wanted.kind, speaker=wanted.speaker, at=wanted.at)
    return Remembered(kept=kept.kept, concluded=kept.concluded, scope=spelled(desk.scope))


async def keep_passages(access: Access, source: Source, passages: Sequence[Passage]) -> Outcome:
    """Keeps documents, or up to some hundreds of rows of a list. Once more changes nothing. Raises Invalid, Denied."""
    about = Remembrance(scope=source.scope, origin=source.origin, source=source.name, labels=source.labels)
    desk = await open_desk(access, about)
    rows = [passage for passage in passages if passage.row is not None]
    outcome = await importing.keep_rows(desk, source.collection, source.title, rows) if rows else Outcome()
    for passage in passages:
        if passage.row is None:
            item = {"text": passage.text, "title": passage.title or source.title, "collection": source.collection, "at": passage.at}
            outcome.add(await kinds_of_memory.keep(desk, "document", {**item, "data": passage.data or None}))
    return outcome


async def reembed(access: Access) -> AsyncGenerator[tuple[int, int]]:
    """Makes the vectors that are missing in the configured embedder's space and goes over to it: how many there are, of how many."""
    if access.embedder is None:
        raise Invalid("no embedder is configured (WEFT_EMBEDDER)")
    async for progress in spaces.move(access.tenant, access.embedder):
        yield progress.done, progress.total


async def open_desk(access: Access, wanted: Remembrance) -> Desk:
    """Where what has this scope and provenance is written; the scope is made when it is new. Raises Invalid, Denied."""
    if wanted.origin not in ORIGINS:
        raise Invalid(f"origin is one of {', '.join(ORIGINS)}, not {wanted.origin!r}")
    check_lengths(wanted.scope, wanted.source, wanted.author, wanted.speaker, *wanted.labels)
    kind, name, private = parse_scope(wanted.scope)
    scope = await scopes.make(access.tenant, access.principal, kind, name, private=private)
    about = Provenance(
        origin=wanted.origin,
        source=wanted.source,
        author=wanted.author,
        labels=tuple(wanted.labels),
        run_id=access.run_id,
        created_by=access.principal.user_id,
    )
    return Desk(tenant=access.tenant, scope=scope, provenance=about, embedder=await _ready(access))


async def _ready(access: Access) -> Embedder | None:
    """The embedder, once its space is there: the organization's first memory makes it."""
    if (embedder := access.embedder) is None:
        return None
    key = (access.tenant.org_id, embedder.provider, embedder.model, embedder.dimensions)
    if key not in _registered:
        await spaces.register(access.tenant, embedder)
        _registered.add(key)
    return embedder
