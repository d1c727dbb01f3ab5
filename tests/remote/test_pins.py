"""Remote tools are called only as a person approved them: a change of one byte ends the calls, counted by the server itself."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from mcp.types import Tool

from graphs.nodetype import Failure
from graphs.remote import Remote, tools
from store import remote_tools as rows
from store.postgres import Tenant
from tests.remote.conftest import FakeConnections
from tests.remote.toolserver import ToolServer

pytestmark = pytest.mark.anyio

CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda tool: tool.update(name="echo2"),
    "title": lambda tool: tool.update(title="Echo "),
    "description": lambda tool: tool.update(description="Says it again!"),
    "a zero-width space": lambda tool: tool.update(description="Says it again.\u200b"),
    "input schema": lambda tool: tool["inputSchema"]["properties"]["text"].update(maxLength=9),
    "input schema: a word in a description": lambda tool: tool["inputSchema"].update(description="x"),
    "output schema": lambda tool: tool["outputSchema"]["properties"].update(more={}),
    "annotations": lambda tool: tool["annotations"].update(readOnlyHint=False),
    "it is gone": lambda tool: tool.update(name="other"),
}


async def pinned(remote: Remote, connections: FakeConnections, tenant: Tenant, user: str, there: ToolServer, **settings: Any) -> None:
    """The connection `acme` with its tools listed and approved."""
    connections.put(tenant, "acme", "mcp", {"url": there.url, **settings})
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
    await approve_all(tenant, user)


async def approve_all(tenant: Tenant, user: str) -> None:
    for pin in await rows.tools(tenant, "acme"):
        assert pin.offered_digest is not None
        assert await rows.approve(tenant, "acme", pin.name, digest=pin.offered_digest, effect="read", user_id=user)


async def echo(remote: Remote, tenant: Tenant, text: str = "hi") -> Any:
    return await remote.call(tenant, "acme", "echo", {"text": text}, key="run-1/step")


async def refused(remote: Remote, tenant: Tenant) -> Failure:
    with pytest.raises(Failure) as caught:
        await echo(remote, tenant)
    return caught.value


async def test_an_approved_tool_is_called_and_its_answer_is_labelled(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    answer = await echo(remote, tenant)
    assert answer == {"data": {"text": "hi"}, "text": '{"text": "hi"}', "content": [], "notes": [], "untrusted": True}
    assert there.calls[0][:2] == ("echo", {"text": "hi"})
    assert there.calls[0][2]["weft/idempotency-key"] == "run-1/step"
    assert there.protocols == ({"2026-07-28"} if there.era == "2026" else {"2025-11-25"})


async def test_what_nobody_approved_is_not_called(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    connections.put(tenant, "acme", "mcp", {"url": there.url})
    assert (await refused(remote, tenant)).code == "tool_missing"
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
    assert [(tool.name, tool.state, tool.effect) for tool in await tools(tenant, "acme")] == [
        ("echo", "new", "write-once"),
        ("mail", "new", "write-once"),
    ]
    assert (await refused(remote, tenant)).code == "tool_unapproved"
    await approve_all(tenant, owner)
    await rows.disable(tenant, "acme", "echo")
    assert (await refused(remote, tenant)).code == "tool_unapproved"
    assert there.calls == []


@pytest.mark.parametrize("what", CHANGES)
async def test_one_byte_changed_ends_the_calls_until_a_person_approves(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer, what: str
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    await echo(remote, tenant)
    before = copy.deepcopy(there.tools["echo"])
    CHANGES[what](there.tools["echo"])  # in the middle of the session
    for _ in range(3):
        assert (await refused(remote, tenant)).code == "tool_changed"
    assert there.count("echo") == 1
    pin = await rows.tool(tenant, "acme", "echo")
    assert pin is not None
    assert pin.state == ("gone" if there.tools["echo"]["name"] != "echo" else "changed")
    if pin.state == "gone":
        return
    there.tools["echo"] = before  # as if nothing had been
    assert (await refused(remote, tenant)).code == "tool_changed"
    assert there.count("echo") == 1
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
    await approve_all(tenant, owner)
    await echo(remote, tenant)
    assert there.count("echo") == 2


async def test_a_digest_that_leaves_a_field_out_is_found(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: were annotations not part of what is pinned, the test above would see the call arrive."""
    from graphs.remote import sessions

    whole = sessions.definition

    def narrowed(tool: Tool) -> dict[str, Any]:
        return {**whole(tool), "annotations": {}}

    monkeypatch.setattr(sessions, "definition", narrowed)
    await pinned(remote, connections, tenant, owner, there)
    CHANGES["annotations"](there.tools["echo"])
    await echo(remote, tenant)
    assert there.count("echo") == 1


async def test_calls_at_the_same_time_share_a_listing_and_none_slips_through_a_change(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    await echo(remote, tenant)
    listed = there.listed
    await asyncio.gather(*(echo(remote, tenant) for _ in range(20)))
    assert there.listed - listed <= 5
    CHANGES["description"](there.tools["echo"])
    reached = there.count("echo")
    results = await asyncio.gather(*(echo(remote, tenant) for _ in range(20)), return_exceptions=True)
    assert {getattr(result, "code", None) for result in results} == {"tool_changed"}
    assert there.count("echo") == reached


async def test_a_change_that_is_told_ends_the_calls_although_a_listing_may_serve_for_a_minute(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, telling: ToolServer
) -> None:
    await pinned(remote, connections, tenant, owner, telling, fresh_seconds=60)
    await echo(remote, tenant)
    listed = telling.listed
    await echo(remote, tenant)
    assert telling.listed == listed  # the listing served twice
    [session] = (await remote.speaker()).live
    telling.mutate_after_call = True
    await echo(remote, tenant)
    async with asyncio.timeout(10):
        while session._listed is not None:  # pyright: ignore[reportPrivateUsage]
            await asyncio.sleep(0.01)
    assert (await refused(remote, tenant)).code == "tool_changed"
    assert telling.count("echo") == 3


async def test_a_connection_that_leads_elsewhere_has_nothing_approved(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    connections.put(tenant, "acme", "mcp", {"url": there.url + "?elsewhere"})
    assert (await refused(remote, tenant)).code == "tool_changed"
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))  # the same tools, told by another place
    assert (await refused(remote, tenant)).code == "tool_changed"
    assert there.calls == []


async def test_an_approval_holds_for_what_was_seen(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str, there: ToolServer
) -> None:
    connections.put(tenant, "acme", "mcp", {"url": there.url})
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
    seen = (await tools(tenant, "acme"))[0].digest
    CHANGES["description"](there.tools["echo"])
    await rows.keep(tenant, "acme", await remote.listing(tenant, "acme"))
    assert not await rows.approve(tenant, "acme", "echo", digest=seen, effect="read", user_id=owner)
    assert (await refused(remote, tenant)).code == "tool_unapproved"


@pytest.mark.promise("P3")
async def test_another_organization_sees_and_calls_nothing(
    remote: Remote, connections: FakeConnections, tenant: Tenant, other_tenant: Tenant, owner: str, there: ToolServer
) -> None:
    await pinned(remote, connections, tenant, owner, there)
    await echo(remote, tenant)
    assert await tools(other_tenant) == []
    assert (await refused(remote, other_tenant)).code == "connection_missing"
    connections.put(other_tenant, "acme", "mcp", {"url": there.url})  # the same name, the same server
    assert (await refused(remote, other_tenant)).code == "tool_missing"
    assert there.count("echo") == 1
