"""stop: ends the whole run with a state and an output."""

from __future__ import annotations

from typing import Any, Literal

from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family, Stopped

SUMMARY = "End the whole run here with a state, an output and a message; other branches are cancelled."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
ENDS = True
EXAMPLES: tuple[dict[str, Any], ...] = ({"state": "failed", "message": "No stock for {{ input.sku }}"}, {"output": {"done": True}})


class Config(Closed):
    state: Literal["succeeded", "failed", "cancelled"] = "succeeded"
    output: Json = None
    message: str = ""


def output(config: Config) -> Schema:
    return {}


async def run(config: Config, context: Context) -> Json:
    raise Stopped(config.state, config.output, config.message)
