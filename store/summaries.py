"""Summaries and the stretches of a conversation that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.memories import Memory
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A conversation's turns of one kind of trust (`trusted`: not from outside), from after a number on."""

    scope_id: int
    series: str
    trusted: bool
    after: int


ROWS = {
    "covered": str,
    "reach": int,
    "turns_after": Memory,
    "fresh": Stretch,
    "turns": Memory,
    "standing": Memory,
    "parents": str,
    "stacked": Stretch,
}


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


async def fresh(session: Session, scope_ids: Sequence[int], *, least: int, limit: int, series: str | None = None) -> list[Stretch]:
    """Where at least so many turns are not summed up yet."""
    return await session.all(SQL.fresh, Stretch, scope_ids=list(scope_ids), least=least, limit=limit, series=series)


async def turns(session: Session, stretch: Stretch, limit: int) -> list[Memory]:
    return await session.all(
        SQL.turns, Memory, scope_id=stretch.scope_id, series=stretch.series, trusted=stretch.trusted, after=stretch.after, limit=limit
    )


async def standing(session: Session, stretch: Stretch, level: int) -> list[Memory]:
    return await session.all(SQL.standing, Memory, scope_id=stretch.scope_id, series=stretch.series, trusted=stretch.trusted, level=level)


async def parents(session: Session, memory_id: str) -> list[str]:
    return await session.all(SQL.parents, str, id=memory_id)


async def stacked(session: Session, scope_ids: Sequence[int], limit: int) -> list[Stretch]:
    """Where the summaries of level 1 are to be summed up themselves."""
    return await session.all(SQL.stacked, Stretch, scope_ids=list(scope_ids), limit=limit)
