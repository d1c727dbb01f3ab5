"""Keeping memories: what is to be remembered, made into rows with their terms, digest and vectors. The same memory twice is one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from memory import words
from memory.embedding import Embedder
from store import memories
from store.errors import Invalid
from store.ids import new_id
from store.memories import Bare, Inserted, Kept, Scope, Space
from store.postgres import Tenant, Transaction

TRUST = {"user": 3, "operator": 3, "agent": 2, "inference": 2, "tool": 1, "web": 1, "document": 1}
"""How far what comes from there is believed: 3 said by a person, 2 inferred or internal, 1 from outside, 0 quarantined."""
MAX_BODY = 100_000  # characters
BATCH = 200  # rows per statement
EMBEDDED = 2_000  # characters of a contextual text that are embedded; models cut at 256 to 512 tokens
MOVES = 3  # times that the active space may change while vectors are made
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
WIDE = re.compile(rf"[{words.UNSPACED}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """Something to remember. `identity`: what makes it the same memory; None: its kind, speaker, body and when it happened.
    `recorded_at` None: when it is written; else a moment that the database told before, from which something was concluded.
    `parents`: ids of what it was made of; it is trusted no more than the least of them (`trust` None: as far as its origin is)."""

    kind: str
    body: str
    title: str | None = None
    speaker: str | None = None
    role: str | None = None
    series: str | None = None
    seq: int | None = None
    collection: str | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    importance: float = 0.5
    confidence: float | None = None
    pinned: bool = False
    origin: str = "user"
    source: str | None = None
    author: str | None = None
    trust: int | None = None
    labels: Sequence[str] = ()
    run_id: str | None = None
    created_by: str | None = None
    data: Any = None
    parents: Sequence[str] = ()
    expires_at: datetime | None = None
    identity: str | None = None
    id: str = field(default_factory=new_id)


async def keep(tenant: Tenant, scope: Scope, items: Sequence[NewMemory], *, embedder: Embedder | None = None) -> list[Kept]:
    """Writes the memories that are new, and answers one Kept for each, in order. A batch, with what its memories were made of, is one
    transaction. With an embedder whose space is the active one also their vectors, after the commit; of a memory that is known already a
    vector that is missing is made up for. Raises Invalid for what cannot be a memory."""
    kept: list[Kept] = []
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        async with tenant.transaction() as transaction:
            rows = await write(transaction, scope, batch)
        if embedder is not None:
            new = {row.id: item for row, item in zip(rows, batch, strict=True) if row.created}
            await give_vectors(tenant, new, {row.id for row in rows} - new.keys(), embedder)
        kept += rows
    return kept


async def write(transaction: Transaction, scope: Scope, items: Sequence[NewMemory]) -> list[Kept]:
    """The rows and what they were made of, which may be among them, before them. Labels of what they were made of become theirs."""
    if not items:
        return []
    digests = [digest(item) for item in items]
    first = dict(zip(reversed(digests), reversed(items), strict=True))  # of the same twice, the first
    unique = [first[key] for key in dict.fromkeys(digests)]
    here = {item.id for item in unique}
    trusts = await memories.least_trust(transaction, sorted({parent for item in unique for parent in item.parents} - here))
    rows: list[dict[str, Any]] = []
    for item in unique:
        rows.append(_row(scope, digest(item), item, trusts))
        trusts[item.id] = rows[-1]["trust"]
    written: dict[str, Inserted] = {}
    for start in range(0, len(rows), BATCH):
        written |= {row.digest: row for row in await memories.insert(transaction, scope.id, rows[start : start + BATCH])}
    ids = {item.id: written[digest(item)].id for item in unique}
    made_of = [(ids[item.id], ids.get(parent, parent)) for item in unique for parent in item.parents]
    if made_of:
        known = any(ids[parent] != parent for item in unique for parent in item.parents if parent in ids)
        await memories.descend(transaction, [child for child, _ in made_of], [parent for _, parent in made_of], known=known)
    seen: set[str] = set()
    answer: list[Kept] = []
    for key in digests:
        answer.append(Kept(id=written[key].id, created=written[key].created and key not in seen))
        seen.add(key)
    return answer


async def give_vectors(
    tenant: Tenant,
    new: Mapping[str, NewMemory],
    known: Collection[str],
    embedder: Embedder,
    *,
    space: Space | None = None,
    bare: Sequence[Bare] | None = None,
) -> None:
    """Vectors of new memories, and of known ones that have none, in the space that is the embedder's and active. `space`: what it is likely
    to be; `bare`: those without one there. What fails is made up for by keeping the same again, and by the next fill of the space. Raises
    EmbeddingFailed."""
    for _ in range(MOVES):
        if space is None:
            space = await memories.active_space(tenant, provider=embedder.provider, model=embedder.model, dimensions=embedder.dimensions)
        if space is None:
            return
        if bare is None:
            bare = await memories.vectorless(tenant, space.id, list(known)) if known else []
        wanted = {**{one.id: one for one in bare}, **new}
        if not wanted:
            return
        vectors = await embed(embedder, [contextual(item) for item in wanted.values()])
        now = await memories.put_vectors(tenant, space.id, list(wanted), vectors)
        if now is None or now.id == space.id or now.model != embedder.model or now.provider != embedder.provider:
            return
        space, bare = now, None  # another became active meanwhile, and its fill may have been over before these were there


async def embed(embedder: Embedder, texts: Sequence[str], *, query: bool = False) -> list[str]:
    """Their vectors as pgvector writes them, in batches the embedder takes."""
    found: list[str] = []
    for start in range(0, len(texts), embedder.max_batch):
        batch = await embedder.embed(list(texts[start : start + embedder.max_batch]), query=query)
        found += [literal(vector) for vector in batch]
    return found


def literal(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


def contextual(item: NewMemory | memories.Memory | memories.Bare) -> str:
    """What is embedded: "[8 May 2023] Ann: title. body". A turn says little without who said it and when."""
    day = f"[{item.occurred_at.day} {item.occurred_at:%B %Y}] " if item.occurred_at else ""
    speaker = f"{item.speaker}: " if item.speaker else ""
    title = f"{item.title}. " if item.title else ""
    return f"{day}{speaker}{title}{item.body}"[:EMBEDDED]


def found_by(item: NewMemory | memories.Memory) -> list[str]:
    """The terms it is found by: of its speaker, title and body."""
    return words.terms(clean("\n".join(part for part in (item.speaker, item.title, item.body) if part)))


def digest(item: NewMemory) -> str:
    """SHA-256 in hexadecimal of what makes it the same memory."""
    made_of = [item.kind, item.speaker, item.body, item.occurred_at.astimezone(UTC).isoformat() if item.occurred_at else None]
    return hashlib.sha256(json.dumps(made_of if item.identity is None else [item.kind, item.identity]).encode()).hexdigest()


def tokens(text: str) -> int:
    """About how many tokens a model counts: one for four letters, one for each character of scripts without spaces."""
    wide = len(WIDE.findall(text))
    return wide + (len(text) - wide + 3) // 4


def _row(scope: Scope, key: str, item: NewMemory, least: dict[str, int]) -> dict[str, Any]:
    if item.origin not in TRUST:
        raise Invalid(f"A memory's origin is one of {', '.join(TRUST)}, not {item.origin!r}.")
    if not item.body.strip() or len(item.body) > MAX_BODY:
        raise Invalid(f"A memory has between 1 and {MAX_BODY} characters; this one has {len(item.body)}.")
    own = TRUST[item.origin] if item.trust is None else min(item.trust, TRUST[item.origin])
    found = found_by(item)
    row = {name: clean(getattr(item, name)) for name in COPIED}
    dates = {name: value.isoformat() if (value := getattr(item, name)) else None for name in DATES}
    return {
        **row,
        **dates,
        "data": clean(item.data),
        "terms": words.vector(scope.id, found),
        "length": len(found),
        "tokens": tokens(item.body),
        "language": "english",
        "trust": min([own, *(least[parent] for parent in item.parents if parent in least)]),
        "labels": [clean(label) for label in item.labels],
        "digest": key,
    }


COPIED = (
    "id", "kind", "collection", "series", "seq", "speaker", "role", "title", "body", "importance", "confidence", "pinned", "origin",
    "source", "author", "run_id", "created_by",
)  # fmt: skip
DATES = ("occurred_at", "recorded_at", "valid_from", "valid_to", "expires_at")


def clean(value: Any) -> Any:
    """Text, also within lists and objects, without what Postgres cannot store (NUL, lone surrogates); other values as they are."""
    match value:
        case str():
            return UNSTORABLE.sub("\ufffd", value)
        case list():
            return [clean(item) for item in cast("list[Any]", value)]
        case dict():
            return {clean(name): clean(item) for name, item in cast("dict[Any, Any]", value).items()}
        case _:
            return value
