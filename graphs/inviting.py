"""Invitations: a person sets up one connection in a browser, by a link that works once, for ten minutes. No model sees what they type."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from graphs import connecting
from graphs.connections import Kind
from graphs.definition import Json
from graphs.runtime import Actor, Runtime
from store import connections, identities, tickets
from store.connections import Row
from store.errors import Invalid, NotFound

SECONDS = 600.0  # a link is good for
ORG = 16  # bytes of a ticket that say whose it is; the others are random
LENGTH = ORG + 32
VOID = "This link was used already, has run out, or was cut off when it was copied. Ask for a new one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """`ticket` is what its holder may do it with: it belongs into a link and nowhere else."""

    ticket: str = field(repr=False)
    connection: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Who holds a ticket that is good: the person it was made for, and the connection it is for. `row` None: to be made."""

    actor: Actor
    name: str
    kind: Kind
    row: Row | None
    digest: bytes


async def invite(runtime: Runtime, actor: Actor, name: str, kind: str = "http") -> Invitation:
    """For the connection of this name; one that is not there yet is made as `kind`. Raises Invalid, Denied."""
    connecting.house_of(runtime)
    if not connecting.NAME.fullmatch(name):
        raise Invalid(f"{name[:100]!r} cannot name a connection: small letters, digits, - and _, at most 64, a letter first.")
    row = await connections.find(actor.tenant, name)
    if row is not None:
        await connecting.changeable(actor, name)
    kind = row.kind if row else connecting.kind_of(kind).name
    ticket, digest = new_ticket(actor.tenant.org_id)
    until = await tickets.issue(
        actor.tenant, digest, purpose="connect", connection=name, kind=kind, user_id=actor.user_id, seconds=SECONDS, secret=None
    )
    return Invitation(ticket=ticket, connection=name, expires_at=until)


async def guest(runtime: Runtime, ticket: str) -> Guest:
    """Who holds the ticket. Raises NotFound for one that is not good."""
    org_id, digest = read_ticket(ticket)
    tenant = runtime.database.tenant(org_id)
    found = await tickets.find(tenant, digest)
    if found is None or found.purpose != "connect":
        raise NotFound(VOID)
    user = await identities.get_user(tenant, found.user_id)
    actor = Actor(tenant=tenant, user_id=user.id, user_name=user.name, role=user.role, via="web")
    row = await connections.find(tenant, found.connection)
    if row is not None:
        await connecting.changeable(actor, row.name)
    return Guest(actor=actor, name=found.connection, kind=connecting.kind_of(row.kind if row else found.kind), row=row, digest=digest)


async def settled(runtime: Runtime, who: Guest, settings: Json) -> Json:
    """The settings that the connection has, or will have; of one that sends nothing along, with what the other side asks for by now.
    Raises Invalid."""
    if who.row is None:
        await connecting.free(runtime, who.actor, who.name)
        return await connecting.settled(runtime, who.actor, who.kind, settings)
    known: dict[str, Json] = who.row.settings
    bare = {name: value for name, value in known.items() if name != "auth"}
    return await connecting.settled(runtime, who.actor, who.kind, bare) if known.get("auth") == {"type": "none"} else known


async def complete(runtime: Runtime, who: Guest, settings: Json, values: Mapping[str, str]) -> Row:
    """Uses the ticket: makes the connection where it is missing, and sets its secrets; all or nothing. Raises Invalid, and the ticket
    stays good; Conflict when it was used meanwhile."""
    async with who.actor.tenant.transaction() as transaction:
        await tickets.use(transaction, who.digest)
        row = who.row or await connecting.make(transaction, who.actor, name=who.name, kind=who.kind.name, settings=settings)
        await connecting.put(runtime, transaction, who.actor, row, values)
    return row


def new_ticket(org_id: str) -> tuple[str, bytes]:
    """A ticket of the organization, and its digest."""
    raw = UUID(org_id).bytes + secrets.token_bytes(LENGTH - ORG)
    return base64.urlsafe_b64encode(raw).decode(), hashlib.sha256(raw).digest()


def read_ticket(ticket: str) -> tuple[str, bytes]:
    """The organization it says it is of, and its digest: only whoever was given it has a digest that is there. Raises NotFound."""
    try:
        raw = base64.b64decode(ticket, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != LENGTH:
        raise NotFound(VOID)
    return str(UUID(bytes=raw[:ORG])), hashlib.sha256(raw).digest()
