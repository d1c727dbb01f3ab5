"""join: brings branches together when all, any or some of them have arrived."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Bring branches together: when all that were taken have arrived (the default), when any has, or when `count` have."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = ({}, {"mode": "any"}, {"mode": "count", "count": 2})


class Config(Closed):
    mode: Literal["all", "any", "count"] = "all"
    count: int | None = Field(default=None, ge=1, description='how many must arrive, with mode "count"')


def arrivals(config: Config) -> int | None:
    """How many taken edges start the node; None for all of them."""
    return {"all": None, "any": 1, "count": config.count or 1}[config.mode]


def output(config: Config) -> Schema:
    return {"type": "object", "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    return {}
