"""switch: chooses one of several cases by value."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Expression, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = 'Choose a case by value: leave by an edge whose branch is the case (or "default"), or run the case\'s body.'
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"value": "nodes.classify.kind", "cases": [{"name": "refund", "equals": "refund"}, {"name": "sales", "equals": "sales"}]},
    {
        "value": "input.size",
        "cases": [
            {"name": "big", "equals": "L", "body": {"nodes": [{"id": "crate", "type": "set", "config": {"values": {"box": "crate"}}}]}}
        ],
        "default": {"nodes": [{"id": "bag", "type": "set", "config": {"values": {"box": "bag"}}}]},
    },
)


class Case(Closed):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")
    equals: Json
    body: Body | None = None


class Config(Closed):
    value: Expression
    cases: tuple[Case, ...] = Field(min_length=1, max_length=100, strict=False)
    default: Body | None = None


def branches(config: Config) -> tuple[str, ...]:
    return (*(case.name for case in config.cases), "default")


def taken(config: Config, output: Json) -> str:
    return str(output["case"])


def bodies(config: Config) -> dict[str, Body]:
    found = {f"/cases/{number}/body": case.body for number, case in enumerate(config.cases) if case.body}
    return {**found, "/default": config.default} if config.default else found


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"case": {"enum": list(branches(config))}, "output": {}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    value = await context.decide("value", config.value)
    for number, case in enumerate(config.cases):
        if value == case.equals and isinstance(value, bool) == isinstance(case.equals, bool):
            return {"case": case.name, "output": await context.body(f"/cases/{number}/body") if case.body else None}
    return {"case": "default", "output": await context.body("/default") if config.default else None}
