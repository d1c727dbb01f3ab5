"""Embedding spaces: a model, its dimension and how texts are made for it. Each has a narrow table of vectors, weft.memory_vectors_<id>.

Queries on vectors are written on memory_vectors_0, the empty form of those tables, and are sent with the number of the space in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.errors import Conflict, NotFound
from store.memories import in_space
from store.postgres import Session, Tenant
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """`state`: building, active (recall uses it; one per organization) or retired. `collection`: of vectors that users bring, else null."""

    id: int
    provider: str
    model: str
    dimensions: int
    version: int
    metric: str
    collection: str | None
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """What the text to embed is made from."""

    id: str
    scope_id: int
    title: str | None
    body: str
    speaker: str | None
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Memories that have a vector, of all that will."""

    done: int
    total: int


ROWS = {"open": int, "close": bool, "get": Space, "of_organization": Space, "missing": Unembedded, "progress": Progress}


async def open_space(
    session: Session,
    *,
    provider: str,
    model: str,
    dimensions: int,
    version: int = 1,
    metric: str = "cosine",
    collection: str | None = None,
) -> int:
    """The number of the space; it begins as `building`. Raises Invalid beyond 100 spaces, or for a dimension outside 2 to 4,000."""
    number = await session.one(
        SQL.open, int, provider=provider, model=model, dimensions=dimensions, version=version, metric=metric, collection=collection
    )
    if number is None:
        raise NotFound("The embedding space was not made.")
    return number


async def close_space(session: Session, space_id: int) -> None:
    """Drops the space and its vectors. Raises NotFound, and Conflict for the active one.

    Recall may look for vectors in it for the half minute that it remembers which space is active: retire first, close later.
    """
    if not await session.one(SQL.close, bool, space_id=space_id):
        await get(session, space_id)
        raise Conflict("This is the active space; make another one active first.")


async def get(session: Session, space_id: int) -> Space:
    found = await session.one(SQL.get, Space, space_id=space_id)
    if found is None:
        raise NotFound("There is no such embedding space.")
    return found


async def of_organization(session: Session) -> list[Space]:
    return await session.all(SQL.of_organization, Space)


async def activate(tenant: Tenant, space_id: int) -> None:
    """From now on recall uses it; the one before is retired and keeps its vectors. Raises NotFound, also for a space of a collection."""
    async with tenant.transaction() as transaction:
        await transaction.execute(SQL.retire, space_id=space_id)
        if not await transaction.execute(SQL.activate, space_id=space_id):
            raise NotFound("There is no such embedding space of memories.")


async def retire(session: Session) -> None:
    """No space is active: recall goes by words alone."""
    await session.execute(SQL.retire, space_id=None)


async def missing(session: Session, space_id: int, *, after: str | None = None, size: int) -> list[Unembedded]:
    return await session.all(in_space(SQL.missing, space_id), Unembedded, after=after, size=size)


async def put(session: Session, space_id: int, ids: Sequence[str], vectors: Sequence[str]) -> int:
    """Keeps vectors, as pgvector writes them; how many: memories forgotten meanwhile get none."""
    return await session.execute(in_space(SQL.put, space_id), ids=list(ids), vectors=list(vectors))


async def progress(session: Session, space_id: int) -> Progress:
    return await session.one(in_space(SQL.progress, space_id), Progress) or Progress(done=0, total=0)
