"""Signing in to an MCP server: its bare address is all a person gives; what does not fit the specification is not believed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx2
import psycopg
import pytest

from graphs import authorizing
from graphs.remote import discovery
from server.app import create_app
from tests.outbound.loopback import Asked, answer, origin
from tests.remote.toolserver import ToolServer, tool_server
from tests.server.conftest import House, http, served
from tests.server.issuer import Issuer, query_of

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
ONE = "/api/v1/connections/docs"


@dataclass(slots=True)
class World:
    """An MCP server that wants a token, and the authorization server that gives it."""

    tools: ToolServer
    issuer: Issuer

    def expect(self, token: str) -> None:
        self.tools.token = token


@asynccontextmanager
async def world(**more: Any) -> AsyncGenerator[World]:
    with tool_server(era="2025", json_response=True, token="nobody has it yet") as tools:
        issuer = Issuer(resource=tools.url, **more)
        async with origin(issuer.reply) as there:
            here = World(tools, issuer)
            issuer.url = there.url
            issuer.given = here.expect
            metadata = f"http://127.0.0.1:{tools.port}/.well-known/oauth-protected-resource/mcp"
            tools.challenge = f'Bearer resource_metadata="{metadata}", scope="tools notes"'
            tools.documents["/.well-known/oauth-protected-resource/mcp"] = {
                "resource": tools.url,
                "authorization_servers": [there.url],
                "scopes_supported": ["everything"],
            }
            yield here


async def add(door: httpx2.AsyncClient, at: str) -> str:
    made = await door.post("/api/v1/connections", json={"name": "docs", "kind": "mcp", "settings": {"url": at}})
    assert (made.status_code, made.json()["missing"]) == (201, ["refresh_token"]), made.text
    return made.json()["sign_in"]["url"]


async def leave(browser: httpx2.AsyncClient, page: str, **typed: str) -> str:
    """Opens the page of Weft and presses the button; where the person is to sign in."""
    assert (await browser.get(page)).status_code == 200
    sent = await browser.post(page, data={"go": "", **typed})
    assert sent.status_code == 200, sent.text
    link = re.search(r'<a href="([^"]+)">Sign in at', sent.text)
    assert link is not None
    return unescape(link[1])


async def agree(browser: httpx2.AsyncClient, page: str, **typed: str) -> httpx2.Response:
    there = await browser.get(await leave(browser, page, **typed))
    assert there.status_code == 302, there.text
    return await browser.get(there.headers["location"])


@pytest.mark.parametrize("method", ["none", "client_secret_basic"])
async def test_an_address_is_all_a_person_gives_and_the_tools_are_there(house: House, url: str, method: str) -> None:
    async with world(registers=method) as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        done = await agree(browser, await add(door, there.tools.url))
        assert done.status_code == 200, done.text
        found = (await door.get(ONE)).json()
        assert (found["ready"], found["settings"]["auth"]["registered"]) == (True, "dynamic")
        listed = (await door.post(f"{ONE}/tools/refresh")).json()
        assert listed["total"] == 2
        registered = next(iter(there.issuer.clients.values()))
        assert registered["redirect_uris"] == [f"{url}/oauth/callback"]
        assert (registered["scope"], there.issuer.grants[0]["resource"]) == ("tools notes", there.tools.url)
        seen = done.text + json.dumps(found)
        assert not re.search(r"(access|refresh)-token-\d|client-secret-\d", seen)


async def test_a_server_that_gives_no_refresh_token_can_be_used_as_long_as_its_token_lasts(house: House, url: str) -> None:
    async with world(refreshes=False) as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        await agree(browser, await add(door, there.tools.url))
        assert (await door.get(ONE)).json()["ready"]
        assert (await door.post(f"{ONE}/tools/refresh")).json()["total"] == 2


async def test_where_documents_are_read_weft_is_known_by_its_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    public = "https://weft.example"
    monkeypatch.setattr(house.runtime.engine, "public_url", public)
    app = create_app(house.runtime, house.settings)
    more = {"client_id_metadata_document_supported": True}
    async with world(metadata=more) as there, served(app) as url, http(url, None) as browser, http(url, house.keys["builder"]) as door:
        told = (await browser.get("/oauth/client.json")).json()
        assert (told["client_id"], told["redirect_uris"]) == (f"{public}/oauth/client.json", [f"{public}/oauth/callback"])
        there.issuer.clients[told["client_id"]] = told  # it has read the document
        page = (await add(door, there.tools.url)).replace(public, url)
        asked = await leave(browser, page)
        assert (query_of(asked)["client_id"], query_of(asked)["redirect_uri"]) == (told["client_id"], f"{public}/oauth/callback")
        back = (await browser.get(asked)).headers["location"].replace(public, url)
        nonce = next(cookie.value for cookie in browser.cookies.jar if cookie.name == "weft_oauth")
        done = await browser.get(back, headers={"cookie": f"weft_oauth={nonce}"})  # a secure cookie is not sent without TLS
        assert done.status_code == 200, done.text
        assert (await door.get(ONE)).json()["settings"]["auth"]["registered"] == "document"
    assert len(there.issuer.clients) == 1


async def test_nobody_is_told_who_weft_is_where_it_has_no_public_address(url: str) -> None:
    async with http(url, None) as browser:
        assert (await browser.get("/oauth/client.json")).status_code == 404


@pytest.mark.parametrize("registers", ["refused", "not offered"])
async def test_who_must_be_registered_by_hand_is_told_how_and_gives_the_client_id(house: House, url: str, registers: str) -> None:
    more = {"metadata": {"registration_endpoint": None}} if registers == "not offered" else {}
    async with world(registers=None, **more) as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        page = await add(door, there.tools.url)
        refused = await browser.post(page, data={"go": ""})
        assert refused.status_code == 422
        assert f"with the redirect address {url}/oauth/callback" in refused.text
        assert ("invalid_client_metadata: not\\u202e here" in refused.text) == (registers == "refused")
        by_hand = {"redirect_uris": [f"{url}/oauth/callback"], "client_id": "by-hand", "token_endpoint_auth_method": "none"}
        there.issuer.clients["by-hand"] = by_hand
        done = await agree(browser, page, **{"sign_in.client_id": "by-hand"})  # the link is still good
        assert done.status_code == 200, done.text
        assert (await door.get(ONE)).json()["settings"]["auth"]["client_id"] == "by-hand"


async def test_a_page_makes_the_connection_and_signs_in(house: House, url: str) -> None:
    """Where an elicitation sends a person: nothing is there yet, and they type the address only."""
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        page = (await door.post(f"{ONE}/link", json={"kind": "mcp"})).json()["url"]
        done = await agree(browser, page, **{"setting.url": there.tools.url, "auth": "none"})
        assert done.status_code == 200, done.text
        assert (await door.get(ONE)).json()["ready"]


async def test_a_server_that_lets_strangers_in_needs_no_sign_in(house: House, url: str) -> None:
    with tool_server(era="2025", json_response=True) as open_to_all:
        async with http(url, house.keys["builder"]) as door:
            made = await door.post("/api/v1/connections", json={"name": "docs", "kind": "mcp", "settings": {"url": open_to_all.url}})
    assert (made.json()["ready"], "sign_in" in made.json()) == (True, False)


async def test_signing_in_again_asks_for_more_scopes_and_changes_nothing_before_the_person_agrees(house: House, url: str) -> None:
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        await agree(browser, await add(door, there.tools.url))
        page = (await door.post(f"{ONE}/link", json={"scopes": ["admin"]})).json()["url"]
        asked = await leave(browser, page)
        assert query_of(asked)["scope"] == "tools notes admin"
        assert query_of(asked)["client_id"] != (await door.get(ONE)).json()["settings"]["auth"]["client_id"]
        assert (await door.post(f"{ONE}/tools/refresh")).json()["total"] == 2  # by the client and the token from before
        done = await browser.get((await browser.get(asked)).headers["location"])
        assert done.status_code == 200
        assert (await door.get(ONE)).json()["settings"]["auth"]["client_id"] == query_of(asked)["client_id"]
        assert (await door.post(f"{ONE}/tools/refresh")).json()["total"] == 2


ANSWERS: dict[str, tuple[dict[str, str | None], int]] = {
    "of another server": ({"iss": "https://evil.example"}, 403),
    "of nobody in particular": ({"iss": None}, 403),
    "to a question never asked": ({"state": "A" * 64}, 404),
    "with a code of somebody else": ({"code": "code-of-mallory"}, 409),
    "that it did not agree": ({"error": "access_denied", "code": None}, 422),
}


async def test_an_answer_that_is_not_the_one_waited_for_changes_nothing(house: House, url: str) -> None:
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        page = await add(door, there.tools.url)
        for what, (changed, status) in ANSWERS.items():
            location = (await browser.get(await leave(browser, page))).headers["location"]
            back = {name: value for name, value in {**query_of(location), **changed}.items() if value is not None}
            assert (await browser.get("/oauth/callback", params=back)).status_code == status, what
            found = (await door.get(ONE)).json()
            assert (found["missing"], found["settings"]["auth"]["type"]) == (["refresh_token"], "sign_in"), what
            page = (await door.post(f"{ONE}/link", json={})).json()["url"]
    assert len(there.issuer.grants) == 1  # the code of somebody else was shown to the server, in vain


async def test_an_answer_counts_once_in_its_own_browser_and_for_the_connection_as_it_was(house: House, url: str) -> None:
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        location = (await browser.get(await leave(browser, await add(door, there.tools.url)))).headers["location"]
        assert (await browser.get(location)).status_code == 200
        assert (await browser.get(location)).status_code == 404
        for case, status in (("another browser", 403), ("changed meanwhile", 409)):
            page = (await door.post(f"{ONE}/link", json={})).json()["url"]
            location = (await browser.get(await leave(browser, page))).headers["location"]
            if case == "another browser":
                browser.cookies.clear()
            else:
                await door.patch(ONE, json={"description": "another"})
            assert (await browser.get(location)).status_code == status, case
    assert len(there.issuer.grants) == 1


async def test_who_lost_their_role_meanwhile_signs_in_to_nothing(house: House, url: str, admin_url: str) -> None:
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        location = (await browser.get(await leave(browser, await add(door, there.tools.url)))).headers["location"]
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute("UPDATE weft.users SET role = 'viewer' WHERE id = %s", (house.users["builder"],))
        assert (await browser.get(location)).status_code == 403
    assert there.issuer.grants == []


class Odd:
    """An authorization server whose metadata is answered with what a test says."""

    def __init__(self, raw: bytes | None) -> None:
        self.raw, self.go = raw, asyncio.Event()

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if self.raw is None:
            await self.go.wait()
        writer.write(self.raw or answer(404))


ODD: dict[str, tuple[bytes | None, str]] = {
    "huge": (answer(200, b"[" * 200_000, content_type="application/json"), "larger than 100,000 bytes"),
    "slow": (None, "did not"),
    "elsewhere, privately": (answer(302, location="http://169.254.169.254/latest/meta-data"), "names no authorization server"),
    "of another": (answer(200, b'{"issuer":"https://honest.example"}', content_type="application/json"), "https://honest.example"),
    "text": (answer(200, b"<html>", content_type="text/html"), "names no authorization server"),
}


PRIVATE = ("http://169.254.169.254", "http://[fd00::1]", "file:///etc", "javascript:alert(1)//", "http://[")


async def test_odd_metadata_is_a_clear_error_and_leaves_the_link_good(house: House, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SECONDS", 1.0)
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        page = await add(door, there.tools.url)
        about = there.tools.documents["/.well-known/oauth-protected-resource/mcp"]
        for what, (raw, words) in ODD.items():
            odd = Odd(raw)
            async with origin(odd.reply) as issuer:
                about["authorization_servers"] = [issuer.url]
                refused = await browser.post(page, data={"go": ""})
                odd.go.set()
            assert (refused.status_code, words in unescape(refused.text)) == (422, True), (what, refused.text)
        for server in PRIVATE:
            about["authorization_servers"] = [server]
            assert (await browser.post(page, data={"go": ""})).status_code == 422, server
        monkeypatch.setattr(authorizing, "ARRANGING", 0.2)
        odd = Odd(None)
        async with origin(odd.reply) as issuer:
            about["authorization_servers"] = [issuer.url]
            refused = await browser.post(page, data={"go": ""})
            odd.go.set()
        assert "within 0.2 s" in refused.text
        monkeypatch.undo()
        about["authorization_servers"] = [there.issuer.url]
        assert (await agree(browser, page)).status_code == 200
