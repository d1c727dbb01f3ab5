"""Where an MCP server wants to be signed in to: its own metadata (RFC 9728), then that of its authorization server (RFC 8414, OIDC).

As the MCP specification asks of a client (2025-06-18 to 2026-07-28). All of it is the word of strangers: a server may speak for itself
only, an authorization server for its own address only, and nothing is asked but through the house's guarded network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import SplitResult, urlsplit

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Failure
from graphs.outbound import Outbound, parse_json
from graphs.outbound.challenges import SCOPE, parameter, scopes_of
from graphs.remote.definitions import shown

SECONDS, MAX_BYTES = 15.0, 100_000
ENDPOINTS = ("authorization_endpoint", "token_endpoint")
HANDSHAKE: Json = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "weft", "version": version("weft")}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where to sign in for a server. `documents`: a client may be named by the address of a document about it; `names_itself`: its
    answers always say who it is (RFC 9207)."""

    issuer: str
    authorize_url: str
    token_url: str
    register_url: str | None
    documents: bool
    names_itself: bool
    resource: str
    scopes: tuple[str, ...]

    def settings(self) -> dict[str, Json]:
        """As the `auth` of a connection, but for the client."""
        return {
            "type": "oauth2",
            "grant": "authorization_code",
            "authorize_url": self.authorize_url,
            "token_url": self.token_url,
            "issuer": self.issuer,
            **({"issuer_required": True} if self.names_itself else {}),
            "resource": self.resource,
            "scopes": list(self.scopes),
        }


async def challenge(outbound: Outbound, url: str) -> str | None:
    """What a server that wants to be signed in to says about that (WWW-Authenticate); None for one that answers otherwise."""
    headers = {"accept": "application/json, text/event-stream"}
    answer = await outbound.request(
        "POST", url, json=HANDSHAKE, headers=headers, timeout=SECONDS, max_bytes=MAX_BYTES, follow_redirects=False
    )
    return answer.headers.get("www-authenticate", "") if answer.status == 401 else None


async def discovered(outbound: Outbound, url: str) -> Found:
    """Where to sign in for the server at `url`. Raises Failure when it does not say, or says what cannot be believed."""
    said = await challenge(outbound, url) or ""
    resource, scopes, issuers = await _resource(outbound, url, said)
    why = ""
    for issuer in issuers[:3]:
        _fenced(url, issuer)
        found, why = await _server(outbound, issuer)
        if found is not None:
            return _described(found, resource, scopes_of(said) or scopes)
    raise Failure("no_oauth", f"{_origin(url)} names no authorization server that Weft can use{why}")


def _described(found: dict[str, Any], resource: str, scopes: list[str]) -> Found:
    kept = [scope for scope in scopes if SCOPE.fullmatch(scope)]
    if "offline_access" in _texts(found.get("scopes_supported")) and "offline_access" not in kept:
        kept.append("offline_access")  # or the token could not be renewed
    register = found.get("registration_endpoint")
    return Found(
        issuer=found["issuer"],
        authorize_url=found["authorization_endpoint"],
        token_url=found["token_endpoint"],
        register_url=register if isinstance(register, str) and _origin(register) == _origin(found["issuer"]) else None,
        documents=found.get("client_id_metadata_document_supported") is True,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        resource=resource,
        scopes=tuple(dict.fromkeys(kept))[:50],
    )


async def _resource(outbound: Outbound, url: str, said: str) -> tuple[str, list[str], list[str]]:
    """(resource, scopes, issuers). What the document says of itself must be about this server."""
    from mcp.client.auth.utils import build_protected_resource_metadata_discovery_urls as places_of
    from mcp.shared.auth_utils import check_resource_allowed

    pointed = parameter(said, "resource_metadata")
    for place in places_of(pointed if pointed and _origin(pointed) == _origin(url) else None, url):
        found = await _document(outbound, place)
        if found is None:
            continue
        resource = found.get("resource")
        if not isinstance(resource, str) or not check_resource_allowed(url, resource):
            raise Failure(
                "no_oauth", f"the metadata of {_origin(url)} is about {shown(str(resource), 200)}; a token for that is not for here"
            )
        return resource, _texts(found.get("scopes_supported")), _texts(found.get("authorization_servers"))
    return url, [], [_origin(url)]  # before RFC 9728 the server was its own


async def _server(outbound: Outbound, issuer: str) -> tuple[dict[str, Any] | None, str]:
    """The metadata of an authorization server, which must name itself as it was named, and know PKCE; or why not."""
    from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls as places_of
    from mcp.client.auth.utils import issuers_match

    why = f": {shown(_origin(issuer), 200)} has no metadata"
    for place in places_of(issuer, issuer):
        found = await _document(outbound, place)
        if found is None:
            continue
        named = found.get("issuer")
        if not isinstance(named, str) or not issuers_match(named, issuer):
            why = f": what says to be {shown(issuer, 200)} calls itself {shown(str(named), 200)}"
        elif "S256" not in _texts(found.get("code_challenge_methods_supported")):
            why = f": {shown(_origin(issuer), 200)} does not say that it checks PKCE (S256)"
        elif not all(isinstance(found.get(field), str) for field in ENDPOINTS):
            why = f": {shown(_origin(issuer), 200)} does not name its endpoints"
        else:
            _at_home(_origin(issuer), found)
            return found, ""
    return None, why


def _at_home(origin: str, found: dict[str, Any]) -> None:
    """Another server's endpoint would let this one redeem that server's codes, or send people to the one for tokens of the other."""
    for field in ENDPOINTS:
        if _origin(found[field]) != origin:
            elsewhere = shown(_origin(found[field]), 200)
            raise Failure(
                "no_oauth",
                f"the authorization server {shown(origin, 200)} names {elsewhere} as its {field}, which is another address; "
                "if you know that both are the same vendor's, write the settings of `auth` yourself",
            )


def _fenced(url: str, issuer: str) -> None:
    """Whoever listens on the way must not read the codes and tokens of a server that is spoken to by TLS."""
    if _parts(url).scheme == "https" and _parts(issuer).scheme != "https":
        raise Failure("no_oauth", f"{_origin(url)} names {shown(issuer, 200)} as its authorization server, which is not https")


async def _document(outbound: Outbound, url: str) -> dict[str, Any] | None:
    answer = await outbound.request("GET", url, timeout=SECONDS, max_bytes=MAX_BYTES, follow_redirects=False)
    found: Json = None
    with suppress(ValueError):
        found = parse_json(answer.body) if answer.status == 200 else None
    return found if is_object(found) else None


def _texts(value: Json) -> list[str]:
    return list(_strings(value))


def _strings(value: Json) -> Iterator[str]:
    for one in value if is_array(value) else []:
        if isinstance(one, str):
            yield one


def _origin(url: str) -> str:
    parts = _parts(url)
    return f"{parts.scheme}://{parts.netloc}"


def _parts(url: str) -> SplitResult:
    """Raises Failure."""
    try:
        return urlsplit(url)
    except ValueError:
        raise Failure("no_oauth", f"{shown(url, 200)!r} is no address of an authorization server") from None
