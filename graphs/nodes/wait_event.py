"""wait_event: waits for an event from outside, by name and correlation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodetype import Context, Effect, Failure, Family, Wait

SUMMARY = "Wait for an event sent with send_event, by name and (usually) a correlation such as an order number."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
WAITS = True
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"event": "payment_received", "correlation": "{{ input.order_id }}", "timeout": "14d", "on_timeout": "continue"},
)


class Config(Closed):
    event: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")
    correlation: str | None = Field(default=None, description="only events sent with this correlation count")
    timeout: Duration | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"received": {"type": "boolean"}, "payload": {}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    due = seconds(config.timeout) if config.timeout else None
    arrived = await context.wait(Wait(kind="event", event_name=config.event, correlation=config.correlation, due_in=due))
    if arrived.state == "expired" and config.on_timeout == "fail":
        raise Failure("event_timeout", f"no event {config.event!r} came within {config.timeout}")
    return {"received": arrived.state == "resolved", "payload": arrived.payload}
