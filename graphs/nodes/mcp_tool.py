"""mcp_tool: calls a tool of a connected MCP server."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Json, Schema
from graphs.nodetype import Context, Effect, Family
from graphs.remote import steps
from graphs.remote.steps import Call

SUMMARY = "Call a tool of a connected MCP server (a connection of kind mcp). Output `data` is what it answered, with `text` and `content`."
FAMILY: Family = "action"
LABELS = frozenset({"egress", "untrusted"})
CONNECTS = frozenset({"mcp"})
EFFECT = Effect.WRITE_ONCE  # until the tool is known: `settle`
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"connection": "github", "tool": "create_issue", "arguments": {"title": "{{ input.title }}", "labels": ["bug"]}},
    {"connection": "docs", "tool": "search", "arguments": {"query": "{{ input.question }}"}, "timeout": "20s"},
)


class Config(Call):
    connection: str = Field(min_length=1, max_length=64, description="of kind mcp")
    tool: str = Field(min_length=1, max_length=200, description="one that a person has approved")


async def settle(config: Config, context: Context) -> Effect:
    return await context.remote.effect(config.connection, config.tool)


def output(config: Config) -> Schema:
    return steps.output(data={}, text={"type": "string"}, content={"type": "array", "items": {"type": "object"}})


async def run(config: Config, context: Context) -> Json:
    async def show(message: str, done: float, total: float | None) -> None:
        await context.progress(message or "under way", current=int(done), total=int(total) if total else None)

    return await steps.call(context, "mcp", config.connection, config.tool, config, show)
