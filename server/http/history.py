"""HTTP operations on the past of a run: the state at any step, differences, effects, large values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from graphs import history
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Call, Operation, Query
from server.http.runs import PATH
from server.http.shapes.runs import Effects, PayloadPart, RunDiff, RunPast
from server.views.runs import difference_view, effect_view, past_view


class StateQuery(Query):
    node: str | None = Field(default=None, max_length=500, description='node id, position, or "position@attempt"; without it the state now')
    moment: Literal["before", "after"] = Field(default="before", description="before the step began, or after it had ended")


class DiffQuery(StateQuery):
    other: str | None = Field(default=None, max_length=600, description='a position of this run, or "run id" or "run id@position"')


class EffectsQuery(Query):
    after: int = Field(default=0, ge=0, le=2**62, description="`after` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class PayloadQuery(Query):
    offset: int = Field(default=0, ge=0, le=2**31 - 2)
    limit: int = Field(default=65_536, ge=1, le=1_000_000, description="characters")


async def state(call: Call[None, StateQuery]) -> Json:
    query = call.query
    return past_view(await history.state(call.caller.runtime, call.caller.actor, call.path["run_id"], query.node, query.moment))


async def diff(call: Call[None, DiffQuery]) -> Json:
    query = call.query
    found = await history.diff(call.caller.runtime, call.caller.actor, call.path["run_id"], query.node, query.other, query.moment)
    return difference_view(found)


async def effects(call: Call[None, EffectsQuery]) -> Json:
    limit = call.query.limit
    found = await history.effects(call.caller.runtime, call.caller.actor, call.path["run_id"], after=call.query.after, limit=limit + 1)
    shown = found[:limit]
    return {"effects": [effect_view(item) for item in shown], "after": shown[-1].seq if len(found) > limit else None}


async def payload(call: Call[None, PayloadQuery]) -> Json:
    query, path = call.query, call.path
    part = await history.payload(
        call.caller.runtime, call.caller.actor, path["run_id"], path["digest"], offset=query.offset, limit=query.limit
    )
    return {"text": part.text, "offset": query.offset, "total_chars": part.size}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/state",
        name="getState",
        summary="Read the state as it was at any step",
        scope=Scope.READ,
        run=state,
        answer=RunPast,
        query=StateQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/diff",
        name="diffRun",
        summary="Compare two moments of a run, or of two runs, as JSON Patch",
        scope=Scope.READ,
        run=diff,
        answer=RunDiff,
        query=DiffQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/effects",
        name="getEffects",
        summary="List what a run did to the world, and what is known of it",
        scope=Scope.READ,
        run=effects,
        answer=Effects,
        query=EffectsQuery,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{run_id}}/payloads/{{digest}}",
        name="getPayload",
        summary="Read part of a large value of a run",
        scope=Scope.READ,
        run=payload,
        answer=PayloadPart,
        query=PayloadQuery,
    ),
)
