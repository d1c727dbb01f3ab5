"""set: computes values by templates and, if asked, assigns run variables."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Compute values with templates; the values are its output. `vars` also assigns run variables."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"values": {"total": "{{ sum([i.price for i in input.items]) }}", "greeting": "Hello {{ input.name }}"}},
    {"values": {}, "vars": {"count": "{{ vars.count + 1 }}"}},
)


class Config(Closed):
    values: dict[str, Json] = Field(default_factory=dict, description="name -> value or template")
    vars: dict[str, Json] = Field(
        default_factory=dict, description="run variable -> value or template; the variable must be declared in `vars` of the workflow"
    )


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {name: {} for name in config.values}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    return dict(config.values)
