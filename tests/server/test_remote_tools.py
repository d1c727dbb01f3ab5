"""Remote tools at the doors: a person lists, judges, approves and disables them; nobody else can, and no model can."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mcp import Client

from graphs import connecting, remoting
from graphs.remote.calling import Remote
from graphs.remote.servers import Server
from graphs.remoting import Choice
from server.app import create_app
from server.tools import tool_files
from store import remote_tools
from tests.outbound.loopback import origin
from tests.remote.openapiserver import api_server
from tests.remote.toolserver import tool_server
from tests.server.conftest import House, http, served
from tests.server.test_circuits import fits
from tests.server.test_connections import Vendor

pytestmark = pytest.mark.anyio
PATH = "/api/v1/connections/acme"


async def connect(house: House, kind: str, **settings: Any) -> None:
    await connecting.create(house.runtime, house.actor(), name="acme", kind=kind, settings=settings)


async def test_a_person_lists_judges_approves_and_disables(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        with tool_server() as there:
            await connect(house, "mcp", url=there.url)
            found = await fits(client, await client.get(f"{PATH}/tools"), "listRemoteTools")
            assert (found["health"], found["tools"]) == (None, [])
            found = await fits(client, await client.post(f"{PATH}/tools/refresh"), "refreshRemoteTools")
            assert (found["health"]["protocol"], found["states"]["new"]) == ("2026-07-28", 2)
            choices = [{"name": tool["name"], "digest": tool["digest"]} for tool in found["tools"]]
            choices[0]["effect"] = "read"
            found = await fits(client, await client.post(f"{PATH}/tools/approve", json={"tools": choices}), "approveRemoteTools")
            assert [(tool["name"], tool["effect"]) for tool in found["tools"]] == [("echo", "read"), ("mail", "write-once")]
            there.tools["mail"]["description"] = "Sends a mail\u202e."
            await client.post(f"{PATH}/tools/refresh")
            one = await fits(client, await client.get(f"{PATH}/tools/mail"), "getRemoteTool")
            assert one["state"] == "changed"
            assert one["changes"] == [{"op": "replace", "path": "/description", "from": "Sends a mail.", "to": "Sends a mail\\u202e."}]
            late = await client.post(f"{PATH}/tools/approve", json={"tools": [choices[1]]})
            assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")
            gone = await fits(client, await client.post(f"{PATH}/tools/disable", json={"tools": ["echo"]}), "disableRemoteTools")
            assert gone["states"] == {"approved": 0, "new": 0, "changed": 1, "gone": 0, "disabled": 1}
        dead = await client.post(f"{PATH}/tools/refresh")
        assert dead.status_code == 503
        assert (await client.get(f"{PATH}/tools")).json()["health"]["error"]


async def test_a_document_is_uploaded_as_text_or_object(house: House, url: str) -> None:
    with api_server() as api:
        await connect(house, "openapi", base_url=f"{api.url}/v1")
        async with http(url, house.keys["builder"]) as client:
            found = await fits(client, await client.put(f"{PATH}/spec", json={"document": api.document()}), "uploadSpec")
            assert (found["total"], found["states"]["new"]) == (5, 5)
            assert any("the document names https://shop.example/v1" in note for note in found["notes"])
            assert any("asks for header" in note for note in found["notes"])
            found = await fits(client, await client.put(f"{PATH}/spec", json={"document": api.text(), "include": ["search"]}), "uploadSpec")
            assert [tool["name"] for tool in found["tools"]] == ["findOrders"]
            bad = await client.put(f"{PATH}/spec", json={"document": "openapi: 9"})
            assert bad.status_code == 422


async def test_only_authors_decide(house: House, url: str) -> None:
    with tool_server() as there:
        await connect(house, "mcp", url=there.url)
        there.headers.clear()  # whether it is to be signed in to was asked
        for role in ("viewer", "operator"):
            async with http(url, house.keys[role]) as client:
                assert (await client.get(f"{PATH}/tools")).status_code == 200
                for path, body in (
                    ("refresh", None),
                    ("approve", {"tools": [{"name": "echo", "digest": "0"}]}),
                    ("disable", {"tools": ["echo"]}),
                ):
                    assert (await client.post(f"{PATH}/tools/{path}", json=body)).status_code == 403
        assert there.headers == []


async def test_tools_of_a_connection_for_some_roles_are_shown_to_them_alone(house: House, url: str) -> None:
    with tool_server() as there:
        await connect(house, "mcp", url=there.url)
        await connecting.update(house.runtime, house.actor(), "acme", roles=["builder"])
        async with http(url, house.keys["builder"]) as client:
            assert (await client.post(f"{PATH}/tools/refresh")).status_code == 200
            assert (await client.get(f"{PATH}/tools/echo")).status_code == 200
        async with http(url, house.keys["viewer"]) as client:
            for path in ("tools", "tools/echo", "tools/none"):
                refused = await client.get(f"{PATH}/{path}")
                assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied"), path
                assert "Says it again" not in refused.text


async def test_models_see_the_tools_and_have_none_to_approve_with(house: House, url: str) -> None:
    with tool_server() as there:
        await connect(house, "mcp", url=there.url)
        async with http(url, house.keys["builder"]) as client:
            await client.post(f"{PATH}/tools/refresh")
        async with Client(house.server()) as client:
            seen = json.loads((await client.read_resource("weft://connections/acme/tools")).contents[0].text)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    assert [tool["state"] for tool in seen["tools"]] == ["new", "new"]
    assert not any("approve" in name or "connection" in name for name in tool_files())


@pytest.mark.promise("P3")
async def test_another_organization_sees_nothing_of_it(house: House, stranger: House, url: str) -> None:
    with tool_server() as there:
        await connect(house, "mcp", url=there.url)
        async with http(url, house.keys["builder"]) as client:
            await client.post(f"{PATH}/tools/refresh")
        async with http(url, stranger.keys["owner"]) as client:
            for name in ("acme", "none"):
                answers = [
                    await client.get(f"/api/v1/connections/{name}/tools"),
                    await client.get(f"/api/v1/connections/{name}/tools/echo"),
                    await client.post(f"/api/v1/connections/{name}/tools/refresh"),
                    await client.post(f"/api/v1/connections/{name}/tools/disable", json={"tools": ["echo"]}),
                ]
                assert [answer.status_code for answer in answers] == [404] * 4
                assert all("loopback" not in answer.text for answer in answers)


async def test_a_removed_connection_takes_its_approvals_along(house: House, url: str) -> None:
    with tool_server() as there:
        async with http(url, house.keys["owner"]) as client:
            await connect(house, "mcp", url=there.url)
            found = (await client.post(f"{PATH}/tools/refresh")).json()
            choices = [{"name": tool["name"], "digest": tool["digest"]} for tool in found["tools"]]
            await client.post(f"{PATH}/tools/approve", json={"tools": choices})
            await connecting.remove(house.runtime, house.actor(), "acme")
            await connect(house, "mcp", url=there.url)
            found = (await client.post(f"{PATH}/tools/refresh")).json()
            assert found["states"]["new"] == 2


@pytest.mark.parametrize(
    ("issuer", "required", "status"),
    [("https://vendor.example", True, 200), ("https://evil.example", False, 403), (None, False, 200), (None, True, 403)],
)
async def test_a_token_is_asked_for_this_server_and_only_from_the_right_one(
    house: House, url: str, issuer: str | None, required: bool, status: int
) -> None:
    vendor = Vendor()
    async with origin(vendor.reply) as api:
        auth: dict[str, Any] = {
            "type": "oauth2",
            "grant": "authorization_code",
            "token_url": f"{api.url}/token",
            "authorize_url": "https://vendor.example/agree",
            "client_id": "weft-client",
            "resource": f"{api.url}/mcp",
            "issuer": "https://vendor.example",
            "issuer_required": required,
        }
        await connect(house, "mcp", url=f"{api.url}/mcp", auth=auth)
        async with http(url, house.keys["builder"]) as door, http(url, None) as browser:
            page = (await door.post(f"{PATH}/link", json={})).json()["url"]
            there = await browser.post(page, data={"secret.client_secret": "s3cret-of-the-client"}, follow_redirects=False)
            sent = {name: values[0] for name, values in parse_qs(urlsplit(there.headers["location"]).query).items()}
            assert sent["resource"] == f"{api.url}/mcp"
            vendor.challenge = sent["code_challenge"]
            done = await browser.get("/oauth/callback", params={"state": sent["state"], "code": "c"} | ({"iss": issuer} if issuer else {}))
            assert done.status_code == status, done.text
    assert [grant["resource"] for grant in vendor.grants] == ([f"{api.url}/mcp"] if status == 200 else [])


async def test_a_server_of_the_operators_file_is_shown_and_its_name_is_its_own(house: House) -> None:
    assert house.runtime.connections is not None
    servers = {"files": Server(name="files", command="/no/such/command")}
    async with Remote(house.runtime.connections, house.runtime.outbound, servers=servers) as remote:
        app = create_app(replace(house.runtime, remote=remote), house.settings)
        async with served(app) as url, http(url, house.keys["builder"]) as client:
            refused = await client.post(
                "/api/v1/connections", json={"name": "files", "kind": "http", "settings": {"base_url": "https://x.example"}}
            )
            assert (refused.status_code, "taken by a local MCP server" in refused.text) == (409, True)
            assert (await client.post("/api/v1/connections/files/tools/refresh")).status_code == 503
            listed = await fits(client, await client.get("/api/v1/connections"), "listConnections")
            assert [(one["name"], one["kind"]) for one in listed["local"]] == [("files", "mcp")]
            assert "does not start" in listed["local"][0]["remote"]["error"]
            async with http(url, house.keys["viewer"]) as other:
                assert (await other.get("/api/v1/connections")).json()["local"] == [{"name": "files", "kind": "mcp"}]


async def test_how_a_connection_does_is_shown_with_it_and_what_a_person_must_mend_is_no_503(house: House, url: str) -> None:
    with tool_server(token="right") as there:
        await connect(house, "mcp", url=there.url, auth="bearer")
        async with http(url, house.keys["builder"]) as client:
            lacking = await client.post(f"{PATH}/tools/refresh")
            assert (lacking.status_code, "weft connections set-secret acme token" in lacking.text) == (409, True)
            await client.put(f"{PATH}/secrets/token", json={"value": "wrong-token"})
            wrong = await client.post(f"{PATH}/tools/refresh")
            assert (wrong.status_code, "set them anew: weft connections set-secret acme token" in wrong.text) == (409, True)
            assert wrong.json()["error"]["message"].startswith("http://127.0.0.1")
            assert "does not accept" in (await fits(client, await client.get(PATH), "getConnection"))["remote"]["error"]
            there.token = "wrong-token"
            await client.post(f"{PATH}/tools/refresh")
            [one] = (await fits(client, await client.get("/api/v1/connections"), "listConnections"))["connections"]
    assert (one["remote"]["error"], one["remote"]["latency_ms"] >= 0) == (None, True)


async def test_a_step_without_its_connection_says_which_kind_it_needs(house: House) -> None:
    step = {"id": "call", "type": "mcp_tool", "config": {"connection": "docs", "tool": "echo"}, "retry": {"max_attempts": 1}}
    await house.publish({"name": "lacks", "nodes": [step], "edges": []})
    run = await house.run("lacks")
    assert "weft connections add docs --kind mcp" in run.error["message"]


async def test_trouble_that_is_over_is_not_shown_any_more(house: House, url: str) -> None:
    with tool_server() as there:
        await connect(house, "mcp", url=there.url)
        found = await remoting.refresh(house.runtime, house.actor(), "acme")
        await remoting.approve(
            house.runtime, house.actor(), "acme", [Choice(name=one.name, digest=one.digest or "") for one in found.tools]
        )
        await remote_tools.failed(house.tenant, "acme", kind="mcp", target=there.url, error="it was down")
        step = {"id": "call", "type": "mcp_tool", "config": {"connection": "acme", "tool": "echo", "arguments": {"text": "hi"}}}
        await house.publish({"name": "calls", "nodes": [step], "edges": []})
        assert (await house.run("calls")).state == "succeeded"
        source = (await remoting.sources(house.actor()))["acme"]
    assert source.error is None
