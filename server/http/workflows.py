"""HTTP operations on workflows."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import authoring
from graphs.checks import Report
from graphs.definition import Json
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes.workflows import Checked, PublishedVersion, Saved, Versions, WorkflowDetail, WorkflowDiff, WorkflowPage
from server.views.workflows import version_view, workflow_line
from store.errors import Invalid

PATH = "/api/v1/workflows"


class ListQuery(Query):
    search: str | None = Field(default=None, max_length=100, description="part of a name or description")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=200)


class VersionQuery(Query):
    version: int | None = Field(default=None, ge=1, description="a published version; without it the draft")


class DiffQuery(Query):
    first: int | None = Field(default=None, ge=1, alias="from", description="a published version; without it the draft")
    second: int | None = Field(default=None, ge=1, alias="to", description="a published version; without it the draft")


class Definition(Body):
    definition: dict[str, Any] | str = Field(description="the definition, or its JSON or YAML text")


class Edit(Body):
    patch: list[dict[str, Any]] = Field(min_length=1, max_length=500, description="JSON Patch (RFC 6902)")
    base_revision: int = Field(ge=1)


class Publication(Body):
    note: str = Field(default="", max_length=500)


def _problems(report: Report) -> list[Json]:
    return [item.as_json() for item in report.diagnostics]


def _refuse(report: Report) -> None:
    """Raises Invalid with every problem when there is an error among them."""
    if not report.ok:
        errors = sum(item.severity == "error" for item in report.diagnostics)
        raise Invalid(
            f"The definition has {errors} problem{'s' if errors != 1 else ''}; each says where and how to fix it.",
            problems=_problems(report),
        )


async def listed(call: Call[None, ListQuery]) -> Json:
    page = await authoring.list(call.caller.runtime, call.caller.actor, **call.query.model_dump())
    return {"workflows": [workflow_line(item) for item in page.items], "total": page.total, "next_cursor": page.next_cursor}


async def get(call: Call[None, VersionQuery]) -> Json:
    runtime, actor, version = call.caller.runtime, call.caller.actor, call.query.version
    found = await authoring.get(runtime, actor, call.path["name"])
    return {
        **workflow_line(found),
        "id": found.id,
        "description": found.description,
        "version": version,
        "definition": await authoring.document(runtime, actor, found, version),
    }


async def versions(call: Call[None, Query]) -> Json:
    found = await authoring.get(call.caller.runtime, call.caller.actor, call.path["name"])
    return {"versions": [version_view(item) for item in await authoring.versions(call.caller.runtime, call.caller.actor, found)]}


async def diff(call: Call[None, DiffQuery]) -> Json:
    runtime, actor = call.caller.runtime, call.caller.actor
    first, second = call.query.first, call.query.second
    found = await authoring.get(runtime, actor, call.path["name"])
    before = await authoring.document(runtime, actor, found, first)
    after = await authoring.document(runtime, actor, found, second)
    return {"first": first, "second": second, "patch": authoring.diff(before, after)}


async def create(call: Call[Definition, Query]) -> Json:
    workflow, report = await authoring.create(call.caller.runtime, call.caller.actor, call.body.definition)
    _refuse(report)
    assert workflow is not None  # noqa: S101 - create saves whatever has no errors
    return {"workflow": workflow.name, "id": workflow.id, "revision": workflow.revision, "warnings": _problems(report)}


async def edit(call: Call[Edit, Query]) -> Json:
    body = call.body
    workflow, report = await authoring.edit(call.caller.runtime, call.caller.actor, call.path["name"], body.patch, body.base_revision)
    _refuse(report)
    return {"workflow": workflow.name, "id": workflow.id, "revision": workflow.revision, "warnings": _problems(report)}


async def publish(call: Call[Publication, Query]) -> Json:
    version = await authoring.publish(call.caller.runtime, call.caller.actor, call.path["name"], call.body.note)
    found = await authoring.get(call.caller.runtime, call.caller.actor, call.path["name"])
    return {"workflow": found.name, "version": version.number}


async def validate(call: Call[Definition, Query]) -> Json:
    report = await authoring.check(call.caller.runtime, call.caller.actor, call.body.definition)
    errors = sum(item.severity == "error" for item in report.diagnostics)
    return {"valid": report.ok, "errors": errors, "warnings": len(report.diagnostics) - errors, "problems": _problems(report)}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=PATH,
        name="listWorkflows",
        summary="List workflows by name",
        scope=Scope.READ,
        run=listed,
        answer=WorkflowPage,
        query=ListQuery,
    ),
    Operation(
        method="POST",
        path=PATH,
        name="createWorkflow",
        summary="Save a new workflow as a draft",
        scope=Scope.AUTHOR,
        run=create,
        answer=Saved,
        body=Definition,
        status=201,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/validate",
        name="validateWorkflow",
        summary="Check a definition and save nothing",
        scope=Scope.AUTHOR,
        run=validate,
        answer=Checked,
        body=Definition,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{name}}",
        name="getWorkflow",
        summary="Read a workflow and its definition",
        scope=Scope.READ,
        run=get,
        answer=WorkflowDetail,
        query=VersionQuery,
    ),
    Operation(
        method="PATCH",
        path=f"{PATH}/{{name}}",
        name="editWorkflow",
        summary="Change the draft by JSON Patch, all or nothing",
        scope=Scope.AUTHOR,
        run=edit,
        answer=Saved,
        body=Edit,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{name}}/versions",
        name="listVersions",
        summary="List the published versions",
        scope=Scope.READ,
        run=versions,
        answer=Versions,
    ),
    Operation(
        method="GET",
        path=f"{PATH}/{{name}}/diff",
        name="diffWorkflow",
        summary="Compare two versions, or one and the draft, as JSON Patch",
        scope=Scope.READ,
        run=diff,
        answer=WorkflowDiff,
        query=DiffQuery,
    ),
    Operation(
        method="POST",
        path=f"{PATH}/{{name}}/publish",
        name="publishWorkflow",
        summary="Publish the draft as the next version",
        scope=Scope.AUTHOR,
        run=publish,
        answer=PublishedVersion,
        body=Publication,
        status=201,
    ),
)
