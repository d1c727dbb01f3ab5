"""Remote tools at the doors: a person lists, judges, approves and disables them; nobody else can, and no model can."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mcp import Client

from graphs import connecting
from server.tools import tool_files
from tests.outbound.loopback import origin
from tests.remote.openapiserver import api_server
from tests.remote.toolserver import tool_server
from tests.server.conftest import House, http
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
