"""What the guide and the instructions teach is true: every snippet validates, every name exists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from graphs.catalogue import node_types
from graphs.checks import check
from graphs.expressions import Evaluator
from server.guide import SECTIONS, section_text
from server.mcp import INSTRUCTIONS
from server.prompts import AUTHOR, DEBUG, FIX
from server.tools import tool_files

pytestmark = pytest.mark.anyio
TEXTS = [*(section_text(section) for section in SECTIONS), INSTRUCTIONS, AUTHOR, DEBUG, FIX]
SNIPPETS = [
    (section, json.loads(text)) for section in SECTIONS for text in re.findall(r"```json\n(.*?)```", section_text(section), re.DOTALL)
]


def whole(snippet: dict[str, Any]) -> dict[str, Any]:
    """A definition around a snippet that is a single node."""
    if "nodes" in snippet:
        return snippet
    item = {"type": "object", "properties": {"sku": {"type": "string"}, "price": {"type": "number"}}}
    known = {"type": "object", "properties": {"sku": {"type": "string"}, "items": {"type": "array", "items": item}}}
    return {"name": "snippet", "input": known, "nodes": [snippet]}


@pytest.mark.parametrize(("section", "snippet"), SNIPPETS, ids=[section for section, _ in SNIPPETS])
async def test_every_snippet_validates_without_a_word(section: str, snippet: dict[str, Any], evaluator: Evaluator) -> None:
    report = await check(whole(snippet), evaluator)
    assert [item.as_json() for item in report.diagnostics] == []


def test_every_section_has_something_to_copy_or_calls_to_make() -> None:
    taught = {section for section, _ in SNIPPETS}
    assert taught >= {"start", "definition", "expressions", "nodes", "flow", "waiting", "errors"}


def test_every_node_type_is_taught() -> None:
    text = "\n".join(section_text(section) for section in SECTIONS)
    assert [name for name in node_types() if f"`{name}`" not in text and f'"type": "{name}"' not in text] == []


def test_every_tool_and_argument_that_is_named_exists() -> None:
    for text in TEXTS:
        for name, arguments in re.findall(r"\b([a-z]+_[a-z_]+)\(([^()]*)\)", text):
            if name not in tool_files():
                continue
            known = tool_files()[name].run.__annotations__
            for argument in re.findall(r"\b([a-z_]+)=", re.sub(r'"[^"]*"', '""', arguments)):
                assert argument in known, f"{name}({argument}=…)"
