"""Agent profiles in their versions, and what the journal knows of agents at work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store import pages
from store.jsontext import Json
from store.pages import Page
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
MAX_NAMES = 1000
MAX_VERSIONS = 200
MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One version, for ever as it is."""

    name: str
    version: int
    digest: bytes
    description: str
    body: Any
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A step of an agent, or the agent's own, with its values: the last attempt."""

    position: str
    node_type: str
    attempt: int
    state: str
    effect: str | None
    started_at: datetime
    finished_at: datetime | None
    error: Any
    input: Any
    output: Any


ROWS: dict[str, type] = {
    "save": Profile,
    "get": Profile,
    "newest": Profile,
    "count": int,
    "versions": Profile,
    "known": Newest,
    "at_work": str,
    "inside": Inside,
}


async def save(
    session: Session, *, name: str, digest: bytes, description: str, body: Any, user_id: str, expect: int | None = None
) -> Profile | None:
    """The version that was made; None when the newest says the same already, or is not `expect` (0: there is none)."""
    return await session.one(
        SQL.save, Profile, name=name, digest=digest, description=description, body=Json(body), user_id=user_id, expect=expect
    )


async def get(session: Session, name: str, *, version: int | None = None, at: datetime | None = None) -> Profile | None:
    """A version; without one the newest there is, or was at a moment."""
    return await session.one(SQL.get, Profile, name=name, version=version, at=at)


async def page(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[Profile]:
    """The newest version of each, by name. Raises Invalid for a foreign cursor."""
    limit = pages.limited(limit)
    (after,) = pages.place(cursor, str)
    rows = await session.all(SQL.newest, Profile, after=after, limit=limit)
    total = await session.one(SQL.count, int)
    more = pages.cursor(rows[limit - 1].name) if len(rows) > limit else None
    return Page(items=rows[:limit], next_cursor=more, total=total or 0)


async def versions(session: Session, name: str) -> list[Profile]:
    """The last MAX_VERSIONS, the newest first."""
    return await session.all(SQL.versions, Profile, name=name, limit=MAX_VERSIONS)


async def known(session: Session) -> dict[str, int]:
    """Name -> its newest version."""
    return {row.name: row.version for row in await session.all(SQL.known, Newest, limit=MAX_NAMES)}


async def inside(session: Session, run_id: str, positions: list[str]) -> list[Inside]:
    """The steps at these positions and all that they have run, in the order in which they began."""
    return await session.all(SQL.inside, Inside, run_id=run_id, positions=positions, limit=MAX_STEPS)


async def at_work(session: Session, run_id: str) -> list[str]:
    """Positions of the agents of a run that no other agent has run."""
    return await session.all(SQL.at_work, str, run_id=run_id, limit=MAX_STEPS)
