"""The HTTP operation that lets runs know of something outside."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import signals
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.runs import IDEMPOTENCY, MAX_KEY
from server.http.shapes.tasks import EventReceived
from store.errors import Invalid


class Event(Body):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")
    correlation: str | None = Field(default=None, max_length=200, description="only runs waiting with the same one are woken")
    payload: Any = None


async def send(call: Call[Event, Query]) -> Json:
    key = call.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid(f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    body = call.body
    received = await signals.send(
        call.caller.runtime, call.caller.actor, name=body.name, correlation=body.correlation, payload=body.payload, idempotency_key=key
    )
    return {"event_id": received.id, "runs_woken": len(received.woken), "duplicate": received.duplicate}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/api/v1/events",
        name="sendEvent",
        summary="Send an event to the runs that wait for it",
        scope=Scope.RUN,
        run=send,
        answer=EventReceived,
        body=Event,
        headers=(IDEMPOTENCY,),
        status=202,
    ),
)
