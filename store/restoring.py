"""Restoring: memories of an export as rows again, under ids of this organization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.errors import Invalid
from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
ROUNDS = 20
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    old: str
    id: str


ROWS = {"matching": Match, "insert": str, "places": int, "taken": int}


async def matching(session: Session, rows: Rows) -> dict[str, str]:
    """{id in the export: id here} of those that are there; rows of {id, derived, scope_id, kind, digest, live}."""
    return {row.old: row.id for row in await session.all(SQL.matching, Match, rows=Json(list(rows)))}


async def insert(session: Session, rows: Rows, *, user_id: str | None) -> set[str]:
    """Ids of the rows that were written."""
    return set(await session.all(SQL.insert, str, rows=Json(list(rows)), user_id=user_id))


async def places(session: Session, scope_id: int) -> int:
    return await session.one(SQL.places, int, scope_id=scope_id) or 1


async def taken(session: Session, scope_id: int, places: Sequence[int]) -> set[int]:
    return set(await session.all(SQL.taken, int, scope_id=scope_id, places=list(places)))


async def move_places(session: Session, scope_id: int, following: int) -> None:
    await session.execute(SQL.move_places, scope_id=scope_id, next=following)


async def relate(session: Session, lists: Mapping[str, Rows], *, user_id: str | None) -> None:
    """`lists`: rows of parents, names, mentions, edges and merges."""
    await session.execute(SQL.relate, user_id=user_id, **{name: Json(list(rows)) for name, rows in lists.items()})


async def state(session: Session, facts: Rows) -> None:
    await session.execute(SQL.state, facts=Json(list(facts)))
    await session.execute(SQL.unheld, ids=[fact["memory_id"] for fact in facts])


async def distrust(session: Session, ids: Sequence[str]) -> None:
    """Raises Invalid when what was made of what goes in circles, or too deep."""
    for _ in range(ROUNDS):
        if not await session.execute(SQL.distrust, ids=list(ids)):
            return
    raise Invalid("The memories of this export were made of each other in a way that has no end.")
