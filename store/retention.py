"""What a scope keeps, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.errors import NotFound
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
KINDS = ("turn", "summary", "entity", "episode", "fact", "rule", "node", "edge", "document", "chunk", "vector")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    policy: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`expired`: its own time is up; else its kind is not kept so long, or not so many of it."""

    id: str
    expired: bool


ROWS = {"policy": Held, "due": Due}


async def policy(session: Session, scope_id: int) -> dict[str, Any]:
    """Empty when the scope has the defaults. Raises NotFound."""
    found = await session.one(SQL.policy, Held, scope_id=scope_id)
    if found is None:
        raise NotFound("There is no such scope of memories.")
    return found.policy


async def put_policy(session: Session, scope_id: int, value: dict[str, Any] | None) -> None:
    if not await session.execute(SQL.put_policy, scope_id=scope_id, policy=None if value is None else Json(value)):
        raise NotFound("There is no such scope of memories.")


async def due(
    session: Session, scope_id: int, keep: Mapping[str, float], most: Mapping[str, int], *, now: datetime | None = None, limit: int = 1000
) -> list[Due]:
    """Memories to forget; `keep`: days per kind, `most`: how many per kind."""
    return await session.all(
        SQL.due,
        Due,
        scope_id=scope_id,
        keep=Json([{"kind": kind, "days": days} for kind, days in keep.items()]),
        most=Json([{"kind": kind, "most": number} for kind, number in most.items()]),
        now=now,
        limit=limit,
    )
