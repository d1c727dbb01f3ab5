"""One-time tickets: what a person holds who may set up one connection in a browser. Only their digests are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from store.errors import Conflict
from store.postgres import Session, Transaction
from store.queries import load
from store.secrets import Sealed

SQL = load(__file__)

Purpose = Literal["connect", "oauth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """For the connection of this name, which may not be there yet: `kind` says what it is made as. `sealed`: state of an OAuth flow."""

    purpose: str
    connection: str
    kind: str
    user_id: str
    key_id: str | None
    wrapped: bytes | None
    sealed: bytes | None
    expires_at: datetime


ROWS: dict[str, type] = {"issue": datetime, "get": Ticket, "use": Ticket}


async def issue(
    session: Session, digest: bytes, *, purpose: Purpose, connection: str, kind: str, user_id: str, seconds: float, secret: Sealed | None
) -> datetime:
    """When it runs out."""
    until = await session.one(
        SQL.issue,
        datetime,
        digest=digest,
        purpose=purpose,
        connection=connection,
        kind=kind,
        user_id=user_id,
        key_id=secret.key_id if secret else None,
        wrapped=secret.wrapped if secret else None,
        sealed=secret.sealed if secret else None,
        seconds=seconds,
    )
    assert until is not None  # noqa: S101  # INSERT … RETURNING
    return until


async def find(session: Session, digest: bytes) -> Ticket | None:
    """None when there is none, it was used, or it has run out."""
    return await session.one(SQL.get, Ticket, digest=digest)


async def use(transaction: Transaction, digest: bytes) -> Ticket:
    """Makes it void, together with what else the transaction does. Raises Conflict when it is void already."""
    ticket = await transaction.one(SQL.use, Ticket, digest=digest)
    if ticket is None:
        raise Conflict("This link was used already, or has run out. Ask for a new one.")
    return ticket
