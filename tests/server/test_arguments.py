"""Whatever a model sends, a tool answers with a result or with a sentence; it never breaks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp.types import Tool

from server.mcp import WeftServer
from tests.server.conftest import House, text_of
from tests.server.samples import ASK, HELLO

pytestmark = pytest.mark.anyio
ROUNDS = 12  # calls of each tool with arguments made from its schema
Values = st.SearchStrategy[Any]
SOMETHING: Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


def fitting(schema: dict[str, Any], known: list[str]) -> Values:
    """Values that fit a schema of ours; `known` are ids and names that exist."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*(fitting(arm, known) for arm in schema["anyOf"]))
    match schema.get("type"):
        case "string":
            if "pattern" in schema:
                return st.from_regex(str(schema["pattern"]), fullmatch=True)
            shortest, longest = schema.get("minLength", 0), min(schema.get("maxLength", 60), 60)
            return st.one_of(st.sampled_from(known), st.text(min_size=shortest, max_size=longest))
        case "integer":
            return st.integers(schema.get("minimum", -5), min(schema.get("maximum", 10**6), 10**6))
        case "number":
            return st.sampled_from([0, 0.05])  # seconds to wait
        case "object":
            return st.dictionaries(st.text(max_size=10), SOMETHING, max_size=3)
        case "array":
            return st.lists(fitting(schema.get("items", {}), known), min_size=schema.get("minItems", 0), max_size=3)
        case _:
            return SOMETHING


def valid(tool: Tool, known: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    required = tool.input_schema.get("required", [])
    fields = {name: fitting(schema, known) for name, schema in tool.input_schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def invalid(tool: Tool) -> st.SearchStrategy[dict[str, Any]]:
    names = list(tool.input_schema.get("properties", {}))
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=12), SOMETHING, max_size=4)


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Some examples, drawn here so that the calls may be awaited."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
        deadline=None,
    )
    @given(strategy)
    def draw(example: Any) -> None:
        found.append(example)

    draw()
    return found


async def called(client: Client, name: str, arguments: dict[str, Any]) -> str:
    """The text of the answer, error or not."""
    async with asyncio.timeout(40):
        result = await client.call_tool(name, arguments)
    text = text_of(result)
    assert len(text) <= 8_000, (name, arguments)
    if result.is_error:
        assert len(text) <= 1_000, (name, arguments)
        assert "incident" not in text, (name, arguments, text)
        assert "Error executing" not in text, (name, arguments, text)
    return text


@pytest.fixture
async def stocked(house: House) -> tuple[WeftServer, list[str]]:
    """A server with something in it, and the names and ids of that."""
    await house.publish(HELLO)
    name = await house.publish(ASK)
    run = await house.run(name, {"what": "it"})
    return house.server(), [HELLO["name"], name, run.id, run.waiting_for[0]["task_id"], "ok", "greet"]


async def test_no_arguments_break_a_tool(stocked: tuple[WeftServer, list[str]], caplog: pytest.LogCaptureFixture) -> None:
    server, known = stocked
    caplog.set_level(logging.ERROR)
    async with Client(server) as client:
        for tool in (await client.list_tools()).tools:
            for arguments in [*drawn(valid(tool, known), ROUNDS), *drawn(invalid(tool), ROUNDS)]:
                await called(client, tool.name, arguments)
    assert [record.getMessage() for record in caplog.records] == []


async def test_unknown_arguments_are_refused_with_the_nearest_name(house: House) -> None:
    async with Client(house.server()) as client:
        assert "Did you mean run_id?" in await called(client, "get_run", {"runid": "x"})
        assert "Did you mean workflow?" in await called(client, "start_run", {"workflw": "x"})
        for tool in (await client.list_tools()).tools:
            assert "there is no argument 'zzz'" in await called(client, tool.name, {"zzz": 1})


async def test_unknown_tools_and_prompts_are_protocol_errors_with_the_nearest_name(house: House) -> None:
    async with Client(house.server()) as client:
        for call in (
            client.call_tool("start_runn", {}),
            client.call_tool("run_helo", {}),
            client.get_prompt("debug_runs", {"run_id": "x"}),
        ):
            with pytest.raises(MCPError) as failure:
                await call
            assert failure.value.error.code == -32602


async def test_objects_sent_as_text_are_read(house: House) -> None:
    await house.publish(HELLO)
    async with Client(house.server()) as client:
        text = await called(client, "start_run", {"workflow": "hello-world", "input": '{"name": "Ada"}', "wait_seconds": 10})
        assert "Hello Ada" in text


async def test_plain_text_stays_text(house: House) -> None:
    async with Client(house.server()) as client:
        text = await called(client, "send_event", {"name": "paid", "correlation": "true", "payload": "null"})
        assert '"runs_woken":0' in text
