"""edit_workflow: changes a draft by JSON Patch, all or nothing."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult
from pydantic import Field

from graphs import authoring
from server.answers import answer
from server.arguments import WorkflowName
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from server.views.workflows import problems_view, remarks_view

DESCRIPTION = (
    "Change a workflow's draft by JSON Patch, all or nothing; refused when the result has errors or when somebody "
    "changed the draft after base_revision. Published versions stay as they are."
)
ANNOTATIONS = hints(read_only=False, idempotent=False)
SCOPE = Scope.AUTHOR

Patch = Annotated[
    list[dict[str, Any]],
    Field(
        min_length=1,
        max_length=500,
        description='e.g. [{"op":"replace","path":"/nodes/0/config/url","value":"https://…"}]; "/nodes/-" appends',
    ),
]


async def run(
    ctx: Ctx,
    workflow: WorkflowName,
    patch: Patch,
    base_revision: Annotated[int, Field(ge=1, description="revision the patch was written for, from get_workflow")],
) -> CallToolResult:
    caller = caller_of(ctx)
    edited, report = await authoring.edit(caller.runtime, caller.actor, workflow, patch, base_revision)
    if not report.ok:
        kept = {"saved": False, "workflow": edited.name, "revision": edited.revision}
        return answer({**kept, **problems_view(report)}, next="correct the patch and call edit_workflow again with the same base_revision")
    saved = {"saved": True, "workflow": edited.name, "revision": edited.revision}
    return answer({**saved, **remarks_view(report)}, next=f'test_workflow(workflow="{edited.name}", input=…)')
