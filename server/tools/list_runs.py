"""list_runs: the runs of the organization, newest first."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import runs
from server.answers import answer
from server.arguments import Cursor, Limit
from server.auth import Scope
from server.pages import listing
from server.tools import Ctx, caller_of, hints
from server.views.runs import run_line

DESCRIPTION = "List runs, newest first, filtered by workflow and state. dead: failed, because recovery gave up."
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ

State = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled", "dead"]


async def run(
    ctx: Ctx,
    workflow: Annotated[str | None, Field(max_length=64, description="workflow name")] = None,
    state: State | None = None,
    mode: Literal["production", "test"] = "production",
    limit: Limit = 20,
    cursor: Cursor = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await listing(
        "runs",
        lambda size: runs.page(caller.runtime, caller.actor, workflow=workflow, state=state, mode=mode, limit=size, cursor=cursor),
        run_line,
        limit,
    )
    if "next_cursor" in found:
        return answer(found, next="list_runs with the same arguments and cursor=next_cursor")
    return answer(found, next='get_run(run_id="…")' if found["runs"] else 'start_run(workflow="…")')
