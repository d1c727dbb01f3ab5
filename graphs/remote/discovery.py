"""Where an MCP server wants to be authorized: its own metadata (RFC 9728), then that of its authorization server (RFC 8414)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Failure
from graphs.outbound import Answer, Outbound, parse_json
from graphs.remote.definitions import shown

SECONDS, MAX_BYTES = 15.0, 100_000
ENDPOINTS = ("authorization_endpoint", "token_endpoint")
METADATA = re.compile(r'resource_metadata="?([^",\s]{1,2000})"?')
SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,200}")


async def discovered(outbound: Outbound, url: str) -> dict[str, Json]:
    """The `auth` settings for the server at `url`, but for the client_id. Raises Failure when it does not say."""
    resource, scopes, issuers = await _resource(outbound, url)
    for issuer in issuers[:3]:
        found = await _server(outbound, issuer)
        if found is not None:
            wanted = scopes or [scope for scope in _texts(found.get("scopes_supported")) if scope in ("offline_access",)]
            return {
                "type": "oauth2",
                "grant": "authorization_code",
                "authorize_url": found["authorization_endpoint"],
                "token_url": found["token_endpoint"],
                "issuer": found["issuer"],
                **({"issuer_required": True} if found.get("authorization_response_iss_parameter_supported") is True else {}),
                "resource": resource,
                "scopes": [scope for scope in wanted if SCOPE.fullmatch(scope)][:50],
            }
    raise Failure("no_oauth", f"{_origin(url)} names no authorization server that Weft can use")


async def _resource(outbound: Outbound, url: str) -> tuple[str, list[str], list[str]]:
    """(resource, scopes, issuers). What the document says of itself must be about this server."""
    refused = await outbound.request("GET", url, timeout=SECONDS, max_bytes=MAX_BYTES, follow_redirects=False)
    pointed = METADATA.search(refused.headers.get("www-authenticate", ""))
    parts = _parts(url)
    places = [
        f"{_origin(url)}/.well-known/oauth-protected-resource{parts.path.rstrip('/')}",
        f"{_origin(url)}/.well-known/oauth-protected-resource",
    ]
    if pointed and _origin(pointed[1]) == _origin(url):
        places.insert(0, pointed[1])
    for place in places:
        found = await _document(outbound, place)
        if found is None:
            continue
        resource = found.get("resource")
        if not isinstance(resource, str) or not (url.rstrip("/") + "/").startswith(resource.rstrip("/") + "/"):
            raise Failure(
                "no_oauth", f"the metadata of {_origin(url)} is about {shown(str(resource), 200)}; a token for that is not for here"
            )
        return resource, _texts(found.get("scopes_supported")), _texts(found.get("authorization_servers"))
    return url, [], [_origin(url)]  # before RFC 9728 the server was its own


async def _server(outbound: Outbound, issuer: str) -> dict[str, Any] | None:
    """The metadata of an authorization server, which must name itself as it was named, and know PKCE."""
    path = _parts(issuer).path.rstrip("/")
    origin = _origin(issuer)
    for place in (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    ):
        found = await _document(outbound, place)
        if found is None:
            continue
        named = str(found.get("issuer", "")).rstrip("/") == issuer.rstrip("/")
        if (
            named
            and "S256" in _texts(found.get("code_challenge_methods_supported"))
            and all(isinstance(found.get(field), str) for field in ENDPOINTS)
        ):
            _at_home(origin, found)
            return found
    return None


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


async def _document(outbound: Outbound, url: str) -> dict[str, Any] | None:
    answer: Answer = await outbound.request("GET", url, timeout=SECONDS, max_bytes=MAX_BYTES, follow_redirects=False)
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
