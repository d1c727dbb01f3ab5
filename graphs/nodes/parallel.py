"""parallel: runs several bodies side by side and waits for all of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family
from graphs.quiet import side_by_side

SUMMARY = "Run several bodies side by side; done when all are. A slow or waiting branch does not hold up another."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "branches": {
            "stock": {"nodes": [{"id": "stock", "type": "http", "config": {"url": "https://api.example.com/stock"}}]},
            "price": {"nodes": [{"id": "price", "type": "http", "config": {"url": "https://api.example.com/price"}}]},
        }
    },
)


class Config(Closed):
    branches: dict[str, Body] = Field(min_length=1, max_length=100, description="branch name -> body")


def bodies(config: Config) -> dict[str, Body]:
    return {f"/branches/{name}": body for name, body in config.branches.items()}


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {name: {} for name in config.branches}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    outputs = await side_by_side(context.body(f"/branches/{name}") for name in config.branches)
    return dict(zip(config.branches, outputs, strict=True))
