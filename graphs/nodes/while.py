"""while: repeats a body as long as a condition holds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from graphs.definition import Body, Closed, Expression, Json, Schema
from graphs.nodetype import Context, Effect, Failure, Family

SUMMARY = "Repeat a body while a condition holds, at most `max_iterations` times. Output `last` is the output of the last pass."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "condition": "last == None or last.status == 202",
        "max_iterations": 20,
        "body": {
            "nodes": [
                {"id": "pause", "type": "wait", "config": {"duration": "10s"}},
                {"id": "poll", "type": "http", "config": {"url": "https://api.example.com/jobs/{{ input.job }}", "expect": [200, 202]}},
            ],
            "edges": [{"from": "pause", "to": "poll"}],
        },
    },
)


class Config(Closed):
    condition: Expression = Field(description="looked at before each pass; sees `last`, the output of the pass before, and `index` from 0")
    max_iterations: int = Field(default=100, ge=1, le=100_000)
    on_limit: Literal["fail", "continue"] = "fail"
    body: Body


def bodies(config: Config) -> dict[str, Body]:
    return {"/body": config.body}


def scope(config: Config, key: str) -> dict[str, Schema]:
    return {"last": {}, "index": {"type": "integer"}}


def sees(config: Config) -> dict[str, Schema]:
    return scope(config, "/body")


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"last": {}, "iterations": {"type": "integer"}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    last: Json = None
    for index in range(config.max_iterations):
        local = {"last": last, "index": index}
        if not context.begun("/body", index=index) and not await context.evaluate(config.condition, local):
            return {"last": last, "iterations": index}
        last = await context.body("/body", index=index, local=local)
    if config.on_limit == "fail" and await context.evaluate(config.condition, {"last": last, "index": config.max_iterations}):
        raise Failure("loop_limit", f"the condition still holds after {config.max_iterations:,} passes (max_iterations)")
    return {"last": last, "iterations": config.max_iterations}
