"""Rules that people made."""

from __future__ import annotations

from collections.abc import Sequence

from store.memories import Memory
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
ROWS = {"standing": Memory}


async def standing(session: Session, scope_ids: Sequence[int], *, name: str | None = None) -> list[Memory]:
    return await session.all(SQL.standing, Memory, scope_ids=list(scope_ids), name=name)
