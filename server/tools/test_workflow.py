"""test_workflow: runs a draft without side effects and shows what happened."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult, InputRequiredResult
from pydantic import Field

from graphs import authoring, replaying, runs
from graphs.runs import Run
from server.answers import answer
from server.arguments import Document, Input
from server.auth import Caller, Scope
from server.excerpts import preview
from server.inviting import Missing, invited
from server.tools import Ctx, caller_of, hints
from server.views.runs import next_for, run_view, step_line
from server.views.workflows import problems_view
from server.waiting import settle
from store.errors import Invalid

DESCRIPTION = (
    "Run a draft or a definition as a test: nothing is published, `mocks` and pins stand in for steps, and steps "
    "with side effects are not done. from_run repeats a past run on it from its recording and says where they part."
)
ANNOTATIONS = hints(read_only=False, idempotent=False, open_world=True)
SCOPE = Scope.AUTHOR

MAX_WAIT = 20.0  # seconds
SHOWN = 60  # steps of the trace


async def run(
    ctx: Ctx,
    workflow: Annotated[str | None, Field(min_length=1, max_length=64, description="a saved workflow: its draft is tested")] = None,
    definition: Document | None = None,
    input: Input = None,
    mocks: Annotated[
        dict[str, Any] | None, Field(description='node id -> output to use instead of doing the step, e.g. {"ask": {"approved": true}}')
    ] = None,
    from_run: Annotated[str | None, Field(max_length=64, description="run id")] = None,
) -> CallToolResult | InputRequiredResult:
    caller = caller_of(ctx)
    if from_run is not None:
        if input is not None:
            raise Invalid("from_run brings its own input: leave out input, or from_run.")
        return await _replayed(caller, from_run, definition, workflow, mocks)
    if (definition is None) == (workflow is None):
        raise Invalid("Give either workflow or definition, and not both.")
    if workflow is not None:
        definition = (await authoring.get(caller.runtime, caller.actor, workflow)).draft
    report = await authoring.check(caller.runtime, caller.actor, definition)
    if not report.ok:
        return answer({"tested": False, **problems_view(report)}, next="fix the problems and test again")
    document = authoring.read(definition)
    lacking = await invited(ctx, caller, document, without=mocks or ())
    if isinstance(lacking, InputRequiredResult):
        return lacking
    started = await runs.start_definition(
        caller.runtime,
        caller.actor,
        definition=document,
        input={} if input is None else input,
        mode="test",
        mocks=mocks,
        name=document["name"],
    )
    follow = f'publish_workflow(workflow="{workflow}")' if workflow else "create_workflow(definition=…)"
    return await _told(caller, await settle(ctx, started.id, MAX_WAIT), follow, lacking)


async def _replayed(caller: Caller, run_id: str, definition: Any, workflow: str | None, mocks: dict[str, Any] | None) -> CallToolResult:
    on = await replaying.target(caller.runtime, caller.actor, run_id, definition=definition, workflow=workflow)
    found = await replaying.replay(caller.runtime, caller.actor, run_id, on, mocks=mocks)
    body = {"tested": True, **replaying.report_of(found)}
    follow = f'get_run(run_id="{found.run.id}", view="trace")'
    if found.equal and found.run.state == "succeeded":
        return answer(body, next=f'publish_workflow(workflow="{workflow}")' if workflow else follow)
    if found.equal:
        return answer(body, next=follow)
    return answer({**body, "hint": "expected is what the recording has, got what happened now; look at pointer"}, next=follow)


async def _told(caller: Caller, run: Run, follow: str, lacking: Missing) -> CallToolResult:
    steps = await runs.trace(caller.runtime, caller.actor, run.id, limit=SHOWN)
    rest = f'get_run(run_id="{run.id}", view="trace")'
    body = {
        "tested": True,
        **run_view(run),
        "output": preview(run.output, 2_000, f'get_run(run_id="{run.id}")'),
        "trace": preview([step_line(step) for step in steps], 4_500, rest),
        **({"connections_missing": lacking.view()} if lacking.items else {}),
    }
    return answer(body, next=follow if run.state == "succeeded" else next_for(run))
