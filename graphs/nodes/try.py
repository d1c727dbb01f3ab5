"""try: runs a body, another when it fails, and a last one whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from pydantic import Field

from graphs.definition import Body, Closed, Json, Schema
from graphs.nodetype import BodyFailed, Context, Effect, Family, Stopped

SUMMARY = "Run `body`; if it fails run `catch`, which sees `error`; run `finally` in any case. Output is that of the body or of the catch."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "body": {"nodes": [{"id": "charge", "type": "http", "config": {"method": "POST", "url": "https://pay.example.com/charges"}}]},
        "catch": {"nodes": [{"id": "note", "type": "set", "config": {"values": {"failed": "{{ error.message }}"}}}]},
    },
)


class Config(Closed):
    body: Body
    catch: Body | None = Field(default=None, description="sees `error`: code, message and position of what failed")
    last: Body | None = Field(default=None, alias="finally", description="runs after success, failure or cancellation; must not wait long")
    compensate: bool = Field(default=False, description="when the body fails, undo what it has done before anything else")


def bodies(config: Config) -> dict[str, Body]:
    found = {"/body": config.body}
    if config.catch:
        found["/catch"] = config.catch
    if config.last:
        found["/finally"] = config.last
    return found


def scope(config: Config, key: str) -> dict[str, Schema]:
    if key != "/catch":
        return {}
    properties: Schema = {"code": {"type": "string"}, "message": {"type": "string"}, "position": {"type": "string"}, "details": {}}
    return {"error": {"type": "object", "properties": properties, "required": ["code", "message"]}}


def output(config: Config) -> Schema:
    return {}


async def run(config: Config, context: Context) -> Json:
    try:
        result = await _guarded(config, context)
    except asyncio.CancelledError:
        if config.last and not context.put_down:
            with suppress(BodyFailed):  # it is recorded with its step; what is cancelled stays cancelled
                await context.body("/finally")
        raise
    except (BodyFailed, Stopped):
        if config.last:
            await context.body("/finally")
        raise
    if config.last:
        await context.body("/finally")
    return result


async def _guarded(config: Config, context: Context) -> Json:
    """The body, or what catches its failure. That it failed is recorded: a retry goes on in the catch and not before it; without a catch,
    a retry of the run is a new attempt and tries the body again."""
    name = "caught" if config.catch else f"caught:{context.attempt}"
    caught = context.known(name)
    if caught is None:
        try:
            return await context.body("/body")
        except BodyFailed as failed:
            caught = failed.error
            context.keep(name, caught)
    if config.compensate:
        await context.undo("/body")
    if config.catch is None:
        raise BodyFailed(caught)
    return await context.body("/catch", local={"error": caught})
