"""Vectors that users bring with them: in collections that have a dimension and a metric, found by the k nearest above a threshold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from memory.items import literal
from memory.kinds import Given, Outcome, Short, Text, data_of
from memory.writing import Desk
from store import conversations, facts, spaces, vectors
from store.errors import Invalid, NotFound
from store.memories import Memory
from store.postgres import Session
from store.spaces import Space
from store.vectors import Near

ROWS = ("vector",)
LEAST = 1e-4
OWN = "own"
"""Provider of spaces whose vectors users bring."""
Number = Annotated[float, Field(allow_inf_nan=False, ge=-65_000, le=65_000)]


class Item(Given):
    """`key`: of a key only the newest counts; `metric`: of the collection, which is made with its first vector."""

    vector: tuple[Number, ...] = Field(min_length=2, max_length=4000)
    collection: Short = "vectors"
    text: Text | None = None
    key: Short | None = None
    metric: Literal["cosine", "l2", "ip"] | None = None
    data: dict[str, Any] | None = None


async def keep(desk: Desk, item: Item) -> Outcome:
    """Raises Invalid when the collection has another dimension or metric."""
    _check(item.vector)
    space = await _space(desk, item)
    written = literal(item.vector)
    body = item.text or item.key or f"vector in {item.collection}"
    digest = hashlib.sha256(written.encode()).hexdigest()
    made = desk.memory(
        "vector", body, collection=item.collection, series=item.key, title=item.key,
        data={**(item.data or {}), "dimensions": len(item.vector)},
        identity=f"{item.collection}\x1f{item.key}\x1f{body}\x1f{digest}", **item.common(),
    )  # fmt: skip
    older: list[str] = []
    async with desk.unembedded().sheet() as sheet:
        await conversations.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(made)
        await spaces.put(sheet.transaction, space.id, [row.id], [written])
        if item.key is not None:
            trust = await desk.trust(sheet.transaction)
            older = await vectors.older(sheet.transaction, desk.scope.id, item.collection, item.key, row.id, max_trust=trust)
            await facts.retract(sheet.transaction, older, f"replaced by {row.id}")
    return Outcome(created=[row.id], superseded=older) if row.created else Outcome(known=[row.id], superseded=older)


async def nearest(
    session: Session,
    scope_ids: Sequence[int],
    collection: str,
    vector: Sequence[float],
    *,
    k: int = 10,
    threshold: float | None = None,
    min_trust: int = 1,
) -> list[Near]:
    """Nearest first; `threshold`: the least score, as the metric says. Raises NotFound, and Invalid for another dimension."""
    _check(vector)
    space = await _of_collection(session, collection)
    if space is None:
        raise NotFound(f"There is no collection of vectors named {collection!r}.")
    if len(vector) != space.dimensions:
        raise Invalid(f"The vectors of {collection!r} have {space.dimensions} dimensions, not {len(vector)}.")
    return await vectors.nearest(session, space, scope_ids, literal(vector), k=k, threshold=threshold, min_trust=min_trust)


def _check(vector: Sequence[float]) -> None:
    """A vector of zeros, also once it is rounded to half precision, points nowhere."""
    if max(map(abs, vector)) < LEAST:
        raise Invalid(f"A vector has at least one component of {LEAST} or more.")


def show(memory: Memory) -> dict[str, Any]:
    return {**data_of(memory), "collection": memory.collection, "key": memory.series, "text": memory.body}


async def _space(desk: Desk, item: Item) -> Space:
    known = await _of_collection(desk.tenant, item.collection)
    if known is None:
        number = await spaces.open_space(
            desk.tenant, provider=OWN, model=OWN, dimensions=len(item.vector), metric=item.metric or "cosine", collection=item.collection
        )
        return await spaces.get(desk.tenant, number)
    if known.dimensions != len(item.vector) or item.metric not in (None, known.metric):
        raise Invalid(f"The collection {item.collection!r} is of {known.dimensions} dimensions and metric {known.metric}.")
    return known


async def _of_collection(session: Session, collection: str) -> Space | None:
    return next((space for space in await spaces.of_organization(session) if space.collection == collection), None)
