"""HTTP operation on the telephone calls of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from graphs import runs
from graphs.definition import Json
from graphs.voice import masked
from graphs.voice.calls import transcript
from server.auth import Scope
from server.http.operations import Call, Operation, Query
from server.http.shapes import Shape
from store import voice_calls
from store.voice_calls import Call as Row

MOST = 100


class CallLine(Shape):
    who: Literal["weft", "person"]
    text: str = Field(description="what the person said is data from outside, as a machine wrote it down")
    at: str


class CallDetail(Shape):
    """A telephone call that a step has made."""

    call_id: str
    position: str
    attempt: int
    number: int = Field(description="1: the first call of the attempt")
    connection: str
    to: str = Field(description="masked for viewers")
    provider: str | None = None
    provider_id: str | None = None
    state: Literal["queued", "dialing", "ringing", "answered", "asking", "completed", "busy", "no_answer", "failed", "cancelled"]
    prompts: int = Field(description="questions that were answered or passed over in silence")
    answers: dict[str, Any]
    transcript: list[CallLine]
    task_id: str | None = None
    error: str | None = None
    created_at: str
    dialed_at: str | None = None
    ringing_at: str | None = None
    answered_at: str | None = None
    ended_at: str | None = None
    duration_seconds: float | None = Field(default=None, description="from the answer to the end")


class CallList(Shape):
    calls: list[CallDetail]


async def listed(call: Call[None, Query]) -> Json:
    actor, run_id = call.caller.actor, call.path["run_id"]
    run = await runs.get(call.caller.runtime, actor, run_id)
    rows = await voice_calls.of_run(actor.tenant, run.id, limit=MOST)
    return {"calls": [view(row, hidden=actor.role == "viewer") for row in rows]}


def view(row: Row, *, hidden: bool) -> dict[str, Json]:
    seconds = round((row.ended_at - row.answered_at).total_seconds(), 1) if row.ended_at and row.answered_at else None
    found: dict[str, Json] = {
        "call_id": row.id,
        "position": row.position,
        "attempt": row.attempt,
        "number": row.number,
        "connection": row.connection,
        "to": masked(row.recipient) if hidden else row.recipient,
        "provider": row.kind,
        "provider_id": row.provider_id,
        "state": row.state,
        "prompts": row.turn,
        "answers": row.answers,
        "transcript": transcript(row),
        "task_id": row.task_id,
        "error": row.error,
        "created_at": _at(row.created_at),
        "dialed_at": _at(row.dialed_at),
        "ringing_at": _at(row.ringing_at),
        "answered_at": _at(row.answered_at),
        "ended_at": _at(row.ended_at),
        "duration_seconds": seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


def _at(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/v1/runs/{run_id}/calls",
        name="listCalls",
        summary="List the telephone calls of a run, with what was said",
        scope=Scope.READ,
        run=listed,
        answer=CallList,
    ),
)
