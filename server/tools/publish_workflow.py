"""publish_workflow: makes the draft the next version that runs use."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult, InputRequiredResult
from pydantic import Field

from graphs import authoring
from server.answers import answer
from server.arguments import WorkflowName
from server.auth import Scope
from server.inviting import invited
from server.tools import Ctx, caller_of, hints

DESCRIPTION = "Publish the draft as the next version, which never changes and which new runs use. Runs already started keep theirs."
ANNOTATIONS = hints(read_only=False, idempotent=False)
SCOPE = Scope.AUTHOR


async def run(
    ctx: Ctx, workflow: WorkflowName, note: Annotated[str, Field(max_length=500, description="what changed")] = ""
) -> CallToolResult | InputRequiredResult:
    return await publish(ctx, workflow, note)


async def publish(ctx: Ctx, workflow: str, note: str, *, revision: int | None = None) -> CallToolResult | InputRequiredResult:
    """`revision`: only that of the draft."""
    caller = caller_of(ctx)
    lacking = await invited(ctx, caller, (await authoring.get(caller.runtime, caller.actor, workflow)).draft)
    if isinstance(lacking, InputRequiredResult):
        return lacking
    version = await authoring.publish(caller.runtime, caller.actor, workflow, note, revision=revision)
    await ctx.notify_tools_changed()
    await ctx.notify_resources_changed()
    found = await authoring.get(caller.runtime, caller.actor, workflow)
    body: dict[str, Any] = {"workflow": found.name, "version": version.number}
    if lacking.items:
        body["connections_missing"] = lacking.view()
    return answer(body, next=f'start_run(workflow="{found.name}", input=…)')
