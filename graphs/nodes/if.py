"""if: chooses between two ways, as branches of edges or as bodies."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Expression, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = 'Decide by a condition: leave by an edge with branch "true" or "false", or run the body `then` or `else`.'
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"condition": "input.amount > 100"},
    {
        "condition": "input.vip",
        "then": {"nodes": [{"id": "gift", "type": "set", "config": {"values": {"gift": True}}}]},
        "else": {"nodes": [{"id": "plain", "type": "set", "config": {"values": {"gift": False}}}]},
    },
)


class Config(Closed):
    condition: Expression
    then: Body | None = None
    otherwise: Body | None = Field(default=None, alias="else")


def branches(config: Config) -> tuple[str, ...]:
    return ("true", "false")


def taken(config: Config, output: Json) -> str:
    return "true" if output["result"] else "false"


def bodies(config: Config) -> dict[str, Body]:
    return {key: body for key, body in (("/then", config.then), ("/else", config.otherwise)) if body}


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"result": {"type": "boolean"}, "output": {}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    result = bool(await context.decide("condition", config.condition))
    chosen = "/then" if result else "/else"
    return {"result": result, "output": await context.body(chosen) if chosen in bodies(config) else None}
