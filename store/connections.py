"""Connections: what an organization calls by name, without its secrets, and who did what to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from store import pages
from store.errors import Conflict, NotFound
from store.jsontext import Json
from store.pages import Page
from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)
MAX_NAMES = 1000
MAX_USERS = 50
MAX_EVENTS = 50

Health = Literal["unknown", "ok", "failing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`roles` None: everybody may use it. `revision` grows with every change of its settings."""

    id: str
    name: str
    kind: str
    description: str
    settings: Any
    roles: list[str] | None
    revision: int
    health: str
    health_note: str
    checked_at: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    name: str
    roles: list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`user_id` None: Weft itself."""

    act: str
    user_id: str | None
    user_name: str | None
    via: str
    data: Any
    at: datetime


ROWS: dict[str, type] = {
    "create": Row,
    "get": Row,
    "by_id": Row,
    "list": Row,
    "count": int,
    "kinds": Kind,
    "roles": Roles,
    "update": Row,
    "lock": int,
    "next_version": int,
    "used_by": str,
    "events": Event,
}


async def create(
    session: Session, *, name: str, kind: str, description: str, settings: Any, roles: Sequence[str] | None, user_id: str
) -> Row:
    """Raises Conflict when the name is taken."""
    made = await session.one(
        SQL.create,
        Row,
        name=name,
        kind=kind,
        description=description,
        settings=Json(settings),
        roles=None if roles is None else list(roles),
        user_id=user_id,
    )
    assert made is not None  # noqa: S101  # INSERT … RETURNING
    return made


async def find(session: Session, name: str) -> Row | None:
    return await session.one(SQL.get, Row, name=name)


async def by_id(session: Session, connection_id: str) -> Row:
    """Raises NotFound."""
    found = await session.one(SQL.by_id, Row, connection_id=connection_id)
    if found is None:
        raise NotFound("This connection is gone.")
    return found


async def page(session: Session, *, kind: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Row]:
    """By name. Raises Invalid for a foreign cursor."""
    limit = pages.limited(limit)
    (after,) = pages.place(cursor, str)
    rows = await session.all(SQL.list, Row, kind=kind, after=after, limit=limit)
    total = await session.one(SQL.count, int, kind=kind)
    more = pages.cursor(rows[limit - 1].name) if len(rows) > limit else None
    return Page(items=rows[:limit], next_cursor=more, total=total or 0)


async def kinds(session: Session) -> dict[str, str]:
    """Name -> kind, the first MAX_NAMES."""
    return {row.name: row.kind for row in await session.all(SQL.kinds, Kind, limit=MAX_NAMES)}


async def roles(session: Session) -> dict[str, list[str] | None]:
    """Name -> who may use it (None: everybody), the first MAX_NAMES."""
    return {row.name: row.roles for row in await session.all(SQL.roles, Roles, limit=MAX_NAMES)}


async def update(
    session: Session, connection_id: str, *, revision: int, settings: Any, description: str, roles: Sequence[str] | None
) -> Row:
    """Raises Conflict when it was changed meanwhile."""
    saved = await session.one(
        SQL.update,
        Row,
        connection_id=connection_id,
        revision=revision,
        settings=Json(settings),
        description=description,
        roles=None if roles is None else list(roles),
    )
    if saved is None:
        raise Conflict("The connection was changed or removed meanwhile; read it again and repeat the change.")
    return saved


async def checked(session: Session, connection_id: str, health: Health, note: str) -> None:
    await session.execute(SQL.checked, connection_id=connection_id, health=health, note=note)


async def delete(transaction: Transaction, connection_id: str) -> None:
    """Raises NotFound."""
    if not await transaction.execute(SQL.delete, connection_id=connection_id):
        raise NotFound("This connection is gone.")


async def lock(transaction: Transaction, connection_id: str) -> int:
    """Its revision. Until the transaction ends, nobody else refreshes or sets its secrets. Raises NotFound."""
    revision = await transaction.one(SQL.lock, int, connection_id=connection_id)
    if revision is None:
        raise NotFound("This connection is gone.")
    return revision


async def next_version(transaction: Transaction, connection_id: str) -> int:
    """The version of the secret about to be set; locks the connection. Raises NotFound."""
    version = await transaction.one(SQL.next_version, int, connection_id=connection_id)
    if version is None:
        raise NotFound("This connection is gone.")
    return version


async def used_by(session: Session, name: str) -> list[str]:
    """Names of the workflows that name it, the first MAX_USERS."""
    return await session.all(SQL.used_by, str, name=name, limit=MAX_USERS)


async def tell(session: Session, connection_id: str, act: str, *, user_id: str | None, via: str, data: Any = None) -> None:
    """Notes who did what."""
    await session.execute(SQL.tell, connection_id=connection_id, act=act, user_id=user_id, via=via, data=Json(data) if data else None)


async def events(session: Session, connection_id: str) -> list[Event]:
    """The last MAX_EVENTS, newest first."""
    return await session.all(SQL.events, Event, connection_id=connection_id, limit=MAX_EVENTS)
