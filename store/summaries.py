"""Summaries and the stretches of a conversation that they cover."""

from __future__ import annotations

from store.memories import Memory
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
ROWS = {"covered": str, "reach": int, "turns_after": Memory}


async def covered(
    session: Session, scope_id: int, series: str, level: int, from_seq: int, to_seq: int, except_id: str, *, max_trust: int
) -> list[str]:
    return await session.all(
        SQL.covered, str, scope_id=scope_id, series=series, level=level, from_seq=from_seq, to_seq=to_seq, except_id=except_id,
        max_trust=max_trust,
    )  # fmt: skip


async def reach(session: Session, scope_id: int, series: str) -> int:
    return await session.one(SQL.reach, int, scope_id=scope_id, series=series) or 0


async def turns_after(session: Session, scope_id: int, series: str, after: int, limit: int) -> list[Memory]:
    return await session.all(SQL.turns_after, Memory, scope_id=scope_id, series=series, after=after, limit=limit)
