"""get_run: what a run is doing, did and gave; may wait for news."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import runs
from server.answers import answer, portion
from server.arguments import Offset, RunId
from server.auth import Caller, Scope
from server.pages import fitting
from server.tools import Ctx, caller_of, hints
from server.views import event_view, next_for, step_line, step_view
from server.waiting import answer_run, settle
from store.errors import Invalid

DESCRIPTION = (
    "Read a run: status and output, trace of its steps, one node in full, or its events. With wait_seconds it "
    "answers as soon as the run finishes or needs somebody."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ
CORE = True

View = Annotated[Literal["status", "trace", "node", "events"], Field(description="what to show")]


async def run(
    ctx: Ctx,
    run_id: RunId,
    view: View = "status",
    node: Annotated[str | None, Field(max_length=500, description='view "node": node id or position, e.g. "each[3]/ship"')] = None,
    wait_seconds: Annotated[float, Field(ge=0, le=25, description="wait this long for it to finish or to need somebody")] = 0,
    after: Annotated[str | None, Field(max_length=600, description='views "trace" and "events": where the page before ended')] = None,
    limit: Annotated[int, Field(ge=1, le=200, description='views "trace" and "events": rows')] = 50,
    offset: Offset = 0,
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await settle(ctx, run_id, wait_seconds) if wait_seconds else await runs.get(caller.runtime, caller.actor, run_id)
    if view == "node":
        return await _node(caller, found.id, node, offset)
    if view == "trace":
        return await _trace(caller, found, after, limit)
    if view == "events":
        return await _events(caller, found, after, limit)
    return answer_run(found, offset)


async def _node(caller: Caller, run_id: str, node: str | None, offset: int) -> CallToolResult:
    if node is None:
        raise Invalid('view="node" needs `node`: a node id or a position from the trace.')
    step = step_view(await runs.node(caller.runtime, caller.actor, run_id, node))
    part = portion(step, offset, f'get_run(run_id="{run_id}", view="node", node="{node}", offset={{offset}})')
    return answer(part.get("value") or part, next=part.get("more") or f'get_run(run_id="{run_id}", view="trace")')


async def _trace(caller: Caller, run: Any, after: str | None, limit: int) -> CallToolResult:
    async def fetch(size: int) -> tuple[list[Any], str | None]:
        steps = await runs.trace(caller.runtime, caller.actor, run.id, limit=size + 1, after=after)
        shown = steps[:size]
        return [step_line(step) for step in shown], f"{shown[-1].position}@{shown[-1].attempt}" if len(steps) > size else None

    lines, mark = await fitting(fetch, limit)
    head = {"run_id": run.id, "state": run.state, "steps": lines, **({"after": mark} if mark else {})}
    return answer(head, next=f'get_run(run_id="{run.id}", view="trace", after="{mark}")' if mark else next_for(run))


async def _events(caller: Caller, run: Any, after: str | None, limit: int) -> CallToolResult:
    if after is not None and not after.isdecimal():
        raise Invalid("`after` of events is a number: the `seq` of the last event you have.")

    async def fetch(size: int) -> tuple[list[Any], str | None]:
        events = await runs.events(caller.runtime, caller.actor, run.id, after=int(after or 0), limit=size + 1)
        shown = events[:size]
        return [event_view(event) for event in shown], str(shown[-1].seq) if len(events) > size else None

    lines, mark = await fitting(fetch, limit)
    head = {"run_id": run.id, "state": run.state, "events": lines, **({"after": mark} if mark else {})}
    return answer(head, next=f'get_run(run_id="{run.id}", view="events", after="{mark}")' if mark else next_for(run))
