"""Where an MCP server wants to be authorized is asked by the rules; what does not fit is not believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from graphs.connections._auth import OAuth2
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from graphs.remote.discovery import discovered
from tests.outbound.loopback import Asked, answer, origin

pytestmark = pytest.mark.anyio


def site(documents: Mapping[str, Any]) -> Any:
    """Answers with JSON by path; `{}` in a text stands for its own address."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        here = f"http://{asked.headers['host']}"
        path = asked.target
        if path == "/mcp":
            challenge = f'Bearer resource_metadata="{here}/.well-known/oauth-protected-resource/mcp"'
            writer.write(answer(401, b"", **{"www-authenticate": challenge}))
        elif path in documents:
            writer.write(answer(200, json.dumps(documents[path]).replace("@", here).encode(), content_type="application/json"))
        else:
            writer.write(answer(404))

    return reply


RESOURCE = {"resource": "@/mcp", "authorization_servers": ["@/as"], "scopes_supported": ["tools"]}
SERVER = {
    "issuer": "@/as",
    "authorization_endpoint": "@/authorize",
    "token_endpoint": "@/token",
    "code_challenge_methods_supported": ["S256"],
}
GOOD = {"/.well-known/oauth-protected-resource/mcp": RESOURCE, "/.well-known/oauth-authorization-server/as": SERVER}


async def test_the_settings_are_those_that_the_server_and_its_authorization_server_tell(outbound: Outbound) -> None:
    async with origin(site(GOOD)) as there:
        auth = (await discovered(outbound, f"{there.url}/mcp")).settings()
        assert auth == {
            "type": "oauth2",
            "grant": "authorization_code",
            "authorize_url": f"{there.url}/authorize",
            "token_url": f"{there.url}/token",
            "issuer": f"{there.url}/as",
            "resource": f"{there.url}/mcp",
            "scopes": ["tools"],
        }
        OAuth2.model_validate({**auth, "client_id": "weft"})


async def test_a_server_that_always_names_itself_is_held_to_it(outbound: Outbound) -> None:
    named = GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"authorization_response_iss_parameter_supported": True}}
    async with origin(site(named)) as there:
        auth = (await discovered(outbound, f"{there.url}/mcp")).settings()
    assert OAuth2.model_validate({**auth, "client_id": "weft"}).issuer_required


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "nothing"])
async def test_an_address_that_is_none_is_a_failure(outbound: Outbound, url: str) -> None:
    with pytest.raises(Failure):
        await discovered(outbound, url)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "metadata of another resource": (
        GOOD | {"/.well-known/oauth-protected-resource/mcp": RESOURCE | {"resource": "https://other.example/mcp"}},
        "not for here",
    ),
    "a server that is called otherwise": (
        GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"issuer": "https://other.example"}},
        "names no authorization server",
    ),
    "a server without PKCE": (
        GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"code_challenge_methods_supported": ["plain"]}},
        "names no authorization server",
    ),
    "people sent to another vendor": (
        GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"authorization_endpoint": "https://accounts.example/agree"}},
        "names https://accounts.example as its authorization_endpoint",
    ),
    "codes taken to another vendor": (
        GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"token_endpoint": "https://accounts.example/token"}},
        "names https://accounts.example as its token_endpoint",
    ),
    "an authorization server at no address": (
        GOOD | {"/.well-known/oauth-protected-resource/mcp": RESOURCE | {"authorization_servers": ["http://["]}},
        "is no address",
    ),
    "an endpoint at no address": (
        GOOD | {"/.well-known/oauth-authorization-server/as": SERVER | {"token_endpoint": "http://["}},
        "is no address",
    ),
    "nothing at all": ({}, "names no authorization server"),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_does_not_fit_is_not_believed(outbound: Outbound, what: str) -> None:
    documents, why = BAD[what]
    async with origin(site(documents)) as there:
        with pytest.raises(Failure) as caught:
            await discovered(outbound, f"{there.url}/mcp")
    assert why in caught.value.message


async def test_a_metadata_address_elsewhere_is_not_asked(outbound: Outbound) -> None:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(401, b"", **{"www-authenticate": 'Bearer resource_metadata="http://169.254.169.254/x"'}))

    async with origin(reply) as there:
        with pytest.raises(Failure, match="names no authorization server"):
            await discovered(outbound, f"{there.url}/mcp")
    assert all("169.254" not in asked.target for asked in there.asked)
