"""validate_workflow: every problem of a definition at once, each with its place and its fix."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

from graphs import authoring
from server.answers import answer
from server.arguments import Document
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from server.views.workflows import problems_view
from store.errors import Invalid

DESCRIPTION = (
    "Check a definition, or the draft of a saved workflow, without saving or running anything. All problems come at"
    " once, each with a JSON Pointer and, where there is one, a JSON Patch that fixes it."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.AUTHOR
CORE = True


async def run(
    ctx: Ctx,
    definition: Document | None = None,
    name: Annotated[str | None, Field(min_length=1, max_length=64, description="instead of a definition: a saved workflow")] = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    if (definition is None) == (name is None):
        raise Invalid("Give either definition or name, and not both.")
    if name is not None:
        definition = (await authoring.get(caller.runtime, caller.actor, name)).draft
    report = await authoring.check(caller.runtime, caller.actor, definition)
    if report.ok:
        follow = f'test_workflow(workflow="{name}", input=…)' if name else "create_workflow(definition=…)"
    else:
        follow = f'edit_workflow(workflow="{name}", patch=…, base_revision=…)' if name else "apply the patches and validate_workflow again"
    return answer({"valid": report.ok, **problems_view(report)}, next=follow)
