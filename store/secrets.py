"""Secrets of connections, as sealed bytes: nothing here can open one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store import connections
from store.connections import Row
from store.postgres import Session, Tenant, Transaction
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A secret: `sealed` opens with the data key that is in `wrapped`, and that with the master key `key_id`."""

    field: str
    version: int
    key_id: str
    wrapped: bytes
    sealed: bytes
    fresh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What may be shown of a secret. `set_by` None: Weft itself, by a refresh."""

    connection_id: str
    field: str
    version: int
    set_at: datetime
    set_by: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    connection_id: str
    field: str
    version: int
    key_id: str
    wrapped: bytes


ROWS: dict[str, type] = {"of": Sealed, "of_name": Sealed, "shown": Shown, "under_other_keys": Wrapped}


async def of_name(tenant: Tenant, name: str) -> tuple[Row | None, list[Sealed]]:
    """A connection and its secrets, in one round trip."""
    async with tenant.transaction() as transaction:
        rows, sealed = await transaction.several((connections.SQL.get, Row, {"name": name}), (SQL.of_name, Sealed, {"name": name}))
    return (rows[0] if rows else None), sealed


async def of(session: Session, connection_id: str) -> list[Sealed]:
    return await session.all(SQL.of, Sealed, connection_id=connection_id)


async def shown(session: Session, connection_ids: Sequence[str]) -> dict[str, list[Shown]]:
    """By connection, the fields in alphabetical order."""
    found: dict[str, list[Shown]] = {id: [] for id in connection_ids}
    for row in await session.all(SQL.shown, Shown, connection_ids=list(connection_ids)):
        found[row.connection_id].append(row)
    return found


async def put(transaction: Transaction, connection_id: str, secret: Sealed, *, user_id: str | None, lifetime: float | None = None) -> None:
    """Sets or replaces a secret. `lifetime`: seconds after which it expires, None: until it is replaced."""
    await transaction.execute(
        SQL.put,
        connection_id=connection_id,
        field=secret.field,
        version=secret.version,
        key_id=secret.key_id,
        wrapped=secret.wrapped,
        sealed=secret.sealed,
        lifetime=lifetime,
        user_id=user_id,
    )


async def remove(session: Session, connection_id: str, field: str | None = None) -> int:
    """One secret of a connection, or all; how many there were."""
    return await session.execute(SQL.remove, connection_id=connection_id, field=field)


async def under_other_keys(session: Session, key_id: str, limit: int) -> list[Wrapped]:
    """Secrets whose data keys are wrapped by any other master key."""
    return await session.all(SQL.under_other_keys, Wrapped, key_id=key_id, limit=limit)


async def rewrap(session: Session, old: Wrapped, *, key_id: str, wrapped: bytes) -> None:
    await session.execute(
        SQL.rewrap,
        connection_id=old.connection_id,
        field=old.field,
        version=old.version,
        old_key_id=old.key_id,
        key_id=key_id,
        wrapped=wrapped,
    )
