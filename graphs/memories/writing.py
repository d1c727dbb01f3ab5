"""Remembering: a text, an item of a kind, the contents of files."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from graphs.memories.consulting import Asking
from graphs.memories.reach import OWN, PRIVATE, Access, check_lengths, noted, parse_scope, spelled
from graphs.models import Usage
from graphs.nodetype import Failure
from memory import importing, names, quotes, restoring, scopes, spaces
from memory import kinds as kinds_of_memory
from memory import remember as remembering
from memory.embedding import Embedder, EmbeddingFailed
from memory.items import TRUST
from memory.kinds import Outcome
from memory.reading import Passage
from memory.remember import Readings
from memory.writing import Desk, Provenance
from store import memories
from store.errors import Invalid
from store.memories import Scope

log = logging.getLogger(__name__)

_registered: set[tuple[str, str, str, int]] = set()

LOCAL = ("static", "minilm")
"""Embedders on this machine: they answer while a name is being looked up, which holds up others."""
ROWS_AT_ONCE = 200  # of a list, kept together
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
    """`kept`: what was said itself; `concluded`: what follows from it, and `concluded_by` what: "rules", or "model vendor:name"; None where
    there was nothing to conclude. `usage`: the tokens of the model that was asked."""

    kept: Outcome
    concluded: Outcome
    scope: str
    concluded_by: str | None = None
    usage: Usage | None = None


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
    if desk.own_trust > 1:  # said once more, words from outside are believed no more
        heard = await memories.heard(access.tenant, quotes.passages(*quotes.strings(content)), access.principal.user_id)
        desk = desk if heard is None else desk.believed(heard)
    asking = asked_for_memory(access)
    about: dict[str, Any] = {"kind": wanted.kind, "speaker": wanted.speaker, "at": wanted.at, "extract": asking.read if asking else None}
    try:
        kept = await remembering.remember(desk, content, **about)
    except EmbeddingFailed as failed:  # what was written is written; without vectors, which re-embedding makes later, all of it can be
        log.warning("memories are kept without vectors: %s", failed)
        kept = await remembering.remember(replace(desk, embedder=None), content, **about)
    if access.run_id:
        ids = [one for outcome in (kept.kept, kept.concluded) for one in (*outcome.created, *outcome.known, *outcome.superseded)]
        await noted(access, ids)
    by, usage = _by(kept.readings, asking), asking.usage if asking and asking.usage != Usage() else None
    return Remembered(kept=kept.kept, concluded=kept.concluded, scope=spelled(desk.scope), concluded_by=by, usage=usage)


def asked_for_memory(access: Access, *, timeout: float | None = None) -> Asking | None:
    """The model that the operator chose to read and sum up memories (WEFT_MEMORY_MODEL); None: rules do."""
    try:
        model = access.models.for_memory() if access.models else None
    except Failure as failed:
        log.warning("no model reads what is remembered: %s", failed.message)
        return None
    return Asking(models=access.models, model=model, timeout=timeout) if access.models and model else None


def _by(readings: Readings, asking: Asking | None) -> str | None:
    """In words: what drew the conclusions."""
    done = [f"model {asking.model}"] if asking and readings.model else []
    done += ["rules"] if readings.rules else []
    if readings.failed and asking:
        done = done or ["nothing"]
        return f"{' and '.join(done)}; model {asking.model} did not read all of it: {readings.failed}"
    return " and ".join(done) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """How far an import is: rows of a list, or pieces of a document, of so many (0: not known), and what became of the last of them."""

    done: int
    total: int
    outcome: Outcome


async def bring_in(access: Access, source: Source, passages: Iterable[Passage]) -> AsyncGenerator[Brought]:
    """Keeps what is in a file, in parts that can be cut off anywhere: what it says now takes the place of what was kept of it before. Once
    more changes nothing. Raises Invalid, Denied."""
    about = Remembrance(scope=source.scope, origin=source.origin, source=source.name, labels=source.labels)
    desk = await open_desk(access, about)
    rows = importing.Rows(desk=desk, collection=source.collection, title=source.title)
    for is_row, some in groupby(passages, key=lambda passage: passage.row is not None):
        done = 0
        while is_row and (batch := list(islice(some, ROWS_AT_ONCE))):
            done += len(batch)
            yield Brought(done=done, total=0, outcome=await rows.keep(batch))
        for passage in () if is_row else some:
            item = {"text": passage.text, "title": passage.title or source.title, "collection": source.collection, "at": passage.at}
            given = kinds_of_memory.given("document", {**item, "data": passage.data or None})
            async for done, total, outcome in importing.keep_document(desk, given):
                yield Brought(done=done, total=total, outcome=outcome)
    yield Brought(done=0, total=0, outcome=await rows.end())


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How far the import of an export is: lines read in this pass, what became of the last memories, and how many are left out so far."""

    line: int
    outcome: Outcome
    left_out: int


async def restore(
    access: Access, read: Callable[[], Iterable[tuple[int, Any]]], *, scope: str | None = None, origin: str | None = None
) -> AsyncGenerator[Restored]:
    """Keeps the memories of an export, whose lines `read` reads with their numbers, in two passes. `scope`: all in this one, not each in
    that of its name; `origin`: they are believed no more than what comes from there. Raises Invalid, Denied."""
    found = next((restoring.header(line) for _, line in read()), None)
    if found is None:
        raise Invalid("this is no export of memories: its first line does not say so")
    within = {
        number: await scopes.make(access.tenant, access.principal, *_target(told, scope)[:2], private=_target(told, scope)[2])
        for number, told in found.items()
    }
    await _ready(access)
    most = max(TRUST.values()) if origin is None else TRUST[origin]
    restored = restoring.Restore(tenant=access.tenant, scopes=within, most=most, user_id=access.principal.user_id)
    async for line, outcome in restored.rows(read()):
        yield Restored(line=line, outcome=outcome, left_out=restored.left_out)
    async for line in restored.relations(read()):
        yield Restored(line=line, outcome=Outcome(), left_out=restored.left_out)


def _target(told: Mapping[str, Any], scope: str | None) -> tuple[scopes.Kind, str, bool]:
    if scope is not None:
        return parse_scope(scope)
    kind, name = str(told.get("kind")), str(told.get("name") or "")
    return parse_scope(kind if kind in ("user", "organization") else f"{PRIVATE if told.get('private') else ''}{kind}:{name}")


async def make_vectors(access: Access) -> AsyncGenerator[tuple[int, int]]:
    """Makes vectors that are missing in the space in use, as after an import that was killed: how many are made, of how many."""
    embedder = access.embedder
    space = await spaces.active(access.tenant)
    if embedder is None or space is None or (space.provider, space.model) != (embedder.provider, embedder.model):
        return
    first: int | None = None
    async for progress in spaces.fill(access.tenant, embedder, space):
        first = progress.done if first is None else first
        yield progress.done - first, max(progress.total, progress.done) - first


async def desk_of(access: Access, scope: Scope) -> Desk:
    """To write at what is concluded from memories of the scope."""
    about = Provenance(origin="inference", run_id=access.run_id, created_by=access.principal.user_id)
    return Desk(tenant=access.tenant, scope=scope, provenance=about, embedder=await _ready(access))


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
    embedder = await _ready(access)
    choose = names.nearest(embedder) if embedder and embedder.provider in LOCAL else None
    return Desk(tenant=access.tenant, scope=scope, provenance=about, embedder=embedder, choose=choose)


async def _ready(access: Access) -> Embedder | None:
    """The embedder, once its space is there: the organization's first memory makes it."""
    if (embedder := access.embedder) is None:
        return None
    key = (access.tenant.org_id, embedder.provider, embedder.model, embedder.dimensions)
    if key not in _registered:
        await spaces.register(access.tenant, embedder)
        _registered.add(key)
    return embedder
