"""The MCP door end to end, in both protocol eras, over a real socket: author, test, publish, run, wait, answer, look back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceTemplateReference, TextResourceContents

from graphs import authoring, runs
from graphs.nodetype import Effect
from server import published
from server.tools import tool_files
from store.errors import Unavailable
from tests.server.conftest import House, connected, text_of, told
from tests.server.samples import ASK, FAILS, HELLO, LISTEN

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@ERAS
async def test_a_model_authors_tests_publishes_and_runs_a_workflow(house: House, url: str, mode: str) -> None:
    async with connected(url, house.keys["builder"], mode) as client:
        assert told(await client.call_tool("validate_workflow", {"definition": HELLO}))["valid"]
        assert told(await client.call_tool("create_workflow", {"definition": json.dumps(HELLO)}))["revision"] == 1
        tested = told(await client.call_tool("test_workflow", {"workflow": "hello-world", "input": {"name": "Ada"}}))
        assert (tested["state"], tested["output"], tested["mode"]) == ("succeeded", {"text": "Hello Ada"}, "test")
        assert [step["position"] for step in tested["trace"]] == ["greet"]
        edit = {"workflow": "hello-world", "patch": [{"op": "replace", "path": "/description", "value": "Says hello."}], "base_revision": 1}
        assert told(await client.call_tool("edit_workflow", edit))["revision"] == 2
        assert "edited meanwhile" in text_of(await client.call_tool("edit_workflow", edit))
        assert told(await client.call_tool("publish_workflow", {"workflow": "hello-world", "note": "first"}))["version"] == 1
        started = told(await client.call_tool("start_run", {"workflow": "hello-world", "input": {"name": "Bob"}}))
        done = told(await client.call_tool("get_run", {"run_id": started["run_id"], "wait_seconds": 20}))
        assert (done["state"], done["output"]) == ("succeeded", {"text": "Hello Bob"})
        listed = told(await client.call_tool("list_runs", {"workflow": "hello-world"}))
        assert [run["run_id"] for run in listed["runs"]] == [started["run_id"]], "the test run is not among them"


@ERAS
async def test_every_view_of_a_workflow_and_a_run_names_the_next_call(house: House, url: str, mode: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    async with connected(url, house.keys["owner"], mode) as client:
        for view in ("summary", "definition", "diagram", "diff", "versions"):
            shown = told(await client.call_tool("get_workflow", {"workflow": "ask-first", "view": view}))
            assert shown["next"], view
        for view, more in (("status", {}), ("trace", {}), ("node", {"node": "ok"}), ("events", {})):
            shown = told(await client.call_tool("get_run", {"run_id": run.id, "view": view, **more}))
            assert shown["next"], view
        for tool in ("list_workflows", "list_runs", "list_tasks"):
            assert told(await client.call_tool(tool, {}))["next"]
        diagram = told(await client.call_tool("get_workflow", {"workflow": "ask-first", "view": "diagram"}))["mermaid"]
        assert diagram.splitlines()[0] == "flowchart TD"
        assert '  ok -->|"nodes.ok.approved"| done' in diagram


@ERAS
async def test_published_workflows_are_tools_of_their_own(house: House, url: str, mode: str) -> None:
    await house.publish(HELLO)
    await house.create(FAILS)
    async with connected(url, house.keys["operator"], mode) as client:
        own = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("run_")}
        assert list(own) == ["run_hello_world"]
        tool = own["run_hello_world"]
        assert tool.input_schema["required"] == ["name"]
        assert tool.input_schema["additionalProperties"] is False
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert told(await client.call_tool("run_hello_world", {"name": "Ada"}))["output"] == {"text": "Hello Ada"}
        assert "Did you mean name?" in text_of(await client.call_tool("run_hello_world", {"nam": "Ada"}))
        assert "name" in text_of(await client.call_tool("run_hello_world", {}))
        with pytest.raises(MCPError, match="run_hello_world"):
            await client.call_tool("run_hello_word", {})
    async with connected(url, house.keys["viewer"], mode) as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("run_")]
        assert "needs the scope 'run'" in text_of(await client.call_tool("run_hello_world", {"name": "Ada"}))


async def test_tools_of_workflows_can_be_switched_off_and_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        await house.publish({**HELLO, "name": f"hello-{number}", "description": "x" * 300})
    async with Client(house.server(publish=False)) as client:
        assert not [tool for tool in (await client.list_tools()).tools if tool.name.startswith("run_")]
        with pytest.raises(MCPError):
            await client.call_tool("run_hello_1", {"name": "x"})
    monkeypatch.setattr(published, "MAX_CHARACTERS", 1_400)
    async with Client(house.server()) as client:
        assert [tool.name for tool in (await client.list_tools()).tools if tool.name.startswith("run_")] == ["run_hello_0", "run_hello_1"]


def test_annotations_say_the_worst_a_workflow_may_do() -> None:
    reading = published.annotations_of(frozenset({Effect.PURE, Effect.READ}))
    assert (reading.read_only_hint, reading.destructive_hint, reading.open_world_hint) == (True, False, True)
    once = published.annotations_of(frozenset({Effect.PURE, Effect.WRITE_ONCE}))
    assert (once.read_only_hint, once.destructive_hint, once.idempotent_hint) == (False, True, False)


@ERAS
async def test_an_event_wakes_the_run_that_waits_for_it(house: House, url: str, mode: str) -> None:
    await house.publish(LISTEN)
    run = await house.run("listen", {"order": "A-1"})
    async with connected(url, house.keys["operator"], mode) as client:
        assert 'send_event(name="paid"' in told(await client.call_tool("get_run", {"run_id": run.id}))["next"]
        sent = {"name": "paid", "correlation": "A-1", "payload": {"amount": 7}}
        assert told(await client.call_tool("send_event", sent))["runs_woken"] == 1
        assert told(await client.call_tool("get_run", {"run_id": run.id, "wait_seconds": 20}))["output"] == {"amount": 7}


@ERAS
async def test_progress_is_told_while_a_call_waits(house: House, url: str, mode: str) -> None:
    slow: dict[str, Any] = {
        "name": "slow",
        "nodes": [{"id": f"s{n}", "type": "wait" if n % 2 else "set", "config": {"seconds": 0.3} if n % 2 else {}} for n in range(6)],
        "edges": [{"from": f"s{n}", "to": f"s{n + 1}"} for n in range(5)],
    }
    await house.publish(slow)
    heard: list[float] = []

    async def heard_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with connected(url, house.keys["operator"], mode) as client:
        started = await client.call_tool("start_run", {"workflow": "slow", "wait_seconds": 20}, progress_callback=heard_progress)
        assert told(started)["state"] == "succeeded"
    assert heard
    assert heard == sorted(set(heard)), "progress only grows"


async def test_a_client_that_hangs_up_does_not_disturb_the_run(house: House, url: str) -> None:
    await house.publish(ASK)
    async with connected(url, house.keys["owner"]) as client:
        call = asyncio.create_task(client.call_tool("run_ask_first", {"what": "that"}))
        started: Sequence[Any] = ()
        async with asyncio.timeout(20):
            while not started:
                started = (await runs.page(house.runtime, house.actor())).items
        call.cancel()
    assert (await runs.wait(house.runtime, house.actor(), started[0].id, seconds=20)).state == "waiting"


async def test_long_values_come_in_parts_and_lists_in_pages(house: House) -> None:
    big: dict[str, Any] = {
        "name": "big",
        "nodes": [{"id": f"n{n}", "type": "set", "config": {"values": {"text": "{{ 'é\"' * 9000 }}"}}} for n in range(30)],
        "output": "{{ nodes.n0.text }}",
    }
    await house.publish(big)
    run = await house.run("big")
    async with Client(house.server()) as client:
        shown = told(await client.call_tool("get_run", {"run_id": run.id}))
        text = shown["output_part"]["text"]
        while "more" in shown["output_part"]:
            shown = told(await client.call_tool("get_run", {"run_id": run.id, "offset": len(text)}))
            text += shown["output_part"]["text"]
        assert text == run.output
        seen: list[str] = []
        after = None
        while True:
            page = told(await client.call_tool("get_run", {"run_id": run.id, "view": "trace", "limit": 200, "after": after}))
            seen += [step["position"] for step in page["steps"]]
            after = page.get("after")
            if after is None:
                break
        assert sorted(seen) == sorted(f"n{n}" for n in range(30))


@ERAS
async def test_resources_and_completions_lead_to_workflows_runs_and_the_guide(house: House, url: str, mode: str) -> None:
    await house.publish(HELLO)
    run = await house.run("hello-world", {"name": "Ada"})
    async with connected(url, house.keys["viewer"], mode) as client:
        listed = [str(item.uri) for item in (await client.list_resources()).resources]
        assert "weft://workflows/hello-world" in listed
        assert "weft://guide/start" in listed
        for uri in [*listed, "weft://workflows/hello-world/diagram", f"weft://runs/{run.id}", f"weft://runs/{run.id}/trace"]:
            [content] = (await client.read_resource(uri)).contents
            assert isinstance(content, TextResourceContents)
            assert content.text, uri
        for template, name, value, expected in (
            ("weft://workflows/{name}", "name", "hel", "hello-world"),
            ("weft://runs/{run_id}/trace", "run_id", run.id[:6], run.id),
            ("weft://guide/{section}", "section", "ex", "expressions"),
        ):
            reference = ResourceTemplateReference(type="ref/resource", uri=template)
            assert (await client.complete(reference, {"name": name, "value": value})).completion.values == [expected]
        for uri in ("weft://workflows/nope", "weft://runs/nope", "weft://guide/nope", "weft://nope", "weft://guide/..%2Fstart"):
            with pytest.raises(MCPError) as failure:
                await client.read_resource(uri)
            assert failure.value.error.code == -32602, uri


@ERAS
async def test_prompts_fill_in_what_was_asked(house: House, url: str, mode: str) -> None:
    async with connected(url, house.keys["viewer"], mode) as client:
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["author_workflow", "fix_run", "debug_run"]
        prompt = await client.get_prompt("author_workflow", {"goal": "water the {plants}"})
        assert "water the {plants}" in prompt.model_dump_json()
        with pytest.raises(MCPError) as failure:
            await client.get_prompt("author_workflow", {})
        assert failure.value.error.code == -32602


async def test_a_crash_is_answered_with_an_id_and_nothing_of_the_inside(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*args: Any, **options: Any) -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(runs, "get", crash)
    async with Client(house.server()) as client:
        result = await client.call_tool("get_run", {"run_id": "x"})
    assert result.is_error
    assert "secret" not in text_of(result)
    number = text_of(result).split("incident ")[1].split()[0]
    assert number in caplog.text
    assert "secret inside" in caplog.text


async def test_a_crash_of_a_workflows_own_tool_is_as_silent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*args: Any, **options: Any) -> Any:
        raise RuntimeError("secret inside")

    await house.publish(HELLO)
    monkeypatch.setattr(runs, "start", crash)
    async with Client(house.server()) as client:
        result = await client.call_tool("run_hello_world", {"name": "Ada"})
    assert "incident" in text_of(result)
    assert "secret" not in text_of(result)


async def test_without_the_database_the_tools_are_still_listed_and_say_what_is_wrong(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*args: Any, **options: Any) -> Any:
        raise Unavailable("Postgres does not answer; try again.")

    monkeypatch.setattr(authoring, "published", gone)
    monkeypatch.setattr(runs, "get", gone)
    async with Client(house.server()) as client:
        assert len((await client.list_tools()).tools) == len(tool_files())
        assert text_of(await client.call_tool("get_run", {"run_id": "x"})) == "Postgres does not answer; try again."
        for call in (client.list_resources(), client.read_resource("weft://runs/x")):
            with pytest.raises(MCPError, match="Postgres does not answer") as failure:
                await call
            assert failure.value.error.code == -32603


async def test_lists_say_how_long_they_may_be_kept_and_by_whom(house: House) -> None:
    async with Client(house.server()) as client:
        tools, prompts, found = await client.list_tools(), await client.list_prompts(), await client.read_resource("weft://guide/start")
        assert (tools.ttl_ms, tools.cache_scope) == (60_000, "private"), "what is listed depends on who asks"
        assert (prompts.ttl_ms, prompts.cache_scope) == (3_600_000, "public")
        assert (found.ttl_ms, found.cache_scope) == (0, "private")


async def test_publishing_tells_listeners_of_the_same_organization_only(house: House, stranger: House, url: str) -> None:
    await house.create(HELLO)
    async with (
        connected(url, house.keys["owner"]) as mine,
        connected(url, stranger.keys["owner"]) as theirs,
        mine.listen(tools_list_changed=True) as heard,
        theirs.listen(tools_list_changed=True) as unheard,
    ):
        await mine.call_tool("publish_workflow", {"workflow": "hello-world"})
        async with asyncio.timeout(10):
            await anext(aiter(heard))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(aiter(unheard))
