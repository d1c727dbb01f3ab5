"""Servers that mean harm or are broken: bounded, refused, and said so; what they want of us they do not get."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.types import AudioContent, CallToolResult, ImageContent, ResourceLink, TextContent

from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from graphs.remote import Remote, sessions, wire
from graphs.remote.definitions import gathered, shown, shown_schema
from store import remote_tools as rows
from store.postgres import Tenant
from tests.outbound.loopback import Asked, always, answer, origin
from tests.remote.conftest import FakeConnections
from tests.remote.test_pins import approve_all, pinned
from tests.remote.toolserver import ToolServer, tool_server

pytestmark = pytest.mark.anyio


async def failing(remote: Remote, tenant: Tenant, tool: str = "echo", **more: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        await remote.call(tenant, "acme", tool, {"text": "hi"}, **more)
    return caught.value


async def test_a_server_gets_neither_our_model_nor_our_users(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    there.tools["ask"] = {"name": "ask", "inputSchema": {"type": "object"}}
    await pinned(remote, connections, tenant, owner, there)
    answered = await remote.call(tenant, "acme", "ask", {})
    assert answered["text"] == "went on"
    assert len(there.declined) == 2


async def test_a_server_that_asks_for_input_by_an_answer_is_refused(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str
) -> None:
    with tool_server() as there:
        await pinned(remote, connections, tenant, owner, there)
        form = types.ElicitRequestFormParams(message="Your password?", requested_schema={"type": "object", "properties": {}})
        there.answers["echo"] = types.InputRequiredResult(input_requests={"a": types.ElicitRequest(params=form)}, request_state="s")
        wrong = await failing(remote, tenant)
    assert wrong.code == "remote_asks" or "elicitation" in wrong.message.lower()
    assert there.count("echo") == 1


async def test_progress_is_forwarded_and_a_cancelled_call_is_cancelled_there(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, telling: ToolServer
) -> None:
    telling.tools["slow"] = {"name": "slow", "inputSchema": {"type": "object"}}
    await pinned(remote, connections, tenant, owner, telling)
    heard: asyncio.Queue[tuple[str, float, float | None]] = asyncio.Queue()

    async def show(message: str, done: float, total: float | None) -> None:
        heard.put_nowait((message, done, total))

    call = asyncio.create_task(remote.call(tenant, "acme", "slow", {}, progress=show))
    async with asyncio.timeout(10):
        assert await heard.get() == ("half \\u202eway", 1, 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(10):
        while telling.cancelled != ["slow"]:
            await asyncio.sleep(0.01)


HUGE = CallToolResult(content=[TextContent(type="text", text="x" * 12_000_000)])
WRONG: list[tuple[str, Any, str]] = [
    ("more than the outbound client takes", HUGE, "too_large|remote_closed|bad_answer"),
    ("no structured content although it promises some", CallToolResult(content=[]), "remote_answer"),
    ("structured content of another shape", CallToolResult(content=[], structured_content={"text": 3}), "remote_answer"),
    ("its own failure", CallToolResult(content=[TextContent(type="text", text="no \u200bsuch thing")], is_error=True), "tool_error"),
]


@pytest.mark.parametrize(("what", "said", "code"), WRONG, ids=[one[0] for one in WRONG])
async def test_an_answer_that_is_none_is_a_failure(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer, what: str, said: Any, code: str
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    there.answers["echo"] = said
    wrong = await failing(remote, tenant)
    assert wrong.code in code.split("|"), wrong.message
    assert "\u200b" not in wrong.message
    assert len(wrong.message) < 3_000
    del there.answers["echo"]
    assert (await remote.call(tenant, "acme", "echo", {"text": "still well"}))["data"] == {"text": "still well"}


async def test_parts_of_an_answer_are_bounded(remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str) -> None:
    with tool_server() as there:
        await pinned(remote, connections, tenant, owner, there)
        there.answers["mail"] = CallToolResult(
            content=[
                TextContent(type="text", text="y" * 300_000),
                ImageContent(type="image", data="QUFB", mime_type="image/png"),
                AudioContent(type="audio", data="A" * 1_200_000, mime_type="audio/wav"),
                ResourceLink(type="resource_link", uri="file:///etc/passwd", name="\u202elink"),
            ]
        )
        got = await remote.call(tenant, "acme", "mail", {"text": "x"})
    assert len(got["text"]) == 200_000
    assert [part["type"] for part in got["content"]] == ["image", "audio", "link"]
    assert "data" not in got["content"][1]
    assert got["content"][2] == {"type": "link", "uri": "file:///etc/passwd", "name": "\\u202elink", "media_type": ""}
    assert len(got["notes"]) == 2


async def test_a_drip_ends_with_the_time_of_the_call(remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str) -> None:
    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        while True:
            writer.write(b": still there\n\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    with tool_server() as there:
        await pinned(remote, connections, tenant, owner, there)
        [session] = (await remote.speaker()).live
        there.tools["slow"] = {"name": "slow", "inputSchema": {"type": "object"}}
        await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
        await approve_all(tenant, owner)
        begun = time.monotonic()
        with pytest.raises(Failure) as caught:
            await remote.call(tenant, "acme", "slow", {}, seconds=0.3)
        assert caught.value.code == "remote_timeout"
        assert time.monotonic() - begun < 5
        assert not session.over
    async with origin(drip) as slow:
        connections.put(tenant, "drip", "mcp", {"url": slow.url})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sessions, "CONNECT_SECONDS", 0.5)
            with pytest.raises(Failure) as caught:
                await remote.listing(tenant, "drip")
        assert caught.value.code == "remote_timeout"


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest", "http://127.0.0.1:1/mcp", "/elsewhere"])
async def test_redirects_lead_nowhere(remote: Remote, connections: FakeConnections, tenant: Tenant, location: str) -> None:
    async with origin(always(answer(307, b"", location=location))) as there:
        connections.put(tenant, "acme", "mcp", {"url": there.url}, Authorization="Bearer s3cret")
        with pytest.raises(Failure) as caught:
            await remote.listing(tenant, "acme")
    assert caught.value.code == "redirects"
    source = await rows.source(tenant, "acme")
    assert source is not None
    assert source.error is not None
    assert "redirect" in source.error


async def test_a_private_address_is_not_reached(connections: FakeConnections, tenant: Tenant) -> None:
    """The operator's policy holds for connections too: nobody made this address known but an organization."""
    with tool_server() as there:
        connections.put(tenant, "acme", "mcp", {"url": there.url})
        async with Outbound(Policy()) as strict, Remote(connections, strict) as remote:
            with pytest.raises(Failure) as caught:
                await remote.listing(tenant, "acme")
        assert caught.value.code == "blocked_address"
        assert there.headers == []


async def test_a_name_that_resolves_to_another_address_the_second_time_does_not_go_round(
    connections: FakeConnections, tenant: Tenant
) -> None:
    answers = ["127.0.0.1", "169.254.169.254"]

    async def rebinding(host: str, port: int) -> tuple[str, ...]:
        return (answers.pop(0) if len(answers) > 1 else answers[0],)

    async with origin(always(answer(404, connection="close"))) as there:
        connections.put(tenant, "acme", "mcp", {"url": f"http://rebind.example:{there.port}/mcp"})
        policy = Policy(allow_nets=("127.0.0.0/8",))
        async with Outbound(policy, resolver=rebinding) as outbound, Remote(connections, outbound) as remote:
            with pytest.raises(Failure) as caught:
                await remote.listing(tenant, "acme")
    assert caught.value.code == "blocked_address"


BODIES = {
    "not JSON": b"<html>hello</html>",
    "JSON but not JSON-RPC": b'{"hello": 1}',
    "a result of wrong types": b'{"jsonrpc":"2.0","id":1,"result":{"tools":"none","capabilities":[],"serverInfo":3}}',
    "nothing": b"",
    "deep": b"[" * 5_000,
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("media", ["application/json", "text/event-stream", "text/html"])
async def test_answers_that_are_not_mcp_are_a_clear_failure(
    remote: Remote, connections: FakeConnections, tenant: Tenant, what: str, media: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "CONNECT_SECONDS", 1.0)  # an answer with another id is waited for until then
    body = BODIES[what] if media != "text/event-stream" else b"data: " + BODIES[what] + b"\n\n"
    async with origin(always(answer(200, body, content_type=media))) as there:
        connections.put(tenant, "acme", "mcp", {"url": there.url})
        async with asyncio.timeout(15):
            with pytest.raises(Failure) as caught:
                await remote.listing(tenant, "acme")
    assert there.url in caught.value.message


async def test_a_dead_server_is_a_retryable_failure_and_a_refused_key_says_what_to_do(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    connections.put(tenant, "acme", "mcp", {"url": f"http://127.0.0.1:{port}/mcp"})
    with pytest.raises(Failure) as caught:
        await remote.listing(tenant, "acme")
    assert (caught.value.code, caught.value.retryable) == ("connect", True)
    with tool_server(token="right") as there:
        connections.put(tenant, "acme", "mcp", {"url": there.url}, Authorization="Bearer wrong")
        with pytest.raises(Failure) as caught:
            await remote.listing(tenant, "acme")
        assert caught.value.code == "remote_unauthorized"
        connections.put(tenant, "acme", "mcp", {"url": there.url}, Authorization="Bearer right")
        assert len((await remote.listing(tenant, "acme")).tools) == 2


async def test_a_server_that_came_back_is_called_again(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    """Sessions are the server's: one that forgot ours gets a new one, and nothing is called twice."""
    await pinned(remote, connections, tenant, owner, there)
    [session] = (await remote.speaker()).live
    await session.close()
    await remote.call(tenant, "acme", "echo", {"text": "hi"})
    assert there.count("echo") == 1
    [again] = (await remote.speaker()).live
    assert again is not session


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "title": None, "description": "", "input_schema": {"type": "object"}, "output_schema": None, **more}


REFUSED: dict[str, list[dict[str, Any]]] = {
    "names that could be mistaken": [definition("get_user"), definition("get-User")],
    "the same name twice": [definition("a"), definition("a")],
    "a name with a space": [definition("a b")],
    "a name of nothing": [definition("")],
    "a name with a zero-width space": [definition("a\u200bb")],
    "a name in another alphabet": [definition("\u0430dmin")],
    "a long name": [definition("a" * 129)],
    "a large schema": [definition("a", input_schema={"type": "object", "description": "x" * 70_000})],
    "a remote reference": [definition("a", input_schema={"$ref": "http://169.254.169.254/schema"})],
    "a schema that is none": [definition("a", input_schema={"type": "objekt"})],
    "an endless schema": [definition("a", input_schema={"allOf": [{"$ref": "#"}]})],
    "a hidden property": [definition("a", input_schema={"type": "object", "properties": {"a\u200b": {}}})],
}


@pytest.mark.parametrize("what", REFUSED)
def test_tools_that_nobody_could_judge_are_not_even_shown(what: str) -> None:
    tools, refused = gathered(REFUSED[what])
    assert tools == []
    assert len(refused) == len(REFUSED[what])


def test_a_nest_of_schemas_is_refused() -> None:
    nest: dict[str, Any] = {}
    for _ in range(60):
        nest = {"not": nest}
    tools, [refused] = gathered([definition("a", input_schema=nest)])
    assert tools == []
    assert "nested" in refused["reason"]


def test_only_so_many_tools_are_taken() -> None:
    tools, refused = gathered([definition(f"tool{number}") for number in range(250)])
    assert (len(tools), len(refused)) == (200, 50)


def test_what_cannot_be_seen_is_shown() -> None:
    assert shown("a\u202eb\u200bc\x00d\nüe\U000e0041") == "a\\u202eb\\u200bc\\x00d\nüe\\U000e0041"
    assert shown("x" * 20, 10) == "x" * 9 + "…"
    assert shown_schema({"properties": {"a": {"description": "b\u2066"}}}) == {"properties": {"a": {"description": "b\\u2066"}}}


def test_a_pattern_that_could_take_for_ever_is_left_to_the_server() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}
    [tool], refused = gathered([definition("a", input_schema=schema)])
    assert refused == []
    assert tool.definition["input_schema"] == schema


async def test_more_tools_than_anybody_wants_are_neither_taken_nor_looked_at(
    remote: Remote, connections: FakeConnections, tenant: Tenant
) -> None:
    with tool_server(era="2025", json_response=True) as there:
        connections.put(tenant, "acme", "mcp", {"url": there.url})
        there.extra = [{"name": f"tool_{number}", "inputSchema": {"type": "object"}} for number in range(10_000)]
        listing = await remote.listing(tenant, "acme")
        assert (len(listing.tools), len(listing.refused)) == (200, 101)
        assert listing.refused[-1]["reason"] == "and 9702 more"
        there.extra, there.endless = [], True
        with pytest.raises(Failure, match="more than 20 pages"):
            await remote.listing(tenant, "acme")


class Refusing(httpx2.AsyncBaseTransport):
    """Answers 401, and counts the answers that nobody has closed."""

    def __init__(self) -> None:
        self.open = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.open += 1
        return httpx2.Response(401, stream=Held(self))


class Held(httpx2.AsyncByteStream):
    def __init__(self, there: Refusing) -> None:
        self.there = there

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"no"

    async def aclose(self) -> None:
        self.there.open -= 1


@pytest.mark.parametrize("wrong", [Failure("connection_unusable", "revoked"), asyncio.CancelledError(), OSError("no database")])
async def test_a_renewal_that_fails_leaves_no_answer_open(wrong: BaseException) -> None:
    """There are so many connections in a process, for all organizations."""

    async def headers(url: str) -> dict[str, str]:
        return {}

    async def renew(refused: str) -> bool:
        raise wrong

    there = Refusing()
    transport = wire.WireTransport(there, headers, renew, lambda status, said: None)
    with suppress(type(wrong)):
        await transport.handle_async_request(httpx2.Request("POST", "http://127.0.0.1/mcp"))
    assert there.open == 0
