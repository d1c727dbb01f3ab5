"""HTTP operations on what drives runs: the workers, and how many runs of the caller's organization may be driven at once."""

from __future__ import annotations

from pydantic import Field

from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.workers import OrganizationDetail, WorkerList
from store import identities, workers
from store.identities import Organization

ORGANIZATION = "/api/v1/organization"


class OrganizationChange(Body):
    max_running: int | None = Field(ge=1, le=identities.MAX_RUNNING, description="runs driven at once; null for no limit")


async def listed(call: Call[None, Query]) -> Json:
    found = await workers.listed(call.caller.runtime.database)
    fields = ("host", "pid", "version", "state", "driving", "slots")
    return {
        "workers": [
            {
                **{name: getattr(worker, name) for name in fields},
                "started_at": worker.started_at.isoformat(),
                "seen_at": worker.seen_at.isoformat(),
            }
            for worker in found
        ]
    }


async def organization(call: Call[None, Query]) -> Json:
    return _view(await identities.get_organization(call.caller.actor.tenant))


async def change(call: Call[OrganizationChange, Query]) -> Json:
    return _view(await identities.limit_organization(call.caller.actor.tenant, call.body.max_running))


def _view(found: Organization) -> Json:
    return {"slug": found.slug, "name": found.name, "max_running": found.max_running, "created_at": found.created_at.isoformat()}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/v1/workers",
        name="listWorkers",
        summary="List the processes that drive runs",
        scope=Scope.ADMIN,
        run=listed,
        answer=WorkerList,
    ),
    Operation(
        method="GET",
        path=ORGANIZATION,
        name="getOrganization",
        summary="Read your organization and its limit",
        scope=Scope.ADMIN,
        run=organization,
        answer=OrganizationDetail,
    ),
    Operation(
        method="PATCH",
        path=ORGANIZATION,
        name="limitOrganization",
        summary="Limit how many runs are driven at once",
        scope=Scope.ADMIN,
        run=change,
        answer=OrganizationDetail,
        body=OrganizationChange,
    ),
)
