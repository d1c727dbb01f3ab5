"""HTTP operations that steer runs: one, or all that a filter finds."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Json
from server import ordering
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.runs import PATH, detail
from server.http.shapes.runs import RunDetail, Swept
from server.ordering import Action, Many, RunFilter, Version


class Control(Body):
    action: Action
    node: str | None = Field(default=None, max_length=500, description="skip, fork: a position or node id")
    output: Any = Field(default=None, description="skip: the output of the step")
    edits: dict[str, Any] | None = Field(default=None, description="fork: position -> another output; what follows runs anew")
    vars: dict[str, Any] | None = Field(default=None, description="fork: run variables to change")
    input: Any = Field(default=None, description="fork, rerun: another input")
    version: Version | None = Field(default=None, description="fork, rerun: number, active or draft; without it the run's own")
    compensate: bool | None = Field(default=None, description="cancel: undo first what was done")


class Bulk(Body):
    action: Many
    filter: RunFilter = Field(strict=False)
    expect: int | None = Field(default=None, ge=0, description="the count; without it the runs are only counted")
    compensate: bool | None = Field(default=None, description="cancel: undo first what was done")


async def control(call: Call[Control, Query]) -> Json:
    arguments = call.body.model_dump()
    wanted = ordering.order(arguments.pop("action"), **arguments)
    return detail(await ordering.carry_out(call.caller, call.path["run_id"], wanted))


async def bulk(call: Call[Bulk, Query]) -> Json:
    body = call.body
    return await ordering.sweep(call.caller, body.action, ordering.as_filter(body.filter), expect=body.expect, compensate=body.compensate)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path=f"{PATH}/{{run_id}}/control",
        name="controlRun",
        summary="Steer a run, repeat it, or continue it differently",
        scope=Scope.RUN,
        run=control,
        answer=RunDetail,
        body=Control,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/bulk",
        name="controlRuns",
        summary="Steer all runs that a filter finds; first they are only counted",
        scope=Scope.RUN,
        run=bulk,
        answer=Swept,
        body=Bulk,
    ),
)
