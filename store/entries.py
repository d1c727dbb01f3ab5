"""Values that agents keep under a namespace and a key: their places beside the memories that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
SPARE = 100  # values that may be over or hidden before all of them are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`digest`: of namespace and key, in hexadecimal; `indexed`: it can be found by words or meaning."""

    digest: str
    memory_id: str
    namespace: list[str]
    key: str
    value: Any
    indexed: bool
    ttl_minutes: float | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """The memory of the value before; None: there was none."""

    replaced: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    labels: list[str]


ROWS = {"claim": Replaced, "hold": str, "expired": str, "get": Entry, "page": Entry, "namespaces": Namespace}


async def claim(session: Session, scope_id: int, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Memories of the values there were. A row: digest (hexadecimal), namespace, key, memory_id, indexed, ttl_minutes; no digest twice."""
    found = await session.all(SQL.claim, Replaced, scope_id=scope_id, rows=Json(list(rows)))
    return [row.replaced for row in found if row.replaced is not None]


async def hold(session: Session, scope_id: int, digests: Sequence[str]) -> list[str]:
    return await session.all(SQL.hold, str, scope_id=scope_id, digests=list(digests))


async def silence(session: Session, ids: Sequence[str]) -> None:
    await session.execute(SQL.silence, ids=list(ids))


async def refresh(session: Session, ids: Sequence[str]) -> None:
    await session.execute(SQL.refresh, ids=list(ids))


async def expired(session: Session, scope_id: int, *, limit: int) -> list[str]:
    return await session.all(SQL.expired, str, scope_id=scope_id, limit=limit)


async def get(session: Session, scope_ids: Sequence[int], digests: Sequence[str]) -> list[Entry]:
    """Those that are there, in no order."""
    return await session.all(SQL.get, Entry, scope_ids=list(scope_ids), digests=list(digests))


async def page(
    session: Session, scope_ids: Sequence[int], prefix: Sequence[str], *, tests: Sequence[dict[str, Any]] = (),
    ids: Sequence[str] | None = None, without: Sequence[str] = (), limit: int, skip: int = 0,
) -> list[Entry]:  # fmt: skip
    """The newest first. A test: path, test ("is", "is not", "object", "array", ">", ">=", "<", "<=") and operand, in a list of its own."""

    async def looked_at(most: int | None) -> list[Entry]:
        return await session.all(
            SQL.page, Entry, scope_ids=list(scope_ids), prefix=list(prefix), tests=Json(list(tests)), limit=limit, skip=skip, most=most,
            ids=None if ids is None else list(ids), without=list(without),
        )  # fmt: skip

    found = [] if tests else await looked_at(skip + limit + SPARE)
    return found if len(found) == limit else await looked_at(None)


async def namespaces(
    session: Session, scope_ids: Sequence[int], conditions: Sequence[dict[str, Any]], *, depth: int | None, limit: int, skip: int
) -> list[tuple[str, ...]]:
    """In order. A condition: path, and at_end when it is that of the last labels."""
    found = await session.all(
        SQL.namespaces, Namespace, scope_ids=list(scope_ids), conditions=Json(list(conditions)), depth=depth, limit=limit, skip=skip
    )
    return [tuple(row.labels) for row in found]
