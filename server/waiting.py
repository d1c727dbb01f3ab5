"""Long polls: waits for a run within a bound, and tells the client meanwhile how far it is."""

from __future__ import annotations

import time

from mcp.types import CallToolResult

from graphs import runs
from graphs.chats import chat_of
from graphs.documents import is_object
from graphs.runs import Run
from server import turn_progress
from server.answers import answer
from server.excerpts import portion
from server.tools import Ctx, caller_of
from server.views.runs import next_for, run_view

MAX_WAIT = 25.0  # seconds; some clients drop a call after 60
SETTLED = frozenset({"succeeded", "failed", "cancelled", "paused"})


async def settle(ctx: Ctx, run_id: str, seconds: float, *, begun: bool = False) -> Run:
    """The run once it is finished or waits for a person or an event, at the latest after `seconds`. `begun`: just now, by this call."""
    caller = caller_of(ctx)
    deadline = time.monotonic() + min(seconds, MAX_WAIT)
    until = "change" if _wants_progress(ctx) else "settled"
    if until == "change" and chat_of(await runs.get(caller.runtime, caller.actor, run_id)):
        after = 0 if begun else await turn_progress.last_event(caller, run_id)  # what opens from here on is told
        if not is_settled(await runs.get(caller.runtime, caller.actor, run_id)):
            await turn_progress.along(ctx, caller, run_id, min(seconds, MAX_WAIT), after=after)
        until = "settled"
    told = -1
    while True:
        left = max(0.0, deadline - time.monotonic())
        run = await runs.wait(caller.runtime, caller.actor, run_id, seconds=left, until=until)
        if until == "settled" or is_settled(run) or left == 0.0:
            return run
        if run.steps_done > told:
            told = run.steps_done
            await ctx.report_progress(told, None, f"{run.workflow}: {told} steps done")


def answer_run(run: Run, offset: int = 0) -> CallToolResult:
    """A run's state and, once there is one, its output: whole, or the part that starts `offset` characters in."""
    body = run_view(run)
    if (chat := chat_of(run)) is not None and is_object(run.input):
        body |= {"chat": chat, "message": run.input["message"]}
    if run.state != "succeeded":
        return answer(body, next=next_for(run))
    part = portion(run.output, offset, f'get_run(run_id="{run.id}", offset={{offset}})')
    shown = {"output": part["value"]} if "value" in part else {"output_part": part}
    return answer({**body, **shown}, next=part.get("more") or next_for(run))


def is_settled(run: Run) -> bool:
    """Whether the run will not move on by itself: it is over, held, or somebody has to do something."""
    return run.state in SETTLED or any(wait["kind"] in ("task", "event") for wait in run.waiting_for)


def _wants_progress(ctx: Ctx) -> bool:
    return "progress_token" in (ctx.request_context.meta or {})
