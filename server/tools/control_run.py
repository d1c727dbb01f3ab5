"""control_run: steers one run, or all that a filter finds; repeats a run, or continues it differently."""

from __future__ import annotations

from typing import Annotated, Any, cast

from mcp.types import CallToolResult
from pydantic import Field

from server import ordering
from server.answers import answer
from server.auth import Caller, Scope
from server.ordering import Action, Many, Version
from server.tools import Ctx, caller_of, hints
from server.views.runs import next_for, run_line
from store.errors import Invalid

DESCRIPTION = (
    "Steer one run, or all that a filter finds (first only counted). fork and rerun start a new run. "
    'get_guide("running") explains the actions.'
)
ANNOTATIONS = hints(read_only=False, destructive=True, idempotent=False)
SCOPE = Scope.RUN


async def run(
    ctx: Ctx,
    action: Action,
    run_id: Annotated[str | None, Field(max_length=64, description="run id")] = None,
    node: Annotated[str | None, Field(max_length=500, description="skip, fork: node id or position")] = None,
    output: Annotated[Any, Field(description="skip: the step's output")] = None,
    edits: Annotated[dict[str, Any] | None, Field(description="fork: position -> other output; what follows runs anew")] = None,
    vars: Annotated[dict[str, Any] | None, Field(description="fork: run variables")] = None,
    input: Annotated[Any, Field(description="fork, rerun: another input")] = None,
    version: Annotated[Version | None, Field(description="fork, rerun; without it the run's own")] = None,
    compensate: Annotated[bool | None, Field(description="cancel: undo what was done first")] = None,
    filter: Annotated[
        dict[str, Any] | None,
        Field(description="instead of run_id: workflow, state, error_code, older_than, created_before, mode"),
    ] = None,
    expect: Annotated[int | None, Field(ge=0, description="with filter: the count to act on")] = None,
) -> CallToolResult:
    caller = caller_of(ctx)
    arguments = {"node": node, "output": output, "edits": edits, "vars": vars, "input": input, "version": version, "compensate": compensate}
    if filter is not None:
        if run_id is not None:
            raise Invalid("give run_id or filter, not both")
        if extra := next((name for name, value in arguments.items() if value is not None and name != "compensate"), None):
            raise Invalid(f"{extra!r} is for one run: give run_id and no filter")
        return await _many(caller, action, filter, expect, compensate)
    if run_id is None or expect is not None:
        raise Invalid("give run_id for one run; or filter, and once you have seen the count, expect")
    found = await ordering.carry_out(caller, run_id, ordering.order(action, **arguments))
    return answer(run_line(found), next=next_for(found))


async def _many(caller: Caller, action: Action, filter: dict[str, Any], expect: int | None, compensate: bool | None) -> CallToolResult:
    wanted = ordering.filter_of(filter)
    found = await ordering.sweep(caller, cast(Many, action), wanted, expect=expect, compensate=compensate)
    if expect is not None:
        return answer(found, next="list_runs()")
    if not found["count"]:
        return answer(found, next="list_runs() shows the runs there are")
    return answer(found, next=f"nothing is done yet; ask your user, then repeat the call with expect={found['count']}")
