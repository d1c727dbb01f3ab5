"""As whom Weft signs in: the client that a person has registered, a document of ours that says who we are, or one registered by itself.

The order of the MCP specification. The document is a Client ID Metadata Document (draft-ietf-oauth-client-id-metadata-document); the last
is RFC 7591."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.outbound import Outbound, parse_json
from graphs.redaction import SHORTEST
from graphs.remote.definitions import shown
from graphs.remote.discovery import MAX_BYTES, SECONDS, Found

SECRET_BY: dict[str, Literal["basic", "post"]] = {"client_secret_basic": "basic", "client_secret_post": "post"}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """`registered`: how it was made known there."""

    id: str
    secret: str | None = field(default=None, repr=False)
    method: Literal["basic", "post"] = "basic"
    registered: Literal["hand", "document", "dynamic"]


def about(redirect_uri: str) -> dict[str, Json]:
    """What Weft says of itself to authorization servers."""
    host = urlsplit(redirect_uri).hostname
    return {
        "client_name": "Weft",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native" if host in LOOPBACK else "web",
    }


async def client_of(outbound: Outbound, found: Found, *, redirect_uri: str, document_url: str | None) -> Client:
    """A client that may come back to `redirect_uri`. `document_url`: where the document about us can be read, None where nobody else
    can. Raises Failure that asks for a client_id."""
    from mcp.client.auth.utils import is_valid_client_metadata_url

    if found.documents and document_url is not None and is_valid_client_metadata_url(document_url):
        return Client(id=document_url, registered="document")
    if found.register_url is None:
        raise _by_hand(found, redirect_uri, "does not let clients register themselves")
    answer = await outbound.request(
        "POST",
        found.register_url,
        json={**about(redirect_uri), **({"scope": " ".join(found.scopes)} if found.scopes else {})},
        headers={"accept": "application/json"},
        timeout=SECONDS,
        max_bytes=MAX_BYTES,
        follow_redirects=False,
    )
    if answer.status not in (200, 201):
        raise _by_hand(found, redirect_uri, f"refused to register Weft ({answer.status}{_said(answer.body)})")
    return _registered(found, redirect_uri, answer.body)


def _registered(found: Found, redirect_uri: str, body: bytes) -> Client:
    from mcp.shared.auth import OAuthClientInformationFull

    try:
        made = OAuthClientInformationFull.model_validate(parse_json(body))
    except (ValidationError, ValueError):
        raise _by_hand(found, redirect_uri, "answered the registration with something that is none") from None
    method = made.token_endpoint_auth_method or ("client_secret_basic" if made.client_secret else "none")
    if made.redirect_uris and redirect_uri not in {str(one) for one in made.redirect_uris}:
        raise _by_hand(found, redirect_uri, "registered Weft with another redirect address")
    if len(made.client_id) > 500 or (method != "none" and (method not in SECRET_BY or len(made.client_secret or "") < SHORTEST)):
        raise _by_hand(found, redirect_uri, f"registered Weft in a way that Weft cannot use ({shown(method, 50)})")
    secret = made.client_secret if method != "none" else None
    return Client(id=made.client_id, secret=secret, method=SECRET_BY.get(method, "basic"), registered="dynamic")


def _by_hand(found: Found, redirect_uri: str, why: str) -> Failure:
    message = (
        f"{shown(found.issuer, 200)} {why}. Register Weft there by hand with the redirect address {redirect_uri}, "
        "and give the client_id that you get"
    )
    return Failure("client_wanted", message)


def _said(body: bytes) -> str:
    try:
        told: Any = parse_json(body)
        words = ": ".join(str(told[name]) for name in ("error", "error_description") if isinstance(told.get(name), str))
    except (ValueError, AttributeError, TypeError):
        return ""
    return f", {shown(words, 300)}" if words else ""
