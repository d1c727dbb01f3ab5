"""What the nodes mcp_tool and openapi have in common: how a call is written, and how it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodetype import Context

Progress = Callable[[str, float, float | None], Awaitable[None]]


class Call(Closed):
    """The fields that both end with; the tool has a name of its own in each."""

    connection: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Json] = Field(default_factory=dict, description="as the tool's schema says")
    timeout: Duration = Field(default="60s", description="of the call")
    approved: str | None = Field(default=None, max_length=200, description="only while this approval of it holds; agents fill it in")


def output(**own: Schema) -> Schema:
    """Of a call: what is its own, then what all say. `untrusted`: the words of a stranger."""
    properties: Schema = {**own, "notes": {"type": "array", "items": {"type": "string"}}, "untrusted": {"const": True}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def call(context: Context, kind: str, connection: str, tool: str, config: Call, progress: Progress | None = None) -> Json:
    """Raises Failure."""
    return await context.remote.call(
        connection,
        tool,
        config.arguments,
        kind=kind,
        key=context.idempotency_key,
        seconds=seconds(config.timeout),
        approved=config.approved,
        progress=progress,
    )
