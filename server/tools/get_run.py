"""get_run: what a run is doing, did and gave, as it was at any step, and what differs between two; may wait for news."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import history, runs
from graphs.runs import Run
from server.answers import answer
from server.arguments import Offset, RunId
from server.auth import Caller, Scope
from server.excerpts import PORTION, portion
from server.pages import fitting
from server.tools import Ctx, caller_of, hints
from server.views.runs import difference_view, effect_view, event_view, next_for, past_view, step_line, step_view
from server.waiting import answer_run, settle
from store.errors import Invalid

DESCRIPTION = (
    "Read a run: status and output, trace of its steps, one node, events, effects on the world, the state at any step, or a "
    "diff of two as JSON Patch. wait_seconds: answers once it finishes or needs somebody."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ
CORE = True

View = Literal["status", "trace", "node", "events", "effects", "state", "diff", "payload"]


async def run(
    ctx: Ctx,
    run_id: RunId,
    view: View = "status",
    node: Annotated[
        str | None, Field(max_length=500, description='node id or position "each[3]/ship"; state, diff: also "ship@2"; payload: digest')
    ] = None,
    other: Annotated[str | None, Field(max_length=600, description='diff: position, or "run id" or "run id@position"')] = None,
    moment: Annotated[Literal["before", "after"], Field(description="state, diff: before or after the step")] = "before",
    wait_seconds: Annotated[float, Field(ge=0, le=25, description="wait this long")] = 0,
    after: Annotated[str | None, Field(max_length=600, description="where the page before ended")] = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
    offset: Offset = 0,
) -> CallToolResult:
    caller = caller_of(ctx)
    found = await settle(ctx, run_id, wait_seconds) if wait_seconds else await runs.get(caller.runtime, caller.actor, run_id)
    if view in ("trace", "events", "effects"):
        return await {"trace": _trace, "events": _events, "effects": _effects}[view](caller, found, after, limit)
    if view == "node":
        return await _node(caller, found.id, node, offset)
    if view == "payload":
        return await _payload(caller, found, node, offset)
    if view in ("state", "diff"):
        return await _past(caller, found, view, node, other, moment, offset)
    return answer_run(found, offset)


async def _node(caller: Caller, run_id: str, node: str | None, offset: int) -> CallToolResult:
    if node is None:
        raise Invalid('view="node" needs `node`: a node id or a position from the trace.')
    step = step_view(await runs.node(caller.runtime, caller.actor, run_id, node))
    part = portion(step, offset, f'get_run(run_id="{run_id}", view="node", node="{node}", offset={{offset}})')
    return answer(part.get("value") or part, next=part.get("more") or f'get_run(run_id="{run_id}", view="trace")')


async def _payload(caller: Caller, run: Run, digest: str | None, offset: int) -> CallToolResult:
    if digest is None:
        raise Invalid('view="payload" needs `node`: the digest that view="node" shows for a large value.')
    part = await history.payload(caller.runtime, caller.actor, run.id, digest, offset=offset, limit=PORTION * 3 // 4)
    shown = portion(part.text, 0, "").get("value") or portion(part.text, 0, "")["text"]
    end = offset + len(shown)
    more = f'get_run(run_id="{run.id}", view="payload", node="{digest}", offset={end})' if end < part.size else next_for(run)
    return answer({"text": shown, "offset": offset, "total_chars": part.size}, next=more)


async def _past(caller: Caller, run: Run, view: str, node: str | None, other: str | None, moment: Any, offset: int) -> CallToolResult:
    if view == "state":
        shown = past_view(await history.state(caller.runtime, caller.actor, run.id, node, moment))
    else:
        shown = difference_view(await history.diff(caller.runtime, caller.actor, run.id, node, other, moment))
    part = portion(shown, offset, "the same call with offset={offset}")
    return answer(part.get("value") or part, next=part.get("more") or f'control_run(run_id="{run.id}", action="fork", node=…)')


async def _trace(caller: Caller, run: Run, after: str | None, limit: int) -> CallToolResult:
    async def fetch(size: int) -> tuple[list[Any], str | None]:
        steps = await runs.trace(caller.runtime, caller.actor, run.id, limit=size + 1, after=after)
        shown = steps[:size]
        return [step_line(step) for step in shown], f"{shown[-1].position}@{shown[-1].attempt}" if len(steps) > size else None

    lines, mark = await fitting(fetch, limit)
    return _page(run, "trace", "steps", lines, mark)


async def _events(caller: Caller, run: Run, after: str | None, limit: int) -> CallToolResult:
    last = _number(after, "events")

    async def fetch(size: int) -> tuple[list[Any], str | None]:
        events = await runs.events(caller.runtime, caller.actor, run.id, after=last, limit=size + 1)
        shown = events[:size]
        return [event_view(event) for event in shown], str(shown[-1].seq) if len(events) > size else None

    lines, mark = await fitting(fetch, limit)
    return _page(run, "events", "events", lines, mark)


async def _effects(caller: Caller, run: Run, after: str | None, limit: int) -> CallToolResult:
    last = _number(after, "effects")

    async def fetch(size: int) -> tuple[list[Any], str | None]:
        effects = await history.effects(caller.runtime, caller.actor, run.id, after=last, limit=size + 1)
        shown = effects[:size]
        return [effect_view(effect) for effect in shown], str(shown[-1].seq) if len(effects) > size else None

    lines, mark = await fitting(fetch, limit)
    return _page(run, "effects", "effects", lines, mark)


def _number(after: str | None, what: str) -> int:
    if after is not None and not (after.isdecimal() and len(after) < 19):
        raise Invalid(f"`after` of {what} is a number, as the page before gave it.")
    return int(after or 0)


def _page(run: Run, view: str, key: str, lines: list[Any], mark: str | None) -> CallToolResult:
    head = {"run_id": run.id, "state": run.state, key: lines, **({"after": mark} if mark else {})}
    return answer(head, next=f'get_run(run_id="{run.id}", view="{view}", after="{mark}")' if mark else next_for(run))
