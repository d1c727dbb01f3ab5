"""create_workflow: saves a new workflow as a draft."""

from __future__ import annotations

from mcp.types import CallToolResult

from graphs import authoring
from server.answers import answer
from server.arguments import Document
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from server.views.workflows import problems_view, remarks_view

DESCRIPTION = (
    "Save a new workflow as a draft (revision 1). Refused with all problems at once when the definition has errors."
    " Nothing runs until publish_workflow."
)
ANNOTATIONS = hints(read_only=False, idempotent=False)
SCOPE = Scope.AUTHOR
CORE = True


async def run(ctx: Ctx, definition: Document) -> CallToolResult:
    caller = caller_of(ctx)
    workflow, report = await authoring.create(caller.runtime, caller.actor, definition)
    if workflow is None:
        return answer({"saved": False, **problems_view(report)}, next="apply the patches, then create_workflow(definition=…) again")
    saved = {"saved": True, "workflow": workflow.name, "id": workflow.id, "revision": workflow.revision}
    return answer({**saved, **remarks_view(report)}, next=f'test_workflow(workflow="{workflow.name}", input=…)')
