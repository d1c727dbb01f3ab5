"""Who may come in, from where, and what they may do: every route and tool, for every kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from mcp import Client

from server.app import OPERATIONS
from server.auth import ROLES, Scope, scopes_of
from server.http.gate import MAX_BODY
from server.tools import tool_files
from store import identities
from tests.server.conftest import House, connected, http, text_of
from tests.server.samples import HELLO

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P3")]
ADDRESSES = [(operation.method, operation.path.replace("{node:path}", "x").replace("{", "").replace("}", "")) for operation in OPERATIONS]
EVERYTHING = [
    *ADDRESSES,
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("GET", "/nowhere"),
    ("OPTIONS", "/api/v1/runs"),
    ("GET", "/"),
]


def wrong_keys(house: House) -> list[str]:
    right = house.keys["owner"]
    flipped = right[:-7] + ("a" if right[-7] != "a" else "b") + right[-6:]
    return ["", "x", right[:-1], right + "x", right.upper(), flipped, identities.generate(), "a" * 5_000, "ü", "weft_live_" + "0" * 61]


async def test_nothing_opens_without_a_valid_key(house: House, url: str) -> None:
    async with http(url, None) as client:
        for method, path in EVERYTHING:
            answer = await client.request(method, path, content=b"{not even json" if method in ("POST", "PATCH") else None)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "unauthenticated"
        for key in wrong_keys(house):
            for scheme in ("Bearer", "bearer", "Basic"):
                answer = await client.get("/api/v1/runs", headers={b"Authorization": f"{scheme} {key}".strip().encode()})
                assert answer.status_code == 401, key
        answer = await client.get("/api/v1/runs", headers={"Authorization": f"Basic {house.keys['owner']}"})
        assert answer.status_code == 401


async def test_every_refusal_of_a_key_looks_the_same(house: House, url: str) -> None:
    await identities.revoke_key(house.tenant, house.key_ids["viewer"])
    seen: set[bytes] = set()
    async with http(url, None) as client:
        for key in [*wrong_keys(house), house.keys["viewer"]]:
            answer = await client.get("/api/v1/runs", headers={b"Authorization": f"Bearer {key}".strip().encode()})
            assert answer.status_code == 401
            seen.add(answer.content)
    assert len(seen) == 1


async def test_a_large_body_is_refused_before_it_is_read_and_only_after_the_key(house: House, url: str) -> None:
    big = b"[" + b" " * MAX_BODY + b"]"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 50_000):
            yield big[start : start + 50_000]

    async with http(url, None) as client:
        assert (await client.post("/api/v1/runs", content=big)).status_code == 401
    async with http(url, house.keys["owner"]) as client:
        for path in ("/api/v1/runs", "/mcp"):
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            assert (await client.post(path, content=big, headers=headers)).status_code == 413, path
            assert (await client.post(path, content=chunks(), headers=headers)).status_code == 413, path


@pytest.mark.parametrize("path", ["/api/v1/runs", "/mcp", "/healthz", "/readyz", "/nowhere"])
async def test_other_hosts_and_origins_stay_outside(house: House, url: str, path: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "127.0.0.1:80:80", "", "localhost:x", "[::1"):
            assert (await client.get(path, headers={"Host": host})).status_code in (421, 400), host
        for origin in ("https://evil.example", "null", "", "http://localhost.evil.example", "file://", "http://127.0.0.1@evil.example"):
            answer = await client.get(path, headers={"Origin": origin})
            assert answer.status_code == 403, origin
            assert "access-control-allow-origin" not in answer.headers
        port = url.rsplit(":", 1)[1]
        for origin in (url, f"http://localhost:{port}", "http://localhost:3000"):
            assert (await client.get(path, headers={"Origin": origin})).status_code not in (401, 403, 421)


async def test_there_is_no_cross_origin_sharing(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        asking = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
        answer = await client.options("/api/v1/runs", headers=asking)
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_every_answer_carries_the_security_headers(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        for path in ("/api/v1/runs", "/healthz", "/nowhere", "/mcp"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["x-frame-options"] == "DENY", path
            assert "frame-ancestors 'none'" in headers["content-security-policy"], path
            assert "no-store" in headers["cache-control"] or "no-cache" in headers["cache-control"], path


def test_every_route_and_tool_has_one_scope() -> None:
    for operation in OPERATIONS:
        assert isinstance(operation.scope, Scope), operation.name
    for file in tool_files().values():
        assert isinstance(file.scope, Scope), file.name
    assert scopes_of("nobody") == frozenset()


async def test_roles_reach_exactly_the_routes_of_their_scopes(house: House, url: str) -> None:
    for role, scopes in ROLES.items():
        async with http(url, house.keys[role]) as client:
            for operation, (method, path) in zip(OPERATIONS, ADDRESSES, strict=True):
                answer = await client.request(method, path, json={} if operation.body else None)
                allowed = operation.scope in scopes
                assert (answer.status_code != 403) == allowed, (role, operation.name, answer.text)
                assert answer.status_code not in (401, 500), (role, operation.name, answer.text)


async def test_roles_reach_exactly_the_tools_of_their_scopes(house: House) -> None:
    for role, scopes in ROLES.items():
        async with Client(house.server(role)) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            for name, file in tool_files().items():
                assert (name in names) == (file.scope in scopes), (role, name)
                text = text_of(await client.call_tool(name, {"zzz": 1}))
                assert (f"needs the scope '{file.scope.value}'" in text) == (file.scope not in scopes), (role, name, text)


async def test_a_role_that_was_taken_away_is_gone_in_the_middle_of_a_session(
    house: House, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "CACHE_SECONDS", 0.0)
    async with connected(url, house.keys["builder"], mode="legacy") as client:
        assert not (await client.call_tool("validate_workflow", {"definition": HELLO})).is_error
        await identities.revoke_key(house.tenant, house.key_ids["builder"])
        with pytest.raises(Exception, match="error response"):
            await client.call_tool("validate_workflow", {"definition": HELLO})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_legacy_session_belongs_to_the_key_that_opened_it(house: House, stranger: House, url: str, mode: str) -> None:
    async with connected(url, house.keys["operator"], mode=mode) as client, connected(url, stranger.keys["operator"], mode=mode) as other:
        assert (await client.list_tools()).tools == (await other.list_tools()).tools
    async with http(url, house.keys["operator"]) as mine, http(url, stranger.keys["operator"]) as theirs:
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
        headers = {"Accept": "application/json, text/event-stream"}
        opened = await mine.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, headers=headers)
        session = {**headers, "Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await theirs.post("/mcp", json=ping, headers=session)).status_code == 404
        assert (await mine.post("/mcp", json=ping, headers=session)).status_code == 200
