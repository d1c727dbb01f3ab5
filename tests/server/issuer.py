"""An authorization server on loopback that takes its specifications at their word: PKCE, exact redirects, resource, codes used once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.outbound.loopback import Asked, answer


@dataclass(slots=True)
class Issuer:
    """`metadata` changes what it says of itself; `registers`: the auth method it gives to clients, None: refused. `given`: told of each
    access token."""

    resource: str = ""
    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    registers: str | None = "none"
    refreshes: bool = True
    lifetime: int = 3600
    given: Callable[[str], None] = lambda token: None
    clients: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    refresh: set[str] = field(default_factory=set[str])
    grants: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    made: int = 0

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.url = f"http://{asked.headers['host']}"
        path, _, query = asked.target.partition("?")
        match asked.method, path:
            case "GET", "/.well-known/oauth-authorization-server":
                writer.write(_json(200, self.about()))
            case "POST", "/register":
                writer.write(self._register(json.loads(asked.body)))
            case "GET", "/authorize":
                writer.write(self._authorize(_fields(query)))
            case "POST", "/token":
                writer.write(self._token(_fields(asked.body.decode()), asked.headers.get("authorization", "")))
            case _:
                writer.write(answer(404))

    def about(self) -> dict[str, Any]:
        whole = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def _register(self, asked: dict[str, Any]) -> bytes:
        if self.registers is None or asked["response_types"] != ["code"] or len(asked["redirect_uris"]) != 1:
            return _json(403, {"error": "invalid_client_metadata", "error_description": "not\u202e here"})
        self.made += 1
        secret = {"client_secret": f"client-secret-{self.made}"} if self.registers != "none" else {}
        made = {**asked, "client_id": f"client-{self.made}", "token_endpoint_auth_method": self.registers, **secret}
        self.clients[made["client_id"]] = made
        return _json(201, made)

    def _authorize(self, asked: dict[str, str]) -> bytes:
        client = self.clients.get(asked["client_id"])
        if client is None or asked["redirect_uri"] not in client["redirect_uris"]:
            return answer(400, b"unknown client or redirect")
        fit = (asked["response_type"], asked["code_challenge_method"], asked["resource"]) == ("code", "S256", self.resource)
        if not fit or len(asked["code_challenge"]) != 43:
            back = {"error": "invalid_request", "state": asked["state"]}
        else:
            self.made += 1
            self.codes[f"code-{self.made}"] = asked
            back = {"code": f"code-{self.made}", "state": asked["state"], "iss": self.url}
        return answer(302, location=f"{asked['redirect_uri']}?{urlencode(back)}")

    def _token(self, grant: dict[str, str], authorization: str) -> bytes:
        self.grants.append(grant)
        client = self.clients.get(grant.get("client_id", "")) or self._basic(authorization)
        if client is None or not self._proven(client, grant, authorization):
            return _json(401, {"error": "invalid_client"})
        if grant["grant_type"] == "authorization_code" and not self._redeems(grant, client):
            return _json(400, {"error": "invalid_grant"})
        if grant["grant_type"] == "refresh_token":
            if grant["refresh_token"] not in self.refresh:
                return _json(400, {"error": "invalid_grant", "error_description": "revoked"})
            self.refresh.discard(grant["refresh_token"])
        self.made += 1
        token = f"access-token-{self.made}"
        body: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
        if self.refreshes:
            body["refresh_token"] = f"refresh-token-{self.made}"
            self.refresh.add(body["refresh_token"])
        self.given(token)
        return _json(200, body)

    def _redeems(self, grant: dict[str, str], client: dict[str, Any]) -> bool:
        asked = self.codes.pop(grant["code"], None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(grant["code_verifier"].encode()).digest()).decode().rstrip("=")
        return asked is not None and (proof, grant["redirect_uri"], grant["resource"], client["client_id"]) == (
            asked["code_challenge"], asked["redirect_uri"], self.resource, asked["client_id"],
        )  # fmt: skip

    def _basic(self, authorization: str) -> dict[str, Any] | None:
        name = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[0]
        return self.clients.get(name)

    def _proven(self, client: dict[str, Any], grant: dict[str, str], authorization: str) -> bool:
        if client["token_endpoint_auth_method"] == "client_secret_basic":
            return base64.b64decode(authorization.removeprefix("Basic ")).decode() == f"{client['client_id']}:{client['client_secret']}"
        return not authorization and grant.get("client_secret") == client.get("client_secret")


def _fields(text: str) -> dict[str, str]:
    found = parse_qs(text, strict_parsing=True)
    assert all(len(values) == 1 for values in found.values())  # a repeated parameter is not valid
    return {name: values[0] for name, values in found.items()}


def _json(status: int, value: Any) -> bytes:
    return answer(status, json.dumps(value).encode(), content_type="application/json")


def query_of(url: str) -> dict[str, str]:
    return _fields(urlsplit(url).query)
