"""Invitations: a person sets up one connection in a browser, by a link that works once, for ten minutes. No model sees what they type."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from graphs import connecting
from graphs.connections import Kind, Place
from graphs.connections.http import OAuth2
from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.runtime import Actor, Runtime
from store import connections, identities, tickets
from store.connections import Row
from store.errors import Conflict, Denied, Invalid, NotFound
from store.secrets import Sealed

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
    ticket, digest = _new(actor.tenant.org_id)
    until = await tickets.issue(
        actor.tenant, digest, purpose="connect", connection=name, kind=kind, user_id=actor.user_id, seconds=SECONDS, secret=None
    )
    return Invitation(ticket=ticket, connection=name, expires_at=until)


async def guest(runtime: Runtime, ticket: str) -> Guest:
    """Who holds the ticket. Raises NotFound for one that is not good."""
    org_id, digest = _read(ticket)
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


async def complete(runtime: Runtime, who: Guest, settings: Json, values: Mapping[str, str]) -> Row:
    """Uses the ticket: makes the connection where it is missing, and sets its secrets; all or nothing. Raises Invalid, and the ticket
    stays good; Conflict when it was used meanwhile."""
    async with who.actor.tenant.transaction() as transaction:
        await tickets.use(transaction, who.digest)
        row = who.row or await connecting.make(transaction, who.actor, name=who.name, kind=who.kind.name, settings=settings)
        await connecting.put(runtime, transaction, who.actor, row, values)
    return row


async def begin_oauth(runtime: Runtime, actor: Actor, row: Row, redirect_uri: str) -> tuple[str, str]:
    """Where the person agrees, and a nonce that their browser keeps until it comes back. Raises Invalid for a connection without such."""
    auth = _auth(row)
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(32)
    state, digest = _new(actor.tenant.org_id)
    held = json.dumps({"verifier": verifier, "nonce": nonce, "redirect_uri": redirect_uri})
    sealed = connecting.house_of(runtime).vault.seal(_place(actor.tenant.org_id, row.id, digest), held)
    await tickets.issue(
        actor.tenant, digest, purpose="oauth", connection=row.name, kind=row.kind, user_id=actor.user_id, seconds=SECONDS, secret=sealed
    )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code",
        "client_id": auth.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"scope": " ".join(auth.scopes)} if auth.scopes else {}),
        **({"audience": auth.audience} if auth.audience else {}),
        **({"resource": auth.resource} if auth.resource else {}),
    }
    return f"{auth.authorize_url}?{urlencode(asked)}", nonce


async def finish_oauth(runtime: Runtime, state: str, code: str, nonce: str, issuer: str | None = None) -> Row:
    """Makes tokens of the code that a person's browser brings back, once. Raises NotFound, Denied for another browser, Invalid."""
    org_id, digest = _read(state)
    tenant = runtime.database.tenant(org_id)
    if await tickets.find(tenant, digest) is None:
        raise NotFound(VOID)
    async with tenant.transaction() as transaction:
        ticket = await tickets.use(transaction, digest)
    row = await connections.find(tenant, ticket.connection)
    if ticket.purpose != "oauth" or row is None or ticket.sealed is None or ticket.wrapped is None or ticket.key_id is None:
        raise NotFound(VOID)
    place = _place(org_id, row.id, digest)
    house = connecting.house_of(runtime)
    secret = Sealed(field=place.field, version=place.version, key_id=ticket.key_id, wrapped=ticket.wrapped, sealed=ticket.sealed)
    held = json.loads(house.vault.open(place, secret))
    if not secrets.compare_digest(held["nonce"], nonce):
        raise Denied("This page must be opened in the browser in which you agreed. Ask for a new link.")
    auth = _auth(row)
    if (
        auth.issuer is not None and issuer != auth.issuer and (issuer is not None or auth.issuer_required)
    ):  # RFC 9207: another server's code must not be redeemed here
        raise Denied("The answer is not from the authorization server of this connection. Nothing was changed.")
    try:
        await house.tokens.redeem(
            tenant, row, auth, code=code, verifier=held["verifier"], redirect_uri=held["redirect_uri"], user_id=ticket.user_id
        )
    except Failure as failure:
        raise Conflict(f"{failure.message[:1].upper()}{failure.message[1:]}. Ask for a new link.") from None
    await connections.tell(tenant, row.id, "authorized", user_id=ticket.user_id, via="web")
    return row


def oauth_of(row: Row) -> OAuth2 | None:
    """The settings of a connection that a person must agree to; None for any other."""
    auth = getattr(connecting.kind_of(row.kind).settings.model_validate(row.settings), "auth", None)
    return auth if isinstance(auth, OAuth2) and auth.grant == "authorization_code" else None


def _auth(row: Row) -> OAuth2:
    auth = oauth_of(row)
    if auth is None or auth.authorize_url is None:
        raise Invalid(f"The connection {row.name!r} does not use OAuth with the grant authorization_code.")
    return auth


def _place(org_id: str, connection_id: str, digest: bytes) -> Place:
    return Place(org_id=org_id, connection_id=connection_id, version=0, field=f"oauth {digest.hex()}")


def _new(org_id: str) -> tuple[str, bytes]:
    raw = UUID(org_id).bytes + secrets.token_bytes(LENGTH - ORG)
    return base64.urlsafe_b64encode(raw).decode(), hashlib.sha256(raw).digest()


def _read(ticket: str) -> tuple[str, bytes]:
    """The organization it says it is of, and its digest: only whoever was given it has a digest that is there. Raises NotFound."""
    try:
        raw = base64.b64decode(ticket, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != LENGTH:
        raise NotFound(VOID)
    return str(UUID(bytes=raw[:ORG])), hashlib.sha256(raw).digest()
