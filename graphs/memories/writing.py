"""Remembering: a text, an item of a kind, the contents of files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graphs.memories.consulting import Asking
from graphs.memories.reach import OWN, Access, check_lengths, parse_scope, spelled
from graphs.models import Usage
from graphs.nodetype import Failure
from memory import importing, names, quotes, scopes, spaces
from memory import kinds as kinds_of_memory
from memory import remember as remembering
from memory.embedding import Embedder, EmbeddingFailed
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
    desk = await _desk(access, wanted)
    if not isinstance(content, str) and desk.own_trust > 1:  # of a text this is looked at where it is kept
        heard = await memories.heard(access.tenant, quotes.passages(*quotes.strings(content)), access.principal.user_id)
        desk = desk if heard is None else desk.believed(heard)
    asking = asked_for_memory(access)
    about: dict[str, Any] = {"kind": wanted.kind, "speaker": wanted.speaker, "at": wanted.at, "extract": asking.read if asking else None}
    try:
        kept = await remembering.remember(desk, content, **about)
    except EmbeddingFailed as failed:  # what was written is written; without vectors, which re-embedding makes later, all of it can be
        log.warning("memories are kept without vectors: %s", failed)
        kept = await remembering.remember(replace(desk, embedder=None), content, **about)
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


async def keep_passages(access: Access, source: Source, passages: Sequence[Passage]) -> Outcome:
    """Keeps documents, or up to some hundreds of rows of a list. Once more changes nothing. Raises Invalid, Denied."""
    about = Remembrance(scope=source.scope, origin=source.origin, source=source.name, labels=source.labels)
    desk = await _desk(access, about)
    rows = [passage for passage in passages if passage.row is not None]
    outcome = await importing.keep_rows(desk, source.collection, source.title, rows) if rows else Outcome()
    for passage in passages:
        if passage.row is None:
            item = {"text": passage.text, "title": passage.title or source.title, "collection": source.collection, "at": passage.at}
            outcome.add(await kinds_of_memory.keep(desk, "document", {**item, "data": passage.data or None}))
    return outcome


async def desk_of(access: Access, scope: Scope) -> Desk:
    """To write at what is concluded from memories of the scope."""
    about = Provenance(origin="inference", run_id=access.run_id, created_by=access.principal.user_id)
    return Desk(tenant=access.tenant, scope=scope, provenance=about, embedder=await _ready(access))


async def _desk(access: Access, wanted: Remembrance) -> Desk:
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
