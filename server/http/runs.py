"""HTTP operations on runs, and the live stream of a run's events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response

from graphs import chatting, runs, watching
from graphs.admission import Timing
from graphs.definition import Json
from graphs.live import Shown
from graphs.runs import Run
from server import chats
from server.auth import Caller, Scope
from server.http.operations import Body, Call, Operation, Query, encode
from server.http.shapes.runs import RunDetail, RunEvents, RunFilterState, RunPage, Step, Trace
from server.views.runs import event_view, run_line, run_view, step_view
from store.errors import Invalid

PATH = "/api/v1/runs"
IDEMPOTENCY = ("Idempotency-Key", "makes a repeated request harmless: same key, same result")
MAX_KEY = 200  # characters


class ListQuery(Query):
    workflow: str | None = Field(default=None, max_length=64)
    state: RunFilterState | None = None
    mode: Literal["production", "test"] = "production"
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=200)


class WaitQuery(Query):
    wait_seconds: float = Field(default=0, ge=0, le=30, description="answer as soon as it finishes or needs somebody")


class PageQuery(Query):
    after: str | None = Field(default=None, max_length=600, description="`after` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class EventsQuery(Query):
    after: int = Field(default=0, ge=0, le=2**62, description="`seq` of the last event you have")
    limit: int = Field(default=100, ge=1, le=500)


class Start(Body):
    workflow: str = Field(min_length=1, max_length=64, description="name or id of a published workflow")
    input: Any = Field(default_factory=dict)
    version: int | None = Field(default=None, ge=1, description="without it the active version")
    wait_seconds: float = Field(default=0, ge=0, le=30, strict=False)
    delay: str | None = Field(default=None, max_length=40, description='begin that much later, like "2h"')
    deadline: str | None = Field(default=None, max_length=40, description="ISO 8601 instant by which it must be done")
    priority: int | None = Field(default=None, ge=-100, le=100, description="higher goes first")


def detail(run: Run) -> Json:
    """A run with its input and output."""
    return {**run_view(run), "input": run.input, "output": run.output}


async def _waited(caller: Caller, run: Run, seconds: float) -> Json:
    if seconds:
        run = await runs.wait(caller.runtime, caller.actor, run.id, seconds=seconds, until="settled")
    return detail(run)


async def start(call: Call[Start, Query]) -> Json:
    key = call.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid(f"Idempotency-Key must have 1 to {MAX_KEY} characters.")
    body, caller = call.body, call.caller
    timing = Timing(delay=body.delay, deadline=body.deadline, priority=body.priority)
    if body.workflow == chatting.WORKFLOW:
        turn = await chats.speak(caller, body.input, version=body.version, key=key, timing=timing)
        return await _waited(caller, await runs.get(caller.runtime, caller.actor, turn.run_id), body.wait_seconds)
    run = await runs.start(
        caller.runtime, caller.actor, workflow=body.workflow, input=body.input, version=body.version, idempotency_key=key, timing=timing
    )
    return await _waited(caller, run, body.wait_seconds)


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await runs.page(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    return {"runs": [run_line(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def get(call: Call[None, WaitQuery]) -> Json:
    run = await runs.get(call.caller.runtime, call.caller.actor, call.path["run_id"])
    return await _waited(call.caller, run, call.query.wait_seconds)


async def trace(call: Call[None, PageQuery]) -> Json:
    limit = call.query.limit
    steps = await runs.trace(call.caller.runtime, call.caller.actor, call.path["run_id"], limit=limit + 1, after=call.query.after)
    shown = steps[:limit]
    more = len(steps) > limit
    return {"steps": [step_view(step) for step in shown], "after": f"{shown[-1].position}@{shown[-1].attempt}" if more else None}


async def node(call: Call[None, Query]) -> Json:
    return step_view(await runs.node(call.caller.runtime, call.caller.actor, call.path["run_id"], call.path["node"]))


async def events(call: Call[None, EventsQuery]) -> Json | Response:
    """A page of events; with `Accept: text/event-stream` all of them as they come, until the run is finished."""
    runtime, actor, run_id = call.caller.runtime, call.caller.actor, call.path["run_id"]
    if "text/event-stream" in call.headers.get("accept", ""):
        await runs.get(runtime, actor, run_id)  # an unknown run must answer 404 before the stream begins
        return EventSourceResponse(_stream(call.caller, run_id, _last_event(call)), sep="\n")
    found = await runs.events(runtime, actor, run_id, after=call.query.after, limit=call.query.limit + 1)
    shown = found[: call.query.limit]
    return {"events": [event_view(item) for item in shown], "after": shown[-1].seq if len(found) > call.query.limit else None}


def shown_view(shown: Shown) -> Json:
    return {"position": shown.position, "name": shown.name, "data": shown.data}


def _last_event(call: Call[None, EventsQuery]) -> int:
    last = call.headers.get("last-event-id", "")
    if last and not (last.isdecimal() and len(last) < 19):
        raise Invalid("Last-Event-ID must be the id of an event of this stream.")
    return int(last) if last else call.query.after


async def _stream(caller: Caller, run_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    """Events in order, each with its `seq` as id, so that a client that reconnects goes on where it was; between them as `live`, without an
    id, what the run shows just now; then `end` with the run."""
    async for item in watching.along(caller.runtime, caller.actor, run_id, after=after):
        if isinstance(item, Shown):
            yield ServerSentEvent(encode(shown_view(item)).decode(), event="live", sep="\n")
        else:
            yield ServerSentEvent(encode(event_view(item)).decode(), event=item.type, id=str(item.seq), sep="\n")
    run = await runs.get(caller.runtime, caller.actor, run_id)
    yield ServerSentEvent(encode(run_view(run)).decode(), event="end", sep="\n")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path=PATH,
        name="startRun",
        summary="Start a published workflow",
        scope=Scope.RUN,
        run=start,
        answer=RunDetail,
        body=Start,
        headers=(IDEMPOTENCY,),
        status=201,
    ),
    Operation(
        method="GET",
        path=PATH,
        name="listRuns",
        summary="List runs, newest first",
        scope=Scope.READ,
        run=listed,
        answer=RunPage,
        query=ListQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}",
        name="getRun",
        summary="Read a run, if asked once it has news",
        scope=Scope.READ,
        run=get,
        answer=RunDetail,
        query=WaitQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/trace",
        name="getTrace",
        summary="List the steps of a run",
        scope=Scope.READ,
        run=trace,
        answer=Trace,
        query=PageQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/nodes/{{node:path}}",
        name="getNode",
        summary="Read the latest attempt of a step, by position or node id",
        scope=Scope.READ,
        run=node,
        answer=Step,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/events",
        name="getEvents",
        summary="List or stream the events of a run",
        scope=Scope.READ,
        run=events,
        answer=RunEvents,
        query=EventsQuery,
        headers=(("Last-Event-ID", "streams only: go on after this event"),),
        streams=True,
    ),
)
