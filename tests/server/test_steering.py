"""Steering, forks and the past of runs at the doors: every action over MCP and HTTP, in the shapes that are promised."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncGenerator
from typing import Any

import jsonpatch
import pytest
from mcp import Client

from graphs import authoring, runs
from server.excerpts import MAX_ANSWER
from tests.faults.ledger import ledger
from tests.server.conftest import House, http, text_of, told
from tests.server.samples import ASK, HELLO
from tests.server.test_http import Checked, document

pytestmark = pytest.mark.anyio
BREAKS: dict[str, Any] = {
    "name": "breaks",
    "input": {"type": "object", "properties": {"list": {"type": "array"}}},
    "vars": {"seen": 0},
    "nodes": [
        {"id": "a", "type": "set", "config": {"values": {"n": 1}, "vars": {"seen": 1}}},
        {"id": "b", "type": "set", "config": {"values": {"n": "{{ input.list[0] }}"}}},
        {"id": "c", "type": "set", "config": {"values": {"n": "{{ nodes.b.n }}", "seen": "{{ vars.seen }}"}}},
    ],
    "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}],
}


@pytest.fixture
async def api(house: House, url: str) -> AsyncGenerator[Checked]:
    async with http(url, house.keys["owner"]) as client:
        yield Checked(client, await document(client))


@pytest.fixture
async def broken(house: House) -> str:
    """The id of a run that has failed at `b`."""
    await house.publish(BREAKS)
    run = await house.run("breaks", {"list": []})
    assert run.state == "failed"
    return run.id


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(tool, arguments))


async def refused(client: Client, **arguments: Any) -> str:
    result = await client.call_tool("control_run", arguments)
    assert result.is_error
    return text_of(result)


# -- MCP -------------------------------------------------------------------------------------------------------------------------


async def test_a_model_skips_forks_repeats_and_compares(house: House, broken: str) -> None:
    async with Client(house.server()) as client:
        fork = await call(client, "control_run", run_id=broken, action="fork", edits={"b": {"n": 5}}, vars={"seen": 9})
        assert fork["forked_from"] == broken
        done = await call(client, "get_run", run_id=fork["run_id"], wait_seconds=20)
        assert (done["output"], done["forked_at"]) == ({"n": 5, "seen": 9}, "b")
        await call(client, "control_run", run_id=broken, action="skip", node="b", output={"n": 6})
        assert (await call(client, "get_run", run_id=broken, wait_seconds=20))["output"] == {"n": 6, "seen": 1}
        again = await call(client, "control_run", run_id=broken, action="rerun", input={"list": [7]})
        assert (await call(client, "get_run", run_id=again["run_id"], wait_seconds=20))["output"] == {"n": 7, "seen": 1}
        state = await call(client, "get_run", run_id=broken, view="state", node="c")
        assert (state["nodes"], state["vars"]) == ({"a": {"n": 1}, "b": {"n": 6}}, {"seen": 1})
        found = await call(client, "get_run", run_id=broken, view="diff", node="c", other=fork["run_id"])
        assert {operation["path"] for operation in found["patch"]} == {"/nodes/b/n", "/vars/seen"}


async def test_a_model_is_told_what_does_not_go_together(house: House, broken: str) -> None:
    async with Client(house.server()) as client:
        assert "'edits' does not go with pause; it belongs to fork" in await refused(client, run_id=broken, action="pause", edits={"a": 1})
        assert "skip needs `node`" in await refused(client, run_id=broken, action="skip")
        assert "give run_id or filter, not both" in await refused(client, run_id=broken, action="retry", filter={"state": "failed"})
        assert "give run_id for one run" in await refused(client, action="retry")
        assert "once you have seen the count" in await refused(client, run_id=broken, action="retry", expect=1)
        assert "'node' is for one run" in await refused(client, action="retry", filter={"state": "failed"}, node="a")
        assert "A filter has: workflow, state" in await refused(client, action="retry", filter={"stat": "failed"})
        assert "'fork' is for one run" in await refused(client, action="fork", filter={"state": "failed"})
        assert "Did you mean" in await refused(client, run_id=broken, action="fork", vars={"sen": 1}, node="b")
        assert "recovery has not given this run up" in await refused(client, run_id=broken, action="requeue")


async def test_many_runs_are_only_counted_until_the_count_is_given(house: House, broken: str) -> None:
    async with Client(house.server()) as client:
        counted = await call(client, "control_run", action="retry", filter={"workflow": "breaks", "error_code": "expression"})
        assert (counted["count"], counted["first"]) == (1, [broken])
        assert "expect=1" in counted["next"]
        assert "not 2: nothing was done" in await refused(client, action="retry", filter={"workflow": "breaks"}, expect=2)
        done = await call(client, "control_run", action="retry", filter={"workflow": "breaks"}, expect=1)
        assert done["done"] == 1
        assert (await call(client, "get_run", run_id=broken, wait_seconds=20))["state"] == "failed"
        assert (await call(client, "control_run", action="cancel", filter={"workflow": "breaks"}))["count"] == 0
        assert (await call(client, "list_runs", state="dead"))["total"] == 0


async def test_only_who_may_write_workflows_forks_onto_a_draft(house: House, broken: str) -> None:
    for role, allowed in (("operator", False), ("builder", True)):
        async with Client(house.server(role)) as client:
            result = await client.call_tool("control_run", {"run_id": broken, "action": "fork", "version": "draft"})
            assert result.is_error is not allowed, text_of(result)
    async with Client(house.server("operator")) as client:
        await call(client, "control_run", run_id=broken, action="fork", version="active")


async def test_a_large_value_is_read_page_by_page_over_mcp(house: House) -> None:
    await house.publish({**HELLO, "nodes": [{"id": "greet", "type": "set", "config": {"values": {"text": "{{ input.name }}"}}}]})
    run = await house.run("hello-world", {"name": 'é"\\' * 25_000})
    async with Client(house.server()) as client:
        node = await call(client, "get_run", run_id=run.id, view="node", node="greet")
        reference = node["output_ref"]
        assert "output" not in node
        assert reference["size"] > 65_536
        text, size = "", 1
        while len(text) < size:
            result = await client.call_tool(
                "get_run", {"run_id": run.id, "view": "payload", "node": reference["digest"], "offset": len(text)}
            )
            assert len(text_of(result)) <= MAX_ANSWER
            part = told(result)
            text, size = text + part["text"], part["total_chars"]
        assert json.loads(text) == {"text": 'é"\\' * 25_000}
        [line] = (await call(client, "get_run", run_id=run.id, view="trace"))["steps"]
        assert line["output_ref"] == {"digest": reference["digest"], "size": reference["size"]}


async def test_effects_come_in_pages(house: House) -> None:
    async with ledger() as book:
        url = f"http://127.0.0.1:{book.port}/pay"
        pay: dict[str, Any] = {"id": "pay", "type": "http", "config": {"method": "POST", "url": url, "json": {}}}
        each: dict[str, Any] = {"id": "each", "type": "foreach", "config": {"items": [1, 2, 3], "body": {"nodes": [pay]}}}
        await house.publish({"name": "pays", "nodes": [each]})
        run = await house.run("pays")
        assert run.state == "succeeded"
    async with Client(house.server()) as client:
        first = await call(client, "get_run", run_id=run.id, view="effects", limit=2)
        rest = await call(client, "get_run", run_id=run.id, view="effects", after=first["after"])
        shown = [*first["effects"], *rest["effects"]]
        assert {item["position"] for item in shown} == {"each[0]/pay", "each[1]/pay", "each[2]/pay"}
        assert {(item["known"], item["effect"]) for item in shown} == {("receipt: done", "write-once")}
        assert {item["idempotency_key"] for item in shown} == {f"{run.id}/each[{n}]/pay" for n in range(3)}
        assert (await client.call_tool("get_run", {"run_id": run.id, "view": "effects", "after": "x"})).is_error


async def test_a_start_may_say_when_it_begins_and_how_urgent_it_is(house: House) -> None:
    await house.publish(HELLO)
    async with Client(house.server()) as client:
        later = await call(client, "start_run", workflow="hello-world", input={"name": "Ada"}, delay="1h", priority=5)
        assert later["state"] == "queued"
        wrong = await client.call_tool("start_run", {"workflow": "hello-world", "input": {"name": "Ada"}, "deadline": "soon"})
        assert "ISO 8601" in text_of(wrong)
        bounded = await call(client, "start_run", workflow="hello-world", input={"name": "Ada"}, deadline="2999-01-01T00:00:00Z")
        assert bounded["deadline_at"].startswith("2999-01-01T00:00:00")


# -- HTTP ------------------------------------------------------------------------------------------------------------------------


async def test_every_action_and_view_is_there_over_http(api: Checked, broken: str) -> None:
    lost = await api.ask("controlRun", {"action": "fork", "node": "a", "edits": {"b": {"n": 2}}}, status=422, run_id=broken)
    assert "the edit of b would be lost" in lost["error"]["message"]
    fork = await api.ask("controlRun", {"action": "fork", "edits": {"b": {"n": 5}}}, run_id=broken)
    assert fork["forked_from"] == broken
    assert (await api.ask("getRun", run_id=fork["run_id"], wait_seconds=20))["output"] == {"n": 5, "seen": 1}
    again = await api.ask("controlRun", {"action": "rerun", "version": 1}, run_id=broken)
    assert (await api.ask("getRun", run_id=again["run_id"], wait_seconds=20))["state"] == "failed"
    await api.ask("controlRun", {"action": "rerun", "version": 9}, status=404, run_id=broken)
    await api.ask("controlRun", {"action": "rerun", "version": "newest"}, status=422, run_id=broken)
    await api.ask("controlRun", {"action": "pause", "output": 1}, status=422, run_id=broken)
    await api.ask("controlRun", {"action": "skip", "node": "b", "output": {"n": 8}}, run_id=broken)
    assert (await api.ask("getRun", run_id=broken, wait_seconds=20))["output"] == {"n": 8, "seen": 1}
    state = await api.ask("getState", run_id=broken, node="b@2", moment="after")
    assert (state["at"]["attempt"], state["nodes"]["b"]) == (2, {"n": 8})
    before = await api.ask("getState", run_id=broken, node="b")
    found = await api.ask("diffRun", run_id=broken, node="b", other="c")
    after = await api.ask("getState", run_id=broken, node="c")
    parts = ("input", "vars", "nodes", "errors")
    assert jsonpatch.apply_patch({name: before[name] for name in parts}, found["patch"]) == {name: after[name] for name in parts}
    assert (await api.ask("getEffects", run_id=broken))["effects"] == []
    await api.ask("getState", status=404, run_id=broken, node="nope")
    await api.ask("diffRun", status=422, run_id=broken)


async def test_many_runs_over_http(api: Checked, house: House) -> None:
    await house.publish(ASK)
    waiting = [await house.run("ask-first", {"what": str(n)}) for n in range(3)]
    order: dict[str, Any] = {"action": "cancel", "filter": {"workflow": "ask-first", "state": "waiting"}}
    counted = await api.ask("controlRuns", order)
    assert (counted["count"], counted["first"], counted["done"]) == (3, [run.id for run in waiting], None)
    await api.ask("controlRuns", {**order, "expect": 4}, status=409)
    assert (await api.ask("controlRuns", {**order, "expect": 3}))["done"] == 3
    for run in waiting:
        assert (await api.ask("getRun", run_id=run.id, wait_seconds=20))["state"] == "cancelled"
    for action, filter in (("cancel", {}), ("skip", {"state": "paused"}), ("cancel", {"x": 1}), ("cancel", {"older_than": "long"})):
        await api.ask("controlRuns", {"action": action, "filter": filter}, status=422)
    old = {"action": "retry", "filter": {"created_before": waiting[1].created_at.isoformat(), "workflow": "ask-first"}}
    assert (await api.ask("controlRuns", old))["count"] == 1
    assert (await api.ask("listRuns", state="dead"))["total"] == 0


async def test_a_large_value_is_read_page_by_page_over_http(api: Checked, house: House) -> None:
    await house.publish({**HELLO, "nodes": [{"id": "greet", "type": "set", "config": {"values": {"text": "{{ input.name }}"}}}]})
    run = await house.run("hello-world", {"name": "\ud800" * 20_000})
    reference = (await api.ask("getNode", run_id=run.id, node="greet"))["output_ref"]
    assert [step["output_ref"]["size"] for step in (await api.ask("getTrace", run_id=run.id))["steps"]] == [reference["size"]]
    text = ""
    while len(text) < reference["size"]:
        part = await api.ask("getPayload", run_id=run.id, digest=reference["digest"], offset=len(text), limit=50_000)
        text += part["text"]
    assert json.loads(text) == {"text": "\ud800" * 20_000}
    assert (await api.ask("getRun", run_id=run.id))["output"] == {"text": "\ud800" * 20_000}
    await api.ask("getPayload", status=404, run_id=run.id, digest="0" * 64)
    await api.ask("getPayload", status=422, run_id=run.id, digest=reference["digest"], limit=0)


async def test_versions_are_compared_as_a_patch_that_applies(api: Checked, house: House) -> None:
    await house.publish(BREAKS)
    changes = [
        [{"op": "replace", "path": "/nodes/1/config/values/n", "value": 3}],
        [{"op": "remove", "path": "/nodes/2"}, {"op": "remove", "path": "/edges/1"}],
    ]
    for number, patch in enumerate(changes, 1):
        await authoring.edit(house.runtime, house.actor(), "breaks", patch, number)
        await authoring.publish(house.runtime, house.actor(), "breaks")
    versions = {number: (await api.ask("getWorkflow", name="breaks", version=number))["definition"] for number in (1, 2, 3)}

    async def compared(between: dict[str, Any], **more: Any) -> Any:
        return await api.ask("diffWorkflow", name="breaks", **more, **between)

    for first, second in ((1, 3), (3, 1), (2, 2)):
        found = await compared({"from": first, "to": second})
        assert jsonpatch.apply_patch(copy.deepcopy(versions[first]), found["patch"]) == versions[second]
    assert (await compared({"from": 3}))["patch"] == []
    await compared({"from": 1, "to": 9}, status=404)


async def test_a_start_over_http_may_say_when_and_how_urgent(api: Checked, house: House) -> None:
    await house.publish(HELLO)
    body = {"workflow": "hello-world", "input": {"name": "Ada"}}
    run = await api.ask("startRun", {**body, "delay": "1h", "priority": -3})
    assert run["state"] == "queued"
    assert (await runs.get(house.runtime, house.actor(), run["run_id"])).started_at is None
    for wrong in ({"delay": "a while"}, {"deadline": "tomorrow"}, {"priority": 101}):
        await api.ask("startRun", {**body, **wrong}, status=422)
