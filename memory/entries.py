"""Values under a namespace and a key, as agents of LangGraph keep them. Each is a document among the memories of its scope: the value in
`data`, its text in `body` and, when it is long, in pieces. A new value under the same key is a new memory in place of the one before."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from memory import items, quotes
from memory.chunking import chunks
from memory.embedding import EmbeddingFailed
from memory.items import UNSTORABLE, NewMemory
from memory.writing import Desk
from store import entries, jsontext, lineage, memories, spaces
from store.errors import Invalid, Unavailable
from store.ids import new_id
from store.postgres import Transaction

log = logging.getLogger(__name__)

MOST_KEY = 500  # characters
MOST_NAMESPACE = 480  # characters with its dots: with the word before it, a label of a memory
MOST_VALUE = 1_000_000  # characters of a value as JSON
DEEPEST = 100  # levels of lists and objects
SHOWN = 2_000  # characters of a value that is not to be found, for those who look through the memories
LABEL = "entry"
MOST_MINUTES = 100 * 366 * 24 * 60.0
APART = 10  # places between texts of different fields, which are no neighbours; pieces of one text are
TRIES = 5  # of a change that another one is in the way of
SWEPT = 200

Namespace = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """`value` as `checked` gives it; `texts`: what it is found by, if by anything but its namespace; `ttl_minutes` None: it stays."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    texts: Sequence[str] = ()
    ttl_minutes: float | None = None


def digest(namespace: Namespace, key: str) -> str:
    """What makes two values the same one, in hexadecimal."""
    return hashlib.sha256(jsontext.text([*namespace, key]).encode()).hexdigest()


def label(namespace: Namespace) -> str:
    """The label by which recall finds what is under a namespace."""
    return ":".join((LABEL, ".".join(namespace))) if namespace else LABEL


def check_name(namespace: Namespace, key: str) -> None:
    """Raises Invalid for a namespace or key that cannot be kept."""
    for what, name, most in (("namespace", ".".join(namespace), MOST_NAMESPACE), ("key", key, MOST_KEY)):
        if len(name) > most:
            raise Invalid(f"The {what} {name[:40]!r}… has {len(name):,} characters; it may have {most}.")
        if UNSTORABLE.search(name):
            raise Invalid(f"The {what} {name[:40]!r} has a NUL or half a surrogate pair in it, which Postgres cannot keep.")


def checked(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value as it is kept. Raises Invalid, with the place, for what would not come back as it is."""
    if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # agents hand in anything
        raise Invalid(f"A value is a dict, and this one is of type {type(value).__name__}; put it under a name: {{'value': …}}.")
    written = check_json("value", dict(value))
    if len(written) > MOST_VALUE:
        raise Invalid(
            f"The value has {len(written):,} characters as JSON; it may have {MOST_VALUE:,}. Keep it in parts under several keys."
        )
    return cast("dict[str, Any]", json.loads(written))


def check_json(name: str, value: Any) -> str:
    """It as JSON. Raises Invalid, with the place below `name`, for what Postgres cannot keep or JSON cannot say."""
    waiting: list[tuple[str, int, Any]] = [(name, 0, value)]
    while waiting:
        place, depth, found = waiting.pop()
        match found:
            case str():
                if UNSTORABLE.search(found):
                    raise Invalid(f"{place} has a NUL or half a surrogate pair in it, which Postgres cannot keep; take it out.")
            case bool() | int() | float() | None:
                pass
            case dict() | list() | tuple():
                if depth == DEEPEST:
                    raise Invalid(f"{place[:200]} is more than {DEEPEST} levels deep; keep it as text.")
                waiting += [(inner, depth + 1, item) for inner, item in _within(place, found)]
            case _:
                raise Invalid(f"{place} is of type {type(found).__name__}, which JSON has not; make it text, a number, a list or a dict.")
    return jsontext.text(value)


def said(value: Mapping[str, Any]) -> str:
    """A value as text, a line for each thing it says: "favourite food: rice". The only one, if it is text, stands alone."""
    leaves = list(_leaves(value))
    if len(leaves) == 1 and isinstance(leaves[0][1], str):
        return leaves[0][1]
    return "\n".join(f"{name}: {leaf if isinstance(leaf, str) else jsontext.text(leaf)}" for name, leaf in leaves)


async def change(desk: Desk, new: Sequence[NewEntry], gone: Sequence[tuple[Namespace, str]] = ()) -> None:
    """Keeps new values in place of old ones and removes others, all or nothing; no key twice. What was made of an old one goes with it."""
    if desk.own_trust > 1 and new:  # said once more, words from outside are believed no more
        said = quotes.passages(*(text for entry in new for text in quotes.strings(entry.value)))
        heard = await memories.heard(desk.tenant, said, desk.provenance.created_by)
        desk = desk if heard is None else desk.believed(heard)
    made = [_Made(desk, entry) for entry in new]
    digests = [digest(*place) for place in gone]
    space, vectors = await _embedded(desk, [row for one in made for row in one.found])
    for tries_left in reversed(range(TRIES)):
        try:
            async with desk.tenant.transaction() as transaction:
                await _replace(transaction, desk, made, digests)
                if vectors:
                    await spaces.put(transaction, space, list(vectors), list(vectors.values()))
            return
        except Unavailable as error:
            if not (tries_left and error.details.get("undone")):
                raise


async def sweep(desk: Desk) -> int:
    """Removes values whose time to live is over, which nobody sees any more; how many."""
    swept = 0
    while True:
        async with desk.tenant.transaction() as transaction:
            ids = await entries.expired(transaction, desk.scope.id, limit=SWEPT)
            await _remove(transaction, ids)
        swept += len(ids)
        if len(ids) < SWEPT:
            return swept


class _Made:
    """An entry as rows: the document, and the pieces of its text that come after the first."""

    def __init__(self, desk: Desk, entry: NewEntry) -> None:
        check_name(entry.namespace, entry.key)
        pieces = _pieces(entry.texts)
        self.digest = digest(entry.namespace, entry.key)
        self.entry = entry
        self.indexed = bool(pieces)
        body = pieces[0][1] if pieces else (said(entry.value).strip() or "(empty)")[:SHOWN]
        labels = tuple(label(entry.namespace[:depth]) for depth in range(len(entry.namespace) + 1))
        collection = ".".join(entry.namespace)
        own = new_id()
        self.document = desk.memory(
            "document", body, id=own, collection=collection, labels=labels, identity=f"{LABEL} {self.digest}",
            series=own if pieces[1:] else None, seq=pieces[0][0] if pieces[1:] else None,
            data={"namespace": list(entry.namespace), "key": entry.key, "value": entry.value},
        )  # fmt: skip
        self.pieces = [
            desk.memory(
                "chunk", text, collection=collection, labels=labels, series=own, seq=place, identity=f"{own}\x1f{place}",
            )
            for place, text in pieces[1:]
        ]  # fmt: skip

    @property
    def found(self) -> list[NewMemory]:
        """The rows that are found by their text."""
        return [self.document, *self.pieces] if self.indexed else []

    def row(self) -> dict[str, Any]:
        return {
            "digest": self.digest, "namespace": list(self.entry.namespace), "key": self.entry.key, "memory_id": self.document.id,
            "indexed": self.indexed, "ttl_minutes": self.entry.ttl_minutes,
        }  # fmt: skip


async def _replace(transaction: Transaction, desk: Desk, made: Sequence[_Made], gone: Sequence[str]) -> None:
    held: list[str] = []
    if gone:
        held = await entries.hold(transaction, desk.scope.id, sorted({*gone, *(one.digest for one in made)}))
    claimed = await entries.claim(transaction, desk.scope.id, [one.row() for one in made]) if made else []
    await _remove(transaction, list(dict.fromkeys([*held, *claimed])))
    if made:
        await items.write(transaction, desk.scope, [row for one in made for row in (one.document, *one.pieces)])
        if whole := [(one.document.id, piece.id) for one in made for piece in one.pieces]:  # neither stands without the other
            documents, pieces = [one for one, _ in whole], [one for _, one in whole]
            await memories.descend(transaction, [*documents, *pieces], [*pieces, *documents])
    if unfound := [one.document.id for one in made if not one.indexed]:
        await entries.silence(transaction, unfound)
    if mortal := [one.document.id for one in made if one.entry.ttl_minutes is not None]:
        await entries.refresh(transaction, mortal)


async def _remove(transaction: Transaction, ids: Sequence[str]) -> None:
    if ids:
        await memories.delete(transaction, await lineage.falling(transaction, ids))


async def _embedded(desk: Desk, rows: Sequence[NewMemory]) -> tuple[int, dict[str, str]]:
    """The space and the vectors by memory; none when there is no embedder or it does not answer: the next re-embedding makes them."""
    if desk.embedder is None or not rows:
        return 0, {}
    try:
        space = await memories.active_space(
            desk.tenant, provider=desk.embedder.provider, model=desk.embedder.model, dimensions=desk.embedder.dimensions
        )
        if space is None:
            return 0, {}
        vectors = await items.embed(desk.embedder, [items.contextual(row) for row in rows])
    except EmbeddingFailed as failed:
        log.warning("%s values have no vector yet: %s", len(rows), failed)
        return 0, {}
    return space.id, dict(zip((row.id for row in rows), vectors, strict=True))


def _pieces(texts: Sequence[str]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for text in texts:
        begun = found[-1][0] + APART if found else 1
        found += [(begun + place, piece.body) for place, piece in enumerate(chunks(text))]
    return found


def _within(place: str, found: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(found, dict):
        yield from ((f"{place}[{number}]", item) for number, item in enumerate(found))
        return
    for name, item in cast("dict[Any, Any]", found).items():
        if not isinstance(name, str):
            raise Invalid(f"{place} has the key {name!r}, which is no text; JSON objects have only keys of text.")
        if UNSTORABLE.search(name):
            raise Invalid(f"{place} has a key with a NUL or half a surrogate pair in it, which Postgres cannot keep; take it out.")
        yield f"{place}.{name}", item


def _leaves(value: Any, name: str = "value") -> Iterator[tuple[str, Any]]:
    """What a value says, each with the nearest name above it; nothing is said by null and by what is empty."""
    match value:
        case dict() | Mapping():
            for key, item in cast("Mapping[str, Any]", value).items():
                yield from _leaves(item, key.replace("_", " "))
        case list() | tuple():
            for item in cast("list[Any]", value):
                yield from _leaves(item, name)
        case None:
            pass
        case _:
            yield name, value
