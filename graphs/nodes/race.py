"""race: runs several bodies side by side; the first to succeed wins, the others are cancelled and undone."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Run several bodies side by side; the first to succeed wins, the others are cancelled and their completed steps compensated."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "branches": {
            "answer": {"nodes": [{"id": "ask", "type": "approval", "config": {"title": "Ship {{ input.order }} now?"}}]},
            "patience": {"nodes": [{"id": "pause", "type": "wait", "config": {"duration": "2d"}}]},
        }
    },
)


class Config(Closed):
    branches: dict[str, Body] = Field(min_length=1, max_length=100, description="branch name -> body")


def bodies(config: Config) -> dict[str, Body]:
    return {f"/branches/{name}": body for name, body in config.branches.items()}


def output(config: Config) -> Schema:
    properties: Schema = {"winner": {"enum": list(config.branches)}, "output": {}}
    return {"type": "object", "properties": properties, "required": ["winner", "output"], "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    winner, result = await context.first([f"/branches/{name}" for name in config.branches])
    return {"winner": winner.removeprefix("/branches/"), "output": result}
