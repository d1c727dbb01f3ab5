"""list_workflows: the workflows of the organization."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

from graphs import authoring, chatting
from server.answers import answer
from server.arguments import Cursor, Limit
from server.auth import Scope
from server.pages import listing
from server.tools import Ctx, caller_of, hints
from server.views.workflows import workflow_line

DESCRIPTION = "List workflows by name, with their published version."
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ
DESCRIBED = 'talk to Weft\'s assistant: start_run(workflow="chat", input={"message": "…"})'


async def run(
    ctx: Ctx,
    search: Annotated[str | None, Field(max_length=100, description="part of a name or description")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await listing(
        "workflows",
        lambda size: authoring.list(caller.runtime, caller.actor, search=search, limit=size, cursor=cursor),
        workflow_line,
        limit,
    )
    if not caller.actor.depth and cursor is None and (search or "") in chatting.WORKFLOW:
        found["comes_with_weft"] = [{"name": chatting.WORKFLOW, "description": DESCRIBED}]
    if "next_cursor" in found:
        return answer(found, next="list_workflows with the same arguments and cursor=next_cursor")
    return answer(found, next='get_workflow(workflow="…")' if found["workflows"] else "create_workflow(definition=…)")
