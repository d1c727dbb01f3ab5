"""list_tasks: questions that runs have put to people."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import tasks
from server.answers import answer
from server.arguments import Cursor, Limit
from server.auth import Scope
from server.pages import listing
from server.tools import Ctx, caller_of, hints
from server.views.tasks import task_view

DESCRIPTION = "List approvals and other questions that runs wait on, with the form each answer must fit."
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ


async def run(
    ctx: Ctx,
    state: Literal["open", "answered", "expired", "cancelled"] = "open",
    run_id: Annotated[str | None, Field(max_length=64, description="only of this run")] = None,
    assigned_to: Annotated[str | None, Field(max_length=100, description="user or group")] = None,
    limit: Limit = 10,
    cursor: Cursor = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await listing(
        "tasks",
        lambda size: tasks.page(
            caller.runtime, caller.actor, state=state, run_id=run_id, assigned_to=assigned_to, limit=size, cursor=cursor
        ),
        task_view,
        limit,
    )
    if "next_cursor" in found:
        return answer(found, next="list_tasks with the same arguments and cursor=next_cursor")
    return answer(found, next='answer_task(task_id="…")' if found["tasks"] else 'list_runs(state="waiting")')
