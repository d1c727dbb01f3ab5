"""Remote tools in runs: a person connects, looks and approves; steps call; a crash in between is asked about."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from graphs import authoring, connecting, remoting, runs
from graphs.nodetype import Effect
from graphs.remoting import Choice, Tools
from store.errors import Conflict, Invalid
from tests.engine.conftest import House, flow
from tests.remote.openapiserver import Api, api_server
from tests.remote.toolserver import ToolServer, tool_server

pytestmark = pytest.mark.anyio


async def connect(house: House, url: str, **settings: Any) -> None:
    await connecting.create(house.runtime, house.actor, name="acme", kind="mcp", settings={"url": url, **settings})


async def approve_all(house: House, tools: Tools, effect: Effect | None = None) -> Tools:
    choices = [Choice(name=tool.name, digest=tool.digest or "", effect=effect) for tool in remoting.waiting(tools)]
    return await remoting.approve(house.runtime, house.actor, "acme", choices)


def call(tool: str = "echo", **arguments: Any) -> dict[str, Any]:
    return {"id": "call", "type": "mcp_tool", "config": {"connection": "acme", "tool": tool, "arguments": arguments or {"text": "hi"}}}


async def test_a_run_calls_a_tool_that_a_person_approved(running: House, there: ToolServer) -> None:
    await connect(running, there.url)
    tools = await remoting.refresh(running.runtime, running.actor, "acme")
    assert [(tool.name, tool.state, tool.claims) for tool in tools.tools] == [("echo", "new", "read"), ("mail", "new", "write-once")]
    assert (tools.source and tools.source.title) == "loopback 1.2"
    await approve_all(running, tools)
    run = await running.run(flow(call(text="{{ 'h' + 'i' }}"), output={"call": "{{ nodes.call }}"}))
    assert run.state == "succeeded", run.error
    assert run.output["call"]["data"] == {"text": "hi"}
    assert run.output["call"]["untrusted"] is True


async def test_the_rug_is_pulled_between_two_steps_of_a_run(running: House, there: ToolServer) -> None:
    await connect(running, there.url)
    await approve_all(running, await remoting.refresh(running.runtime, running.actor, "acme"))
    there.mutate_after_call, there.silent = True, True
    second = {**call(), "id": "again"}
    run = await running.run(flow(call(), second, edges=[("call", "again")]))
    assert run.state == "failed"
    assert run.error["code"] == "tool_changed"
    assert there.count("echo") == 1
    tools = await remoting.show(running.runtime, running.actor, "acme")
    [changed] = [tool for tool in tools.tools if tool.state == "changed"]
    assert changed.changes == [{"op": "replace", "path": "/description", "from": "Says it again.", "to": "Says it again.."}]


async def test_the_effect_that_a_person_says_decides_how_a_lost_answer_ends(running: House) -> None:
    with tool_server() as there:
        there.tools["slow"] = {"name": "slow", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
        await connect(running, there.url)
        tools = await remoting.refresh(running.runtime, running.actor, "acme")
        await approve_all(running, tools)  # what the server claims is not believed
        node = call("slow")
        node["config"] |= {"arguments": {}, "timeout": "300ms"}
        run = await running.run(flow(node))
        assert run.state == "waiting", run.error  # a person is asked whether it happened
        [slow] = [tool for tool in tools.tools if tool.name == "slow"]
        await remoting.approve(running.runtime, running.actor, "acme", [Choice(name="slow", digest=slow.digest or "", effect=Effect.READ)])
        run = await running.run(flow(node))
        assert (run.state, run.error["code"]) == ("failed", "remote_timeout")


async def test_an_approval_of_what_is_no_longer_offered_is_refused(running: House, there: ToolServer) -> None:
    await connect(running, there.url)
    seen = await remoting.refresh(running.runtime, running.actor, "acme")
    there.tools["mail"]["description"] = "Sends a mail to somebody else."
    await remoting.refresh(running.runtime, running.actor, "acme")
    with pytest.raises(Conflict, match="not offered as you have seen it"):
        await approve_all(running, seen)
    tools = await remoting.show(running.runtime, running.actor, "acme")
    assert {tool.state for tool in tools.tools} == {"new"}  # all or nothing


async def test_a_definition_is_checked_against_the_approved_schema(running: House, there: ToolServer) -> None:
    await connect(running, there.url)
    await approve_all(running, await remoting.refresh(running.runtime, running.actor, "acme"))

    async def codes(node: dict[str, Any]) -> list[tuple[str, str]]:
        report = await authoring.check(running.runtime, running.actor, flow(node))
        return [(one.code, one.pointer) for one in report.diagnostics]

    assert await codes(call(text="hi")) == []
    assert await codes(call(text="{{ input.x }}")) == []
    assert await codes(call(text=3)) == [("bad_arguments", "/nodes/0/config/arguments/text")]
    assert await codes(call(txt="{{ input.x }}", text="a")) == [("bad_arguments", "/nodes/0/config/arguments/txt")]
    assert await codes(call(other=1)) == [("bad_arguments", "/nodes/0/config/arguments"), ("bad_arguments", "/nodes/0/config/arguments")]
    assert await codes(call("eco")) == [("unknown_tool", "/nodes/0/config/tool")]


@pytest.mark.promise("P6")
async def test_a_token_that_the_server_repeats_is_blotted_out(running: House) -> None:
    with tool_server(token="t0ken-of-bearer") as there:
        there.tools["echo"]["description"] = "Knows t0ken-of-bearer."
        await connect(running, there.url, auth={"type": "bearer"})
        await connecting.set_secret(running.runtime, running.actor, "acme", "token", "t0ken-of-bearer")
        tools = await approve_all(running, await remoting.refresh(running.runtime, running.actor, "acme"))
        run = await running.run(flow(call(text="t0ken-of-bearer")))
    assert run.state == "succeeded", run.error
    assert "t0ken" not in f"{tools} {run}"


# -- OpenAPI ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def shop(running: House) -> Any:
    with api_server() as api:
        settings = {"base_url": f"{api.url}/v1", "auth": {"type": "header", "name": "X-Key"}}
        await connecting.create(running.runtime, running.actor, name="acme", kind="openapi", settings=settings)
        await connecting.set_secret(running.runtime, running.actor, "acme", "value", "k3y-of-the-shop")
        yield api


def operation(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": "call", "type": "openapi", "config": {"connection": "acme", "operation": name, "arguments": arguments}}


async def test_a_run_calls_an_operation_of_an_uploaded_document(running: House, shop: Api) -> None:
    tools = await remoting.upload(running.runtime, running.actor, "acme", shop.text())
    assert {tool.name: str(tool.claims) for tool in tools.tools} == {
        "addNote": "write-idempotent",
        "createRefund": "write-once",
        "findOrders": "read",
        "getOrder": "read",
        "putOrder": "write-idempotent",
    }
    await approve_all(running, tools)
    run = await running.run(flow(operation("getOrder", order_id="a/b", fields=["x", "y"]), output={"call": "{{ nodes.call }}"}))
    assert run.state == "succeeded", run.error
    assert run.output["call"] == {"status": 200, "data": {"id": "a/b"}, "media_type": "application/json", "notes": [], "untrusted": True}
    asked = shop.asked[0]
    assert (asked.method, asked.target, asked.headers["x-key"]) == ("GET", "/v1/orders/a%2Fb?fields=x,y", "k3y-of-the-shop")


async def test_a_new_document_ends_the_calls_of_what_it_changes(running: House, shop: Api) -> None:
    await approve_all(running, await remoting.upload(running.runtime, running.actor, "acme", shop.text()))
    changed = shop.document()
    changed["paths"]["/orders/{order_id}"]["get"]["parameters"][0]["schema"]["maxLength"] = 5
    tools = await remoting.upload(running.runtime, running.actor, "acme", shop.text(changed))
    assert {tool.name: tool.state for tool in tools.tools if tool.state != "approved"} == {"getOrder": "changed"}
    run = await running.run(flow(operation("getOrder", order_id="a")))
    assert run.error["code"] == "tool_changed"
    assert shop.asked == []
    await approve_all(running, tools)
    run = await running.run(flow(operation("getOrder", order_id="a")))
    assert run.state == "succeeded", run.error


async def test_a_lost_answer_of_a_post_is_asked_about_and_of_a_put_repeated_with_the_same_key(running: House, shop: Api) -> None:
    await approve_all(running, await remoting.upload(running.runtime, running.actor, "acme", shop.text()))
    shop.cut = 1
    run = await running.run(flow(operation("createRefund", body={"amount": 1})))
    assert run.state == "waiting", run.error
    shop.cut, shop.asked = 1, []
    put = {**operation("putOrder", order_id="a", body={"n": 1}), "retry": {"max_attempts": 2, "initial": "10ms"}}
    run = await running.run(flow(put))
    assert run.state == "succeeded", run.error
    keys = [asked.headers["idempotency-key"] for asked in shop.asked]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_a_key_that_goes_into_the_query_is_sent_and_told_nobody(running: House) -> None:
    with api_server() as api:
        settings = {"base_url": f"{api.url}/v1", "auth": {"type": "query", "name": "key"}}
        await connecting.create(running.runtime, running.actor, name="acme", kind="openapi", settings=settings)
        await connecting.set_secret(running.runtime, running.actor, "acme", "value", "k3y of/the shop")
        await approve_all(running, await remoting.upload(running.runtime, running.actor, "acme", api.text()))
        run = await running.run(flow(operation("getOrder", order_id="a", fields=["x", "y"])))
        assert run.state == "succeeded", run.error
        api.said = (500, b"no: /v1/orders/a?key=k3y+of%2Fthe+shop", "text/plain")
        failed = await running.run(flow({**operation("getOrder", order_id="a"), "retry": {"max_attempts": 1}}))
    assert parse_qs(urlsplit(api.asked[0].target).query) == {"fields": ["x,y"], "key": ["k3y of/the shop"]}
    assert failed.state == "failed"
    assert "k3y" not in f"{run} {failed}"


async def test_what_a_document_says_of_its_effects_is_not_believed(running: House, shop: Api) -> None:
    tools = await approve_all(running, await remoting.upload(running.runtime, running.actor, "acme", shop.text()))
    note = next(tool for tool in tools.tools if tool.name == "addNote")
    assert (note.claims, note.effect) == (Effect.WRITE_IDEMPOTENT, Effect.WRITE_ONCE)
    shop.cut = 1
    run = await running.run(flow(operation("addNote", body="a note")))
    assert (run.state, len(shop.asked)) == ("waiting", 1), run.error


async def test_progress_of_a_tool_is_shown_by_its_step(running: House) -> None:
    with tool_server() as there:
        there.tools["slow"] = {"name": "slow", "inputSchema": {"type": "object"}}
        await connect(running, there.url)
        await approve_all(running, await remoting.refresh(running.runtime, running.actor, "acme"))
        node = call("slow")
        node["config"] |= {"arguments": {}, "timeout": "1s"}
        run = await running.run(flow(node))
        told = await runs.events(running.runtime, running.actor, run.id)
    assert [(one.message, one.data) for one in told if one.type == "step.progress"] == [("half \\u202eway", {"current": 1, "total": 2})]


async def test_a_document_belongs_to_a_connection_of_its_kind(running: House, there: ToolServer) -> None:
    await connect(running, there.url)
    with pytest.raises(Invalid, match="kind openapi"):
        await remoting.upload(running.runtime, running.actor, "acme", "{}")
