"""HTTP operations on circuits: which targets are doing badly, and how often one may be called."""

from __future__ import annotations

from pydantic import Field

from graphs import circuits
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.circuits import CircuitDetail, CircuitPage, CircuitState
from server.views.circuits import circuit_view

PATH = "/api/v1/circuits"
ONE = f"{PATH}/{{target:path}}"


class ListQuery(Query):
    state: CircuitState | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=1000)


class RateLimit(Body):
    rate: str = Field(max_length=20, description="10/s, 600/min or 1000/h")
    burst: int | None = Field(default=None, ge=1, le=1_000_000, description="calls at once; without it those of one second")


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await circuits.page(call.caller.actor.tenant, **call.query.model_dump())
    return {"circuits": [circuit_view(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def reset(call: Call[None, Query]) -> Json:
    found = await circuits.reset(call.caller.actor.tenant, circuits.target(call.path["target"]))
    circuits.forget(call.caller.runtime, call.caller.actor)
    return circuit_view(found)


async def limit(call: Call[RateLimit, Query]) -> Json:
    key = circuits.target(call.path["target"])
    found = await circuits.limit(call.caller.actor.tenant, key, call.body.rate, call.body.burst)
    circuits.forget(call.caller.runtime, call.caller.actor)
    return circuit_view(found)


async def unlimit(call: Call[None, Query]) -> Json:
    found = await circuits.unlimit(call.caller.actor.tenant, circuits.target(call.path["target"]))
    circuits.forget(call.caller.runtime, call.caller.actor)
    return circuit_view(found)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listCircuits",
        summary="List what is known of the targets that steps call",
        scope=Scope.READ,
        run=listed,
        answer=CircuitPage,
        query=ListQuery,
    ),
    Operation(
        method="POST",
        path=f"{ONE}/reset",
        name="resetCircuit",
        summary="Let calls to a target through again",
        scope=Scope.RUN,
        run=reset,
        answer=CircuitDetail,
    ),
    Operation(
        method="PUT",
        path=f"{ONE}/limit",
        name="limitCircuit",
        summary="Set how often a target may be called",
        scope=Scope.AUTHOR,
        run=limit,
        answer=CircuitDetail,
        body=RateLimit,
    ),
    Operation(
        method="DELETE",
        path=f"{ONE}/limit",
        name="unlimitCircuit",
        summary="Remove the rate limit of a target",
        scope=Scope.AUTHOR,
        run=unlimit,
        answer=CircuitDetail,
    ),
)
