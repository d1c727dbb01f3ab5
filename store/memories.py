"""Memories as rows: their scopes, writing many, reading one or a page, touching what was used, deleting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from store.jsontext import Json
from store.pages import Page, cursor, limited, place
from store.postgres import Session
from store.queries import Query, load

SQL = load(__file__)
TEMPLATE = b"memory_vectors_0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`user_id`: only this user reads and writes it; None: every member of the organization whose role allows it."""

    id: int
    kind: str
    name: str
    user_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """`created`: False when the same memory was there already."""

    id: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """`digest` in hexadecimal, as it was given."""

    id: str
    created: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Where an embedder's vectors of an organization are: weft.memory_vectors_<id>."""

    id: int
    provider: str
    model: str
    dimensions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    id: str
    scope_id: int
    kind: str
    collection: str | None
    series: str | None
    seq: int | None
    speaker: str | None
    role: str | None
    title: str | None
    body: str
    data: Any
    tokens: int
    occurred_at: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    recorded_at: datetime
    retracted_at: datetime | None
    importance: float
    confidence: float | None
    pinned: bool
    uses: int
    used_at: datetime | None
    expires_at: datetime | None
    origin: str
    source: str | None
    author: str | None
    trust: int
    labels: list[str]
    run_id: str | None
    created_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    id: str
    trust: int


ROWS = {
    "find_scope": Scope,
    "get_scope": Scope,
    "make_scope": Scope,
    "visible_scopes": Scope,
    "insert": Inserted,
    "get": Memory,
    "page": Memory,
    "count": int,
    "active_space": Space,
    "delete": str,
    "trust_of": Trusted,
}


async def find_scope(session: Session, *, kind: str, name: str, user_id: str | None) -> Scope | None:
    return await session.one(SQL.find_scope, Scope, kind=kind, name=name, user_id=user_id)


async def get_scope(session: Session, scope_id: int) -> Scope | None:
    return await session.one(SQL.get_scope, Scope, scope_id=scope_id)


async def make_scope(session: Session, *, kind: str, name: str, user_id: str | None) -> Scope:
    """Finds or makes it; two at once make one."""
    found = await find_scope(session, kind=kind, name=name, user_id=user_id)
    made = found or await session.one(SQL.make_scope, Scope, kind=kind, name=name, user_id=user_id)
    if made is None:
        raise AssertionError("an upsert that answers no row")
    return made


async def visible_scopes(session: Session, *, user_id: str | None, kind: str | None) -> list[Scope]:
    return await session.all(SQL.visible_scopes, Scope, user_id=user_id, kind=kind)


async def insert(session: Session, scope_id: int, rows: Sequence[dict[str, Any]]) -> list[Inserted]:
    """Writes memories that are new, and counts a use of those that were there. `digest` and `terms` come as text; no digest twice."""
    return await session.all(SQL.insert, Inserted, scope_id=scope_id, rows=Json(list(rows)))


async def least_trust(session: Session, ids: Sequence[str]) -> dict[str, int]:
    """How far each of the memories is trusted; those that are gone are left out."""
    return {row.id: row.trust for row in await session.all(SQL.trust_of, Trusted, ids=list(ids))} if ids else {}


async def descend(session: Session, children: Sequence[str], parents: Sequence[str]) -> None:
    """Keeps what each child was made of; a parent that is gone leaves no trace."""
    await session.execute(SQL.descend, children=list(children), parents=list(parents))


async def put_vectors(session: Session, space_id: int, scope_id: int, ids: Sequence[str], vectors: Sequence[str]) -> None:
    """`vectors` as pgvector writes them: '[0.1,0.2]'."""
    await session.execute(in_space(SQL.put_vectors, space_id), scope_id=scope_id, ids=list(ids), vectors=list(vectors))


async def active_space(session: Session, *, provider: str, model: str, dimensions: int) -> Space | None:
    """The space that holds this embedder's vectors, if the organization has made it its active one."""
    return await session.one(SQL.active_space, Space, provider=provider, model=model, dimensions=dimensions)


async def get(session: Session, ids: Sequence[str]) -> list[Memory]:
    """In the order of the ids; those that are not there are left out."""
    return await session.all(SQL.get, Memory, ids=list(ids))


async def page(
    session: Session, scope_ids: Sequence[int], *, kinds: Sequence[str] | None = None, collection: str | None = None,
    series: str | None = None, retracted: bool = False, limit: int = 50, after: str | None = None,
) -> Page[Memory]:  # fmt: skip
    """Memories of the scopes, the newest first."""
    (before,) = place(after, str)
    chosen: dict[str, Any] = {
        "scope_ids": list(scope_ids),
        "kinds": None if kinds is None else list(kinds),
        "collection": collection,
        "series": series,
        "retracted": retracted,
    }
    items = await session.all(SQL.page, Memory, **chosen, before=before, limit=limited(limit) + 1)
    total = await session.one(SQL.count, int, **chosen)
    more = len(items) > limit
    items = items[:limit]
    return Page(items=items, next_cursor=cursor(items[-1].id) if more else None, total=total or 0)


async def touch(session: Session, ids: Sequence[str]) -> int:
    """Counts a use of each."""
    return await session.execute(SQL.touch, ids=list(ids))


async def delete(session: Session, ids: Sequence[str]) -> list[str]:
    """The ids that were there; vectors, names, mentions, edges and lineage go with them."""
    return await session.all(SQL.delete, str, ids=list(ids))


def in_space(query: Query, space_id: int) -> Query:
    """The query on the vectors of a space; as it is written, it is on the table that all spaces' tables are copied from."""
    return replace(query, text=query.text.replace(TEMPLATE, f"memory_vectors_{int(space_id)}".encode()))
