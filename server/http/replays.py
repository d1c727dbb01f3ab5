"""HTTP operations that replay runs, hand out their cassettes, and mend what failed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from graphs import cassettes, fixing, replaying
from graphs.definition import Json
from graphs.documents import is_text, parse
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.runs import PATH
from server.http.shapes.replays import Mended, Recorded, ReplayReport
from server.ordering import Version

LINES = "application/x-ndjson"


class ReplayOrder(Body):
    definition: Any = Field(default=None, description="what to replay on: an object, or JSON or YAML as text; without it what the run ran")
    workflow: str | None = Field(default=None, min_length=1, max_length=64, description="or a saved workflow: its draft, or its `version`")
    version: Version | None = Field(default=None, description="of `workflow`, or of the run's own: number, active or draft")
    on_divergence: Literal["stop", "simulate"] = Field(
        default="stop", description="where something else is asked: stop, or go on with a mock, a pin or a sample"
    )
    mocks: dict[str, Any] | None = Field(default=None, description="node id -> output")


class FixOrder(Body):
    patch: list[dict[str, Any]] | None = Field(
        default=None, min_length=1, description="JSON Patch of the run's definition; without it the model is asked"
    )
    live_reads: bool = Field(default=False, description="the failing call may be made for real when it is another one now and only reads")
    mocks: dict[str, Any] | None = Field(default=None, description="with patch: node id -> output, for steps of which nothing is recorded")
    model: str | None = Field(default=None, max_length=200, description="vendor:name; without it the default")


class CassetteQuery(Query):
    redact: bool = Field(default=False, description="masks e-mail addresses and phone numbers")


async def replay(call: Call[ReplayOrder, Query]) -> Json:
    caller, body, run_id = call.caller, call.body, call.path["run_id"]
    document = parse(body.definition) if is_text(body.definition) else body.definition
    on = await replaying.target(caller.runtime, caller.actor, run_id, definition=document, workflow=body.workflow, version=body.version)
    found = await replaying.replay(caller.runtime, caller.actor, run_id, on, on_divergence=body.on_divergence, mocks=body.mocks)
    return replaying.report_of(found)


async def cassette(call: Call[None, CassetteQuery]) -> Response:
    caller = call.caller
    recording = await replaying.recording_of(caller.runtime, caller.actor, call.path["run_id"])
    if call.query.redact:
        recording = cassettes.redacted(recording)
    return Response("".join(line + "\n" for line in cassettes.lines(recording)).encode(), media_type=LINES)


async def fix(call: Call[FixOrder, Query]) -> Json:
    caller, body, run_id = call.caller, call.body, call.path["run_id"]
    if body.patch is not None:
        found = await fixing.propose(caller.runtime, caller.actor, run_id, body.patch, live_reads=body.live_reads, mocks=body.mocks)
    else:
        found = await fixing.ask(caller.runtime, caller.actor, run_id, model=body.model, live_reads=body.live_reads)
    return fixing.proposal_of(found)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path=f"{PATH}/{{run_id}}/replay",
        name="replayRun",
        summary="Run a past run again from its recording, and say where it parts",
        scope=Scope.AUTHOR,
        run=replay,
        answer=ReplayReport,
        body=ReplayOrder,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/cassette",
        name="getCassette",
        summary="Get the recording of a run as lines of JSON",
        scope=Scope.AUTHOR,
        run=cassette,
        answer=Recorded,
        query=CassetteQuery,
        media=LINES,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/{{run_id}}/fix",
        name="fixRun",
        summary="Verify a patch for a failed run by replaying it, or ask the model for one",
        scope=Scope.AUTHOR,
        run=fix,
        answer=Mended,
        body=FixOrder,
    ),
)
