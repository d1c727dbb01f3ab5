"""start_run: starts a published workflow."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult, InputRequiredResult
from pydantic import Field

from graphs import chatting, runs
from graphs.admission import Timing
from server import chats
from server.arguments import IdempotencyKey, Input, WorkflowName
from server.auth import Caller, Scope
from server.inviting import invited_to_run
from server.tools import Ctx, caller_of, hints
from server.waiting import answer_run, settle

DESCRIPTION = (
    "Start a published workflow; answers at once with a run_id and the run goes on durably, for months if it must. "
    "With wait_seconds the answer may already hold the output."
)
ANNOTATIONS = hints(read_only=False, idempotent=False, open_world=True)
SCOPE = Scope.RUN
CORE = True


async def run(
    ctx: Ctx,
    workflow: WorkflowName,
    input: Input = None,
    version: Annotated[int | None, Field(ge=1, description="without it the active version")] = None,
    idempotency_key: IdempotencyKey = None,
    delay: Annotated[str | None, Field(max_length=40, description='begin that much later, e.g. "2h"')] = None,
    deadline: Annotated[str | None, Field(max_length=40, description="ISO 8601 instant to be done by")] = None,
    priority: Annotated[int | None, Field(ge=-100, le=100, description="higher goes first")] = None,
    wait_seconds: Annotated[float, Field(ge=0, le=20, description="wait this long for it to finish")] = 0,
) -> CallToolResult | InputRequiredResult:
    caller = caller_of(ctx)
    timing = Timing(delay=delay, deadline=deadline, priority=priority)
    if workflow == chatting.WORKFLOW:
        return await _say(ctx, caller, input, version, idempotency_key, timing, wait_seconds)
    if (asked := await invited_to_run(ctx, caller, workflow, version)) is not None:
        return asked
    started = await runs.start(
        caller.runtime,
        caller.actor,
        workflow=workflow,
        input={} if input is None else input,
        version=version,
        idempotency_key=idempotency_key,
        timing=timing,
    )
    return answer_run(await settle(ctx, started.id, wait_seconds) if wait_seconds else started)


async def _say(
    ctx: Ctx, caller: Caller, input: Any, version: int | None, key: str | None, timing: Timing, wait_seconds: float
) -> CallToolResult:
    """A message to the assistant: the run is a turn of a chat."""
    turn = await chats.speak(caller, input, version=version, key=key, timing=timing)
    await chats.tell(ctx, caller, turn)
    if wait_seconds:
        return answer_run(await settle(ctx, turn.run_id, wait_seconds, begun=True))
    return answer_run(await runs.get(caller.runtime, caller.actor, turn.run_id))
