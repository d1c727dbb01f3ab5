"""Workflows: a named draft under optimistic concurrency, and immutable published versions; both point at definitions by their digest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store import pages
from store.errors import Conflict, NotFound
from store.ids import is_id
from store.jsontext import Json, digest
from store.pages import Page
from store.postgres import Session, Tenant
from store.queries import load

SQL = load(__file__)
MAX_NAMES = 1000
MAX_VERSIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """`draft` is the definition as its author wrote it; `revision` grows with every edit; `active_version` None: never published."""

    id: str
    name: str
    description: str
    draft: Any
    draft_digest: bytes
    revision: int
    active_version: int | None
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A workflow in a list: without its draft."""

    id: str
    name: str
    description: str
    revision: int
    active_version: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    workflow_id: str
    number: int
    digest: bytes
    note: str
    published_by: str
    published_at: datetime
    definition: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVersion:
    """A version in a list: without its definition."""

    number: int
    digest: bytes
    note: str
    published_by: str
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The active version of a workflow, which is what a run by name starts."""

    workflow_id: str
    name: str
    description: str
    version: int
    digest: bytes
    definition: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A definition alone; in a row of its own because a definition could be any JSON value."""

    body: Any


ROWS: dict[str, type] = {
    "create": Workflow,
    "get": Workflow,
    "list": Listed,
    "count": int,
    "names": str,
    "save_draft": Workflow,
    "lock": int,
    "publish": Version,
    "get_version": Version,
    "list_versions": ListedVersion,
    "published": Published,
    "definition": Body,
}


async def create(session: Session, *, name: str, description: str, definition: Any, user_id: str) -> Workflow:
    """A workflow at revision 1, unpublished. Raises Conflict when the name is taken."""
    created = await session.one(
        SQL.create,
        Workflow,
        name=name,
        description=description,
        digest=digest(definition),
        body=Json(definition),
        user_id=user_id,
    )
    assert created is not None  # noqa: S101  # INSERT … RETURNING
    return created


async def find(session: Session, name_or_id: str) -> Workflow | None:
    return await session.one(SQL.get, Workflow, name=name_or_id, id=name_or_id if is_id(name_or_id) else None)


async def get(session: Session, name_or_id: str) -> Workflow:
    """Raises NotFound."""
    found = await find(session, name_or_id)
    if found is None:
        raise NotFound(f"There is no workflow {name_or_id!r}.")
    return found


async def list_page(session: Session, *, limit: int = 20, cursor: str | None = None, search: str | None = None) -> Page[Listed]:
    """Workflows by name. `search` is looked for in names and descriptions, in any case. Raises Invalid for a foreign cursor."""
    limit = pages.limited(limit)
    (after,) = pages.place(cursor, str)
    rows = await session.all(SQL.list, Listed, after=after, search=search or None, limit=limit)
    whole = after is None and len(rows) <= limit
    total = len(rows) if whole else await session.one(SQL.count, int, search=search or None)
    return Page(
        items=rows[:limit],
        next_cursor=pages.cursor(rows[limit - 1].name) if len(rows) > limit else None,
        total=total or 0,
    )


async def names(session: Session) -> list[str]:
    """For suggesting the nearest one; the first MAX_NAMES."""
    return await session.all(SQL.names, str, limit=MAX_NAMES)


async def save_draft(session: Session, workflow_id: str, *, revision: int, name: str, description: str, definition: Any) -> Workflow:
    """Replaces the draft that has this `revision`. Raises Conflict (details: revision) when it was edited meanwhile, or NotFound."""
    saved = await session.one(
        SQL.save_draft,
        Workflow,
        workflow_id=workflow_id,
        revision=revision,
        name=name,
        description=description,
        digest=digest(definition),
        body=Json(definition),
    )
    if saved is not None:
        return saved
    current = await get(session, workflow_id)
    raise Conflict(
        f"The workflow {current.name!r} is at revision {current.revision} by now, not {revision}; read it again and repeat the edit.",
        revision=current.revision,
    )


async def delete(session: Session, workflow_id: str) -> None:
    """Its name is free again; its versions and runs stay. Raises NotFound."""
    if not await session.execute(SQL.delete, workflow_id=workflow_id):
        raise NotFound(f"There is no workflow {workflow_id!r}.")


async def publish(tenant: Tenant, workflow_id: str, *, user_id: str, note: str = "", revision: int | None = None) -> Version:
    """Makes the draft the next version and the active one. Raises NotFound, or Conflict when it is not the `revision` that is given."""
    async with tenant.transaction() as transaction:
        current = await transaction.one(SQL.lock, int, workflow_id=workflow_id)
        if current is None:
            raise NotFound(f"There is no workflow {workflow_id!r}.")
        if revision not in (None, current):
            raise Conflict(
                f"The draft is at revision {current} by now, not {revision}; read it again before publishing.",
                revision=current,
            )
        version = await transaction.one(SQL.publish, Version, workflow_id=workflow_id, user_id=user_id, note=note)
    assert version is not None  # noqa: S101  # the row is locked
    return version


async def set_active(session: Session, workflow_id: str, number: int) -> None:
    """Makes an earlier (or later) version the one that new runs start. Raises NotFound."""
    if not await session.execute(SQL.set_active, workflow_id=workflow_id, number=number):
        raise NotFound(f"This workflow has no version {number}.")


async def get_version(session: Session, workflow_id: str, number: int) -> Version:
    """Raises NotFound."""
    version = await session.one(SQL.get_version, Version, workflow_id=workflow_id, number=number)
    if version is None:
        raise NotFound(f"This workflow has no version {number}.")
    return version


async def list_versions(session: Session, workflow_id: str) -> list[ListedVersion]:
    """The newest MAX_VERSIONS, newest first."""
    return await session.all(SQL.list_versions, ListedVersion, workflow_id=workflow_id, limit=MAX_VERSIONS)


async def published(session: Session) -> list[Published]:
    """The active version of every workflow that has one, by name."""
    return await session.all(SQL.published, Published, name=None)


async def find_published(session: Session, name: str) -> Published | None:
    return await session.quick(SQL.published, Published, name=name)


async def store_definition(session: Session, definition: Any) -> bytes:
    """Keeps a definition, once however often it is stored; answers with its digest."""
    address = digest(definition)
    await session.execute(SQL.store_definition, digest=address, body=Json(definition))
    return address


async def definition(session: Session, address: bytes) -> Any:
    """Raises NotFound."""
    row = await session.one(SQL.definition, Body, digest=address)
    if row is None:
        raise NotFound("There is no such definition.")
    return row.body
