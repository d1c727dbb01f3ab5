"""Operations on memories: remember, recall, forget, read, list, export. Every door and every step calls these; none does more."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from graphs.nodetype import QUOTED, Failure
from memory import forget as forgetting
from memory import importing, scopes, spaces
from memory import kinds as kinds_of_memory
from memory import recall as hybrid
from memory import remember as remembering
from memory.embedding import EmbeddingFailed
from memory.forget import Choice
from memory.items import Embedder
from memory.kinds import Outcome
from memory.reading import Passage
from memory.recall import Hit, Recalled
from memory.scopes import Principal
from memory.writing import Desk, Provenance
from store import memories
from store.errors import Conflict, Invalid, NotFound, Unavailable, WeftError
from store.memories import Memory, Scope
from store.pages import Page
from store.postgres import Tenant
from store.recall import Filters

if TYPE_CHECKING:
    from graphs.runtime import Actor, Runtime

log = logging.getLogger(__name__)

OWN = "user"
PRIVATE = "private:"
ORIGINS = ("user", "agent", "tool", "web", "document")
WORDS_ONLY = "words only: no embedder is configured (WEFT_EMBEDDER), so other words for the same thing are not found"

NO_SPACE = "words only: the memories have no vectors of the configured embedder yet (weft memory reembed makes them)"
TRUSTED = {0: "quarantined", 1: "from outside", 2: "from an agent", 3: "said by a person"}
MOST_NAME = 500  # characters
MOST_IDS = 1_000
LISTED = 100  # memories of a resource or a page


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """On whose behalf memories are read and written: the organization, the user with their role, and the run, if one does it."""

    tenant: Tenant
    principal: Principal
    embedder: Embedder | None
    run_id: str | None = None


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
class Selection:
    """What is to be forgotten, in exactly one way; without a `scope` in all that may be written to."""

    ids: Sequence[str] = ()
    query: str | None = None
    source: str | None = None
    subject: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """`receipt_id` None: they were only counted. `kinds`: how many rows of each; `runs`: whose own records may hold the same words."""

    count: int
    kinds: Mapping[str, int]
    runs: Sequence[str]
    receipt_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A question to all that is remembered, with what the answers must be."""

    query: str
    scope: str | None = None
    kinds: Sequence[str] | None = None
    collection: str | None = None
    speaker: str | None = None
    source: str | None = None
    labels: Sequence[str] = ()
    least_trust: int = 1
    as_of: datetime | None = None
    known_at: datetime | None = None
    k: int = 10
    token_budget: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file's contents are kept as."""

    name: str
    title: str
    collection: str = "documents"
    scope: str = OWN
    origin: str = "document"
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`how`: by what the hits were found, in words."""

    recalled: Recalled
    scopes: Mapping[int, str]
    how: str


def access(runtime: Runtime, actor: Actor) -> Access:
    """That of whoever came through a door. It is never an argument of a tool, a route or a step."""
    return Access(tenant=actor.tenant, principal=Principal(user_id=actor.user_id, role=actor.role), embedder=runtime.embedder)


def parse_scope(text: str) -> tuple[scopes.Kind, str, bool]:
    """ "user", "organization", "agent:helper", "private:conversation:trip" → kind, name, private. Raises Invalid."""
    private = text.startswith(PRIVATE)
    kind, _, name = text.removeprefix(PRIVATE).partition(":")
    if kind not in scopes.KINDS:
        raise Invalid(f"A scope is user, organization, or agent:, conversation:, workflow: or run: and a name; not {text[:100]!r}.")
    return kind, name, private


def spelled(scope: Scope) -> str:
    """A scope as parse_scope reads it."""
    if scope.kind in ("user", "organization"):
        return scope.kind
    return f"{PRIVATE if scope.user_id else ''}{scope.kind}:{scope.name}"


async def readable(access: Access, scope: str | None) -> list[Scope]:
    """The scope, if there is one of this name that may be read; without a name all that may be read."""
    if scope is None:
        return await scopes.visible(access.tenant, access.principal)
    kind, name, private = parse_scope(scope)
    with suppress(NotFound):
        return [await scopes.find(access.tenant, access.principal, kind, name, private=private)]
    return []


@contextmanager
def in_step() -> Generator[None]:
    """In a step an error of the house is the step's failure, and is retried when it may pass."""
    try:
        yield
    except WeftError as error:
        raise Failure(error.code, error.message, retryable=isinstance(error, Unavailable)) from error


async def remember(access: Access, wanted: Remembrance) -> Remembered:
    """Keeps a text and what it says, or an item in the form of a kind. Raises Invalid, Denied for a scope the role may not write to."""
    content = wanted.text if wanted.item is None else wanted.item
    if content is None or (wanted.text is not None and wanted.item is not None):
        raise Invalid("give a text, or an item and its kind; one of the two")
    if not isinstance(content, str) and (extra := wanted.speaker or wanted.at):
        raise Invalid(f"{extra} belongs into the item, in the field that its kind has for it")
    desk = await _desk(access, wanted)
    try:
        kept = await remembering.remember(desk, content, kind=wanted.kind, speaker=wanted.speaker, at=wanted.at)
    except EmbeddingFailed as failed:  # what was written is written; without vectors, which re-embedding makes later, all of it can be
        log.warning("memories are kept without vectors: %s", failed)
        words_only = replace(desk, embedder=None)
        kept = await remembering.remember(words_only, content, kind=wanted.kind, speaker=wanted.speaker, at=wanted.at)
    return Remembered(kept=kept.kept, concluded=kept.concluded, scope=spelled(desk.scope))


def _check_lengths(*names: str | None) -> None:
    for name in names:
        if name is not None and len(name) > MOST_NAME:
            raise Invalid(f"{name[:40]!r}… has {len(name):,} characters; names, sources and labels have at most {MOST_NAME}")


async def _desk(access: Access, wanted: Remembrance) -> Desk:
    if wanted.origin not in ORIGINS:
        raise Invalid(f"origin is one of {', '.join(ORIGINS)}, not {wanted.origin!r}")
    _check_lengths(wanted.scope, wanted.source, wanted.author, wanted.speaker, *wanted.labels)
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


async def reembed(access: Access) -> AsyncGenerator[tuple[int, int]]:
    """Makes the vectors that are missing in the configured embedder's space and goes over to it: how many there are, of how many."""
    if access.embedder is None:
        raise Invalid("no embedder is configured (WEFT_EMBEDDER)")
    async for progress in spaces.move(access.tenant, access.embedder):
        yield progress.done, progress.total


_registered: set[tuple[str, str, str, int]] = set()


async def _ready(access: Access) -> Embedder | None:
    """The embedder, once its space is there: the organization's first memory makes it."""
    if (embedder := access.embedder) is None:
        return None
    key = (access.tenant.org_id, embedder.provider, embedder.model, embedder.dimensions)
    if key not in _registered:
        await spaces.register(access.tenant, embedder)
        _registered.add(key)
    return embedder


async def recall(access: Access, wanted: Wanted) -> Found:
    """What answers best, of all that may be read. Raises Invalid, NotFound for a kind there is not."""
    _check_lengths(wanted.scope, wanted.source, wanted.collection, wanted.speaker, *wanted.labels, *(wanted.kinds or ()))
    filters = Filters(
        kinds=rows(wanted.kinds),
        collection=wanted.collection,
        speaker=wanted.speaker,
        source=wanted.source,
        labels=wanted.labels or None,
        least_trust=max(1, wanted.least_trust),
        as_of=wanted.as_of,
        known_at=wanted.known_at,
    )
    within = await readable(access, wanted.scope)
    found, how = await _recall(access, within, wanted, filters)
    return Found(recalled=found, scopes={scope.id: spelled(scope) for scope in within}, how=how)


async def _recall(access: Access, within: Sequence[Scope], wanted: Wanted, filters: Filters) -> tuple[Recalled, str]:
    """What is found, and how; by words alone when the embedder does not answer."""

    async def search(embedder: Embedder | None) -> Recalled:
        return await hybrid.recall(
            access.tenant, access.principal, within, wanted.query, filters=filters, k=wanted.k, token_budget=wanted.token_budget,
            embedder=embedder, after=wanted.cursor,
        )  # fmt: skip

    try:
        found = await search(access.embedder)
    except EmbeddingFailed as failed:
        return await search(None), f"words only: the embedder did not answer ({str(failed)[:200]})"
    return found, found.by if found.by != "words" else NO_SPACE if access.embedder else WORDS_ONLY


async def count_forgotten(access: Access, selection: Selection) -> Forgotten:
    """What forgetting them would remove, derived memories included. Raises Invalid."""
    return await _forget(access, selection, reason="", dry_run=True)


async def forget(access: Access, selection: Selection, *, expect: int | None = None, reason: str = "asked for") -> Forgotten:
    """Removes them with all that was derived from them. With `expect` only if there are so many. Raises Invalid, Conflict."""
    if expect is not None and (counted := await count_forgotten(access, selection)).count != expect:
        raise Conflict(f"there are {counted.count} to forget now and not {expect}; nothing was removed", count=counted.count)
    return await _forget(access, selection, reason=reason, dry_run=False)


async def _forget(access: Access, selection: Selection, *, reason: str, dry_run: bool) -> Forgotten:
    _check_lengths(selection.scope, selection.source, selection.subject)
    if len(selection.ids) > MOST_IDS or len(selection.query or "") > hybrid.MOST_QUESTION:
        raise Invalid(f"at most {MOST_IDS:,} ids, or a query of {hybrid.MOST_QUESTION:,} characters, are forgotten at a time")
    choice = Choice(ids=selection.ids, query=selection.query, source=selection.source, subject=selection.subject)
    within = [scope for scope in await readable(access, selection.scope) if scopes.writable(scope, access.principal)]
    found = await forgetting.forget(access.tenant, within, choice, reason=reason, by=access.principal.user_id, dry_run=dry_run)
    receipt = found.receipt.id if found.receipt else None
    return Forgotten(count=len(found.ids), kinds=found.counts, runs=found.runs, receipt_id=receipt)


async def export(access: Access, *, subject: str | None = None, scope: str | None = None) -> AsyncGenerator[dict[str, Any]]:
    """All that is known and may be read, or all of it about a person or thing, the newest first; also what holds no more."""
    within = await readable(access, scope)
    if subject is not None:
        ids = await forgetting.about(access.tenant, [found.id for found in within], subject)
        for start in range(0, len(ids), LISTED):
            for memory in await memories.get(access.tenant, ids[start : start + LISTED]):
                yield memory_view(memory)
        return
    cursor: str | None = None
    while True:
        found = await memories.page(access.tenant, [one.id for one in within], retracted=True, limit=LISTED, after=cursor)
        for memory in found.items:
            yield memory_view(memory)
        if (cursor := found.next_cursor) is None:
            return


async def get(access: Access, memory_id: str) -> Memory:
    """Raises NotFound, alike for what is not there and what is somebody else's."""
    found = await read(access, [memory_id])
    if not found:
        raise NotFound(f"there is no memory {memory_id!r} here; recall or list_memories shows those there are")
    return found[0]


async def read(access: Access, ids: Sequence[str]) -> list[Memory]:
    """Those of the ids that are there and may be read."""
    known = [memory_id for memory_id in ids if _is_id(memory_id)]
    if not known:
        return []
    allowed = {scope.id for scope in await readable(access, None)}
    return [found for found in await memories.get(access.tenant, known) if found.scope_id in allowed]


async def page(
    access: Access, *, scope: str | None = None, kinds: Sequence[str] | None = None, collection: str | None = None,
    retracted: bool = False, limit: int = 50, cursor: str | None = None,
) -> Page[Memory]:  # fmt: skip
    """Memories, the newest first. Raises Invalid, NotFound for a kind there is not."""
    chosen = rows(kinds)
    within = [found.id for found in await readable(access, scope)]
    return await memories.page(access.tenant, within, kinds=chosen, collection=collection, retracted=retracted, limit=limit, after=cursor)


def kinds() -> tuple[str, ...]:
    """The kinds of memory there are."""
    return kinds_of_memory.names()


def rows(kinds: Sequence[str] | None) -> list[str] | None:
    return None if not kinds else kinds_of_memory.rows(*kinds)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


# -- how they look from outside: data that is quoted, never a part of what quotes it --------------------------------------------------


def hit_view(found: Found, hit: Hit) -> dict[str, Any]:
    """A hit with its source, date and trust, and why it is there."""
    memory = hit.memory
    about: dict[str, Any] = {
        "memory_id": memory.id,
        "kind": memory.kind,
        "quote": memory.body,
        "title": memory.title,
        "speaker": memory.speaker,
        "at": _iso(memory.occurred_at),
        "valid_from": _iso(memory.valid_from),
        "valid_to": _iso(memory.valid_to),
        "source": memory.source,
        "author": memory.author,
        "trust": TRUSTED[memory.trust],
        "labels": memory.labels,
        "scope": found.scopes.get(memory.scope_id),
        "score": hit.score,
        "why": {name: value for name, value in hit.parts.items() if value},
        "highlights": [list(span) for span in hit.highlights],
    }
    return {name: value for name, value in about.items() if value not in (None, [], {})}


def memory_view(memory: Memory) -> dict[str, Any]:
    """A memory as its kind shows it, with where it is from and how far it is believed."""
    return {**kinds_of_memory.show(memory), "trust": TRUSTED[memory.trust]}


def outcome_view(kept: Remembered) -> dict[str, Any]:
    """Ids of what is new, was known, was superseded, is contested; of what was said, and of what was concluded from it."""
    found = {"created": kept.kept.created, "known": kept.kept.known, "concluded": kept.concluded.created}
    for name in ("superseded", "contested"):
        found[name] = [*getattr(kept.kept, name), *getattr(kept.concluded, name)]
    return {"scope": kept.scope, **{name: ids for name, ids in found.items() if ids or name == "created"}}


def forgotten_view(found: Forgotten) -> dict[str, Any]:
    view: dict[str, Any] = {"count": found.count, "kinds": dict(found.kinds), "runs": list(found.runs)}
    return {**view, "receipt_id": found.receipt_id} if found.receipt_id else view


def quoted(found: Found) -> str:
    """The hits as a text for a prompt. Every line of a memory begins with "> ", so that none of it can pass for what stands around it."""
    if not found.recalled.hits:
        return "(nothing is remembered about this)"
    return "\n\n".join([QUOTED, *(_quote(number, hit.memory) for number, hit in enumerate(found.recalled.hits, 1))])


def _quote(number: int, memory: Memory) -> str:
    about = [
        memory.kind,
        TRUSTED[memory.trust],
        f"{memory.occurred_at:%Y-%m-%d}" if memory.occurred_at else None,
        memory.speaker,
        memory.source,
    ]
    head = " · ".join(" ".join(part.split()) for part in about if part)
    return f"[{number}] {head}\n" + "\n".join(f"> {line}" for line in memory.body.splitlines())


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
