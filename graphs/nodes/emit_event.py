"""emit_event: sends an event to the runs that wait for it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Closed, Json, Schema
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Send an event to every run that waits for it with wait_event, or has a boundary for it; exactly once."
FAMILY: Family = "flow"
EFFECT = Effect.WRITE_IDEMPOTENT
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"event": "order_shipped", "correlation": "{{ input.order_id }}", "payload": {"tracking": "{{ nodes.ship.body.tracking }}"}},
)


class Config(Closed):
    event: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")
    correlation: str | None = Field(default=None, max_length=500)
    payload: Json = None


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"event": {"type": "string"}}, "required": ["event"], "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    await context.emit(config.event, correlation=config.correlation, payload=config.payload)
    return {"event": config.event}
