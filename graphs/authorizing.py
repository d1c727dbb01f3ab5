"""Signing in: a person agrees, at the authorization server of a connection, that Weft may use it (OAuth 2.1, PKCE).

Where an MCP server has told where to sign in, all of it is asked anew each time: what it says, and as which client, becomes the
connection's settings once the person has agreed, together with the tokens, and not before."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pydantic import ValidationError

from graphs import connecting
from graphs.connections import Adopted, Place
from graphs.connections.http import OAuth2
from graphs.connections.mcp import SignIn
from graphs.definition import Json
from graphs.inviting import SECONDS, VOID, new_ticket, read_ticket
from graphs.nodetype import Failure
from graphs.remote.discovery import Found, discovered
from graphs.remote.registering import Client, client_of
from graphs.runtime import Actor, Runtime
from store import connections, identities, tickets
from store.connections import Row
from store.errors import Conflict, Denied, Invalid, NotFound
from store.secrets import Sealed

ARRANGING = 45.0  # seconds for all that is asked before the person is sent there
DOCUMENT = "/oauth/client.json"  # under the public address: who Weft is, for authorization servers that read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """Where the person is to agree, and the client that Weft is there."""

    auth: OAuth2
    client: Client = field(repr=False)


def document_url(runtime: Runtime) -> str | None:
    """Where others can read who Weft is; None where nobody else can."""
    base = runtime.public_url or ""
    return base + DOCUMENT if base.startswith("https://") else None


def auth_of(kind: str, settings: Json) -> OAuth2 | SignIn | None:
    """The settings of a connection that a person must agree to; None for any other."""
    auth = getattr(connecting.kind_of(kind).settings.model_validate(settings), "auth", None)
    return auth if isinstance(auth, SignIn) or (isinstance(auth, OAuth2) and auth.grant == "authorization_code") else None


async def arrange(
    runtime: Runtime, actor: Actor, kind: str, settings: Json, redirect_uri: str, *, client_id: str | None = None
) -> Arranged | None:
    """Finds out where to sign in, and as whom. None where the settings say so themselves. Raises Invalid."""
    auth = auth_of(kind, settings)
    if auth is None or (isinstance(auth, OAuth2) and auth.registered == "hand"):
        return None
    given = client_id or (auth.client_id if isinstance(auth, SignIn) else None)
    outbound = runtime.outbound.of(actor.tenant)
    try:
        async with asyncio.timeout(ARRANGING):
            found = await discovered(outbound, str(settings["url"]))
            known = Client(id=given, registered="hand") if given else None
            client = known or await client_of(outbound, found, redirect_uri=redirect_uri, document_url=document_url(runtime))
    except TimeoutError:
        raise Invalid(f"It did not say within {ARRANGING:g} s where to sign in; try again later.") from None
    except Failure as failure:
        raise Invalid(connecting.sentence(failure)) from None
    return Arranged(auth=_whole(found, client, auth.scopes), client=client)


def _whole(found: Found, client: Client, scopes: Sequence[str]) -> OAuth2:
    wanted = list(dict.fromkeys((*scopes, *found.scopes)))[:50]
    told = {**found.settings(), "scopes": wanted, "client_id": client.id, "client_auth": client.method, "registered": client.registered}
    try:
        return OAuth2.model_validate(told)
    except ValidationError as wrong:
        where = ", ".join(str(error["loc"][0]) for error in wrong.errors(include_input=False))
        raise Invalid(f"The authorization server names what Weft cannot use as {where}.") from None


async def begin(runtime: Runtime, actor: Actor, row: Row, redirect_uri: str, arranged: Arranged | None = None) -> tuple[str, str]:
    """Where the person agrees, and a nonce that their browser keeps until it comes back. Raises Invalid for a connection without such."""
    auth = arranged.auth if arranged else auth_of(row.kind, row.settings)
    if not isinstance(auth, OAuth2) or auth.authorize_url is None:
        raise Invalid(f"The connection {row.name!r} does not use OAuth with the grant authorization_code.")
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(32)
    state, digest = new_ticket(actor.tenant.org_id)
    held: dict[str, Json] = {"verifier": verifier, "nonce": nonce, "redirect_uri": redirect_uri, "revision": row.revision}
    if arranged:
        held |= {"auth": arranged.auth.model_dump(mode="json", exclude_none=True), "secret": arranged.client.secret}
    sealed = connecting.house_of(runtime).vault.seal(_place(actor.tenant.org_id, row.id, digest), json.dumps(held))
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
        **({"prompt": "consent"} if "offline_access" in auth.scopes else {}),  # OpenID Connect gives no refresh token without
    }
    return f"{auth.authorize_url}?{urlencode(asked)}", nonce


async def finish(runtime: Runtime, state: str, code: str, nonce: str, issuer: str | None = None, *, may: Callable[[str], None]) -> Row:
    """Makes tokens of the code that a person's browser brings back, once. `may` raises Denied for a role that may not author: it may have
    been taken away meanwhile. Raises NotFound, Denied for another browser, Conflict."""
    org_id, digest = read_ticket(state)
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
    held: dict[str, Any] = json.loads(house.vault.open(place, secret))
    if not secrets.compare_digest(held["nonce"], nonce):
        raise Denied("This page must be opened in the browser in which you agreed. Ask for a new link.")
    if held["revision"] != row.revision:  # else whoever changes the address meanwhile is sent the code
        raise Conflict(f"The connection {row.name!r} was changed meanwhile. Ask for a new link.")
    user = await identities.get_user(tenant, ticket.user_id)
    may(user.role)
    await connecting.changeable(Actor(tenant=tenant, user_id=user.id, user_name=user.name, role=user.role, via="web"), row.name)
    auth, adopted = _held(row, held)
    if auth.issuer is not None and issuer != auth.issuer and (issuer is not None or auth.issuer_required):
        # RFC 9207: another server's code must not be redeemed here
        raise Denied("The answer is not from the authorization server of this connection. Nothing was changed.")
    proof = {"code": code, "verifier": held["verifier"], "redirect_uri": held["redirect_uri"]}
    try:
        await house.tokens.redeem(tenant, row, auth, **proof, user_id=ticket.user_id, adopted=adopted)
    except Failure as failure:
        raise Conflict(f"{connecting.sentence(failure)} Ask for a new link.") from None
    await connections.tell(tenant, row.id, "authorized", user_id=ticket.user_id, via="web")
    return row


def _held(row: Row, held: dict[str, Any]) -> tuple[OAuth2, Adopted | None]:
    if "auth" in held:
        auth = OAuth2.model_validate(held["auth"])
        settings = {**row.settings, "auth": held["auth"]}
        return auth, Adopted(settings=settings, secret=held["secret"], anew=auth.registered != "hand")
    found = auth_of(row.kind, row.settings)
    if not isinstance(found, OAuth2):
        raise NotFound(VOID)
    return found, None


async def widen(runtime: Runtime, actor: Actor, name: str, scopes: Sequence[str]) -> None:
    """Asks for these scopes too when a person signs in the next time. Raises NotFound, Denied, Invalid."""
    row = await connecting.changeable(actor, name)
    auth = auth_of(row.kind, row.settings)
    if auth is None:
        raise Invalid(f"Nobody signs in to the connection {name!r}, so it has no scopes to ask for.")
    wanted = list(dict.fromkeys((*auth.scopes, *scopes)))
    if wanted != list(auth.scopes):
        await connecting.update(runtime, actor, name, settings={**row.settings, "auth": {**row.settings["auth"], "scopes": wanted}})


def _place(org_id: str, connection_id: str, digest: bytes) -> Place:
    return Place(org_id=org_id, connection_id=connection_id, version=0, field=f"oauth {digest.hex()}")
