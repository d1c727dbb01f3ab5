"""send_event: tells waiting runs that something happened outside."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult
from pydantic import Field

from graphs import signals
from server.answers import answer
from server.arguments import IdempotencyKey
from server.auth import Scope
from server.tools import Ctx, caller_of, hints

DESCRIPTION = (
    "Send an event to the runs that wait for it (wait_event), by name and correlation. Events are kept for a while,"
    " so one sent a little early is not lost."
)
ANNOTATIONS = hints(read_only=False, idempotent=False)
SCOPE = Scope.RUN


async def run(
    ctx: Ctx,
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$", description='e.g. "payment_received"')],
    correlation: Annotated[
        str | None, Field(max_length=200, description="e.g. an order number; only runs waiting with the same one are woken")
    ] = None,
    payload: Annotated[Any, Field(description="any JSON; becomes the step's output.payload")] = None,
    idempotency_key: IdempotencyKey = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    received = await signals.send(
        caller.runtime, caller.actor, name=name, correlation=correlation, payload=payload, idempotency_key=idempotency_key
    )
    body = {"event_id": received.id, "runs_woken": len(received.woken), "duplicate": received.duplicate}
    return answer(body, next=f'get_run(run_id="{received.woken[0]}")' if received.woken else 'list_runs(state="waiting")')
