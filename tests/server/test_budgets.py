"""What a model has to read is bounded: the list of tools, each tool, the instructions, the guide, every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from mcp import Client
from mcp.types import Tool

from graphs.runtime import Actor, Runtime
from server.guide import SECTIONS, section_text
from server.mcp import INSTRUCTIONS, build_server
from server.tools import tool_files
from server.tools.get_guide import Section

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P8")]
SNAPSHOT = Path(__file__).parent / "tools_list.json"


async def listed(role: str = "owner") -> list[Tool]:
    """The fixed tools as a client sees them; none of them needs a house."""
    nobody = Actor(tenant=cast(Any, None), user_id="", user_name="", role=role, via="mcp")
    async with Client(build_server(cast(Runtime, None), keys=[b"k" * 32], local=nobody, publish=False)) as client:
        return (await client.list_tools()).tools


def as_sent(tool: Tool) -> str:
    return json.dumps(tool.model_dump(by_alias=True, exclude_none=True), separators=(",", ":"), ensure_ascii=False)


async def test_the_list_of_tools_fits_its_budget() -> None:
    tools = await listed()
    assert len(tools) <= 18
    assert sum(len(as_sent(tool)) + 1 for tool in tools) <= 16_000
    for tool in tools:
        assert len(as_sent(tool)) <= 1_450, tool.name
        assert len(tool.description or "") <= 500, tool.name
        assert len(tool.name) <= 40


async def test_the_list_of_tools_is_sorted_and_the_same_as_ever() -> None:
    """A client pins tools by their text: a change here is a change of our interface. Delete the file to take a new picture."""
    tools = await listed()
    assert [tool.name for tool in tools] == sorted(tool.name for tool in tools)
    picture = json.dumps([json.loads(as_sent(tool)) for tool in tools], indent=1, ensure_ascii=False) + "\n"
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(picture, encoding="utf-8")
    assert picture == SNAPSHOT.read_text(encoding="utf-8")


async def test_every_tool_says_all_four_hints_and_closes_its_arguments() -> None:
    for tool in await listed():
        hints = tool.annotations
        assert hints is not None
        assert None not in (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint), tool.name
        assert tool.input_schema["additionalProperties"] is False, tool.name
        assert '"title"' not in json.dumps(tool.input_schema), tool.name
        for name, schema in tool.input_schema.get("properties", {}).items():
            assert not name.startswith(("tenant", "org", "namespace")), f"{tool.name}.{name}: who calls decides, not what is passed"
            assert schema.get("description") or "enum" in schema or name in ("limit", "comment"), f"{tool.name}.{name} says nothing"


async def test_core_tools_are_loaded_at_once() -> None:
    core = [tool.name for tool in await listed() if (tool.meta or {}).get("anthropic/alwaysLoad")]
    assert core == ["create_workflow", "get_guide", "get_run", "start_run", "validate_workflow"]


def test_every_tool_file_has_a_scope_and_a_short_description() -> None:
    for name, file in tool_files().items():
        assert file.scope, name
        assert 0 < len(file.description) <= 500, name
        assert file.description.count(". ") <= 2, f"{name}: one to three sentences"


def test_the_instructions_fit_what_clients_show() -> None:
    assert len(INSTRUCTIONS) <= 2_000
    assert INSTRUCTIONS.index("get_guide") < 600, "the first thing to do comes first"


def test_guide_sections_are_short_and_all_offered() -> None:
    assert get_args(Section) == SECTIONS
    for section in SECTIONS:
        assert len(section_text(section)) <= 3_500, section


async def test_a_viewer_sees_only_what_it_may_call() -> None:
    names = {tool.name for tool in await listed("viewer")}
    assert names == {name for name, file in tool_files().items() if file.scope in ("read", "memory:read")}
    assert "create_workflow" not in names
    assert {tool.name for tool in await listed("no such role")} == set()
