"""A token that is refused before its time is renewed once and the call repeated, which was surely not performed; else a person is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from graphs import connecting, remoting
from graphs.remoting import Choice
from tests.outbound.loopback import Asked, answer, origin
from tests.server.conftest import House, http
from tests.server.test_connections import Vendor, agree, link, oauth
from tests.server.test_signing import add, world
from tests.server.test_signing import agree as signed_in

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]
OPERATION = {
    "openapi": "3.1.0",
    "info": {"title": "Pay", "version": "1"},
    "paths": {"/pay": {"post": {"operationId": "pay", "responses": {"200": {"description": "paid"}}}}},
}


class Strict(Vendor):
    """Takes the latest token only, and notes what it has performed. `challenge`: how it refuses a good one."""

    def __init__(self) -> None:
        super().__init__()
        self.performed, self.refused, self.good, self.challenge_of = 0, 0, "", ""
        self.revoked = self.stubborn = self.leads = False

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/elsewhere":
            writer.write(answer(401))
        elif asked.target == "/token":
            if self.revoked:
                writer.write(answer(400, b'{"error":"invalid_grant","error_description":"revoked"}', content_type="application/json"))
                return
            await super().reply(asked, writer)
            self.good = f"Bearer access-tok-4b1e77c0aa59d2f3-{self.tokens}"
        elif asked.target == "/on":
            writer.write(answer(303, location="/pay"))
        elif self.stubborn or asked.headers.get("authorization") != self.good:
            self.refused += 1
            writer.write(answer(401))
        elif self.leads:
            writer.write(answer(307, location="/elsewhere"))
        elif self.challenge_of:
            writer.write(answer(403, www_authenticate=self.challenge_of))
        else:
            self.performed += 1
            writer.write(answer(body=b"{}", content_type="application/json"))


def step(kind: str, path: str = "/pay") -> dict[str, Any]:
    if kind == "openapi":
        return {"id": "call", "type": "openapi", "config": {"connection": "payments", "operation": "pay"}, "retry": {"max_attempts": 1}}
    config = {"method": "POST", "url": path, "connection": "payments"}
    return {"id": "call", "type": "http", "config": config, "retry": {"max_attempts": 1}}


def flow(one: dict[str, Any]) -> dict[str, Any]:
    return {"name": "pays", "nodes": [one], "edges": []}


async def signed(house: House, url: str, vendor: Vendor, base: str, kind: str = "http") -> None:
    settings = oauth(base)["settings"]
    await connecting.create(house.runtime, house.actor(), name="payments", kind=kind, settings=settings)
    assert (await agree(url, await link(url, house.keys["builder"]), vendor)).status_code == 200
    if kind == "openapi":
        found = await remoting.upload(house.runtime, house.actor(), "payments", json.dumps(OPERATION))
        await remoting.approve(house.runtime, house.actor(), "payments", [Choice(name="pay", digest=found.tools[0].digest or "")])


@pytest.mark.parametrize("kind", ["http", "openapi"])
async def test_a_token_refused_early_is_renewed_once_and_the_call_made_once(house: House, url: str, kind: str) -> None:
    vendor = Strict()
    async with origin(vendor.reply) as api:
        await signed(house, url, vendor, api.url, kind)
        await house.publish(flow(step(kind)))
        vendor.good = "Bearer nobody's"
        runs = await asyncio.gather(*(house.run("pays") for _ in range(4)))
        assert [run.state for run in runs] == ["succeeded"] * 4, runs[0].error
        assert (vendor.performed, [grant["grant_type"] for grant in vendor.grants[1:]]) == (4, ["refresh_token"])
        vendor.good, vendor.revoked = "Bearer nobody's", True
        run = await house.run("pays")
        assert (run.state, run.error["code"]) == ("failed", "connection_unusable")
        assert "sign in again: weft connections authorize payments" in run.error["message"]
        assert vendor.performed == 4


async def test_a_new_token_that_is_refused_too_ends_it(house: House, url: str) -> None:
    vendor = Strict()
    async with origin(vendor.reply) as api:
        await signed(house, url, vendor, api.url)
        await house.publish(flow(step("http")))
        vendor.stubborn = True
        run = await house.run("pays")
    assert "does not accept the token of 'payments'; sign in again" in run.error["message"]
    assert (vendor.refused, len(vendor.grants)) == (2, 2)


async def test_a_call_that_led_on_elsewhere_is_not_repeated(house: House, url: str) -> None:
    """The redirect was an answer: something may have been done before the 401."""
    vendor = Strict()
    async with origin(vendor.reply) as api:
        await signed(house, url, vendor, api.url)
        await house.publish(flow(step("http", "/on")))
        vendor.good = "Bearer nobody's"
        run = await house.run("pays")
        assert run.error["code"] == "http_status"
        assert [asked.target for asked in api.asked].count("/on") == 1


@pytest.mark.parametrize("kind", ["http", "openapi"])
async def test_of_a_call_that_was_repeated_only_the_last_answer_counts(house: House, url: str, kind: str) -> None:
    """The token was refused early, and the new one taken: what the call led on to is nothing that signing in again would mend."""
    vendor = Strict()
    async with origin(vendor.reply) as api:
        await signed(house, url, vendor, api.url, kind)
        await house.publish(flow(step(kind)))
        vendor.good, vendor.leads = "Bearer nobody's", True
        run = await house.run("pays")
    assert (run.error["code"], vendor.refused) == ("http_status", 1)


@pytest.mark.parametrize("kind", ["http", "openapi"])
async def test_more_scopes_that_are_asked_for_are_named(house: House, url: str, kind: str) -> None:
    vendor = Strict()
    async with origin(vendor.reply) as api:
        await signed(house, url, vendor, api.url, kind)
        await house.publish(flow(step(kind)))
        vendor.challenge_of = 'Bearer error="insufficient_scope", scope="pay:write admin"'
        run = await house.run("pays")
    assert run.error["code"] == "connection_unusable"
    assert "asks for the scopes pay:write, admin" in run.error["message"]
    assert "weft connections authorize payments --scope pay:write --scope admin" in run.error["message"]


async def test_a_tool_of_a_server_is_called_once_with_the_token_that_it_takes(house: House, url: str) -> None:
    async with world() as there, http(url, house.keys["builder"]) as door, http(url, None) as browser:
        assert (await signed_in(browser, await add(door, there.tools.url))).status_code == 200
        found = await remoting.refresh(house.runtime, house.actor(), "docs")
        await remoting.approve(
            house.runtime, house.actor(), "docs", [Choice(name=tool.name, digest=tool.digest or "") for tool in found.tools]
        )
        one = {"id": "call", "type": "mcp_tool", "config": {"connection": "docs", "tool": "echo", "arguments": {"text": "hi"}}}
        await house.publish(flow(one))
        assert (await house.run("pays")).state == "succeeded"
        there.tools.token = "revoked all of them"
        run = await house.run("pays")  # in the session that is open
        assert (run.state, there.tools.count("echo"), len(there.issuer.grants)) == ("succeeded", 2, 2), run.error
        there.tools.token = "revoked all of them"
        there.issuer.refresh.clear()
        run = await house.run("pays")
        assert run.error["code"] == "connection_unusable", run.error
        assert "sign in again: weft connections authorize docs" in run.error["message"]
        assert there.tools.count("echo") == 2
