"""Memories as they are handed out: whole, with their provenance and history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    id: str
    record: dict[str, Any]


ROWS = {"records": Exported}


async def records(
    session: Session, scope_ids: Sequence[int], ids: Sequence[str] | None, *, after: str | None, limit: int
) -> list[Exported]:
    """The next ones after an id, in the order they were made."""
    wanted = None if ids is None else list(ids)
    return await session.all(SQL.records, Exported, scope_ids=list(scope_ids), ids=wanted, after=after, limit=limit)
