"""control_run: cancels, pauses, resumes or retries a run."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import runs
from server.answers import answer
from server.arguments import RunId
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from server.views import next_for, run_line

DESCRIPTION = "Cancel, pause or resume a run, or retry a failed one from the step that failed."
ANNOTATIONS = hints(read_only=False, destructive=True)
SCOPE = Scope.RUN


async def run(
    ctx: Ctx,
    run_id: RunId,
    action: Annotated[Literal["cancel", "pause", "resume", "retry"], Field(description="retry keeps finished steps; cancel is final")],
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await runs.control(caller.runtime, caller.actor, run_id, action)
    return answer(run_line(found), next=next_for(found))
