"""house_tool: calls one of Weft's own tools with the rights of whoever started the run."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import Field, field_validator

from graphs import lending
from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Call one of Weft's own tools, such as list_runs or start_run, with the rights of whoever started the run."
FAMILY: Family = "action"
LABELS = frozenset({"private"})
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"tool": "list_runs", "arguments": {"workflow": "{{ input.workflow }}", "state": "failed"}},
    {"tool": "start_run", "arguments": {"workflow": "send-invoice", "input": {"order": "{{ input.order }}"}}},
)


class Config(Closed):
    tool: str = Field(description="name of the tool", json_schema_extra={"enum": list(lending.EFFECTS)})
    arguments: dict[str, Json] = Field(default_factory=dict, description="what the tool takes; see the pages about MCP")

    @field_validator("tool")
    @classmethod
    def _known(cls, tool: str) -> str:
        if tool not in lending.EFFECTS:
            near = difflib.get_close_matches(tool, lending.EFFECTS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(lending.EFFECTS)}"
            raise ValueError(f"Weft has no tool {tool!r}; {hint}")
        return tool


def effect(config: Config) -> Effect:
    return lending.EFFECTS[config.tool]


def output(config: Config) -> Schema:
    return {}


async def run(config: Config, context: Context) -> Json:
    return await context.house(config.tool, config.arguments)
