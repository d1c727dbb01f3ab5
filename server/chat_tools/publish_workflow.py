"""publish_workflow for agents: of the very draft that a person has seen when they agreed."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult, InputRequiredResult
from pydantic import Field

from server.arguments import WorkflowName
from server.tools import Ctx
from server.tools.publish_workflow import ANNOTATIONS, DESCRIPTION, SCOPE, publish

__all__ = ["ANNOTATIONS", "DESCRIPTION", "SCOPE", "run"]


async def run(
    ctx: Ctx,
    workflow: WorkflowName,
    revision: Annotated[int | None, Field(ge=1, description="revision of the draft, from get_workflow or edit_workflow")] = None,
    note: Annotated[str, Field(max_length=500, description="what changed")] = "",
) -> CallToolResult | InputRequiredResult:
    return await publish(ctx, workflow, note, revision=revision)
