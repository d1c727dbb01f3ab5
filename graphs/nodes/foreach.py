"""foreach: runs a body once per item, some at a time, and keeps the order of the results."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family, Templated
from graphs.quiet import side_by_side

SUMMARY = "Run a body for every item of a list, up to `concurrency` at a time. Output `items` are the bodies' outputs, in order."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "items": "{{ input.orders }}",
        "as": "order",
        "concurrency": 5,
        "body": {
            "nodes": [
                {"id": "ship", "type": "http", "config": {"method": "POST", "url": "https://api.example.com/ship", "json": "{{ order }}"}}
            ]
        },
    },
)


class Config(Closed):
    items: Templated[list[Json]] = Field(max_length=10_000, description="the list, usually a template")
    name: str = Field(
        default="item", alias="as", pattern=r"^[a-z][a-z0-9_]{0,47}$", description="what the body calls the item; `index` counts from 0"
    )
    concurrency: int = Field(default=10, ge=1, le=1000)
    body: Body


def bodies(config: Config) -> dict[str, Body]:
    return {"/body": config.body}


def scope(config: Config, key: str) -> dict[str, Schema]:
    return {config.name: {}, "item": {}, "index": {"type": "integer"}}


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"items": {"type": "array"}, "count": {"type": "integer"}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    results: list[Json] = [None] * len(config.items)
    left = iter(enumerate(config.items))

    async def work() -> None:
        """Takes the next item as soon as it is done with one, without a pause in which the step would look as if it only waited."""
        for index, item in left:
            results[index] = await context.body("/body", index=index, local={"item": item, config.name: item, "index": index})

    await side_by_side(work() for _ in range(min(config.concurrency, len(results))))
    return {"items": results, "count": len(results)}
