"""Conducting a drive through LangGraph, and the one place where the way a run ended becomes its state."""

# pyright: reportUnknownMemberType=false
# (LangGraph leaves type parameters of its own open)
from __future__ import annotations

import logging
import secrets
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import EmptyInputError

from graphs.compiler import Graph, State
from graphs.engine.drive import Drive
from graphs.engine.record import RunCancelled, RunFailed, RunTimedOut, StepFailed
from graphs.expressions import ExpressionError
from graphs.nodetype import Stopped
from graphs.saver import fresh, recorder
from store.errors import LeaseLost, Unavailable

RECURSION_LIMIT = 100_000  # supersteps; ours is settings.max_steps

log = logging.getLogger(__name__)


async def conduct(drive: Drive, graph: Graph, *, poisoned: bool = False) -> None:
    """Drives a run until it is finished or put down. Never raises for what a run does; a lost lease ends it without a word. Raises
    Unavailable when Postgres does not answer: then nothing that was acknowledged is lost, and the run can be driven again."""
    try:
        await _walk(drive, graph, poisoned)
    except LeaseLost:
        log.warning("run %s is driven by another worker now", drive.run_id)


async def _walk(drive: Drive, graph: Graph, poisoned: bool) -> None:
    try:
        await drive.restore()
        if poisoned and drive.claimed.claims > 5 + len(drive.records):
            raise RunFailed("poison", f"the worker driving this run died {drive.claimed.claims} times in a row without progress")
        state = await _invoke(drive, graph)
        if not drive.settled:
            await _finish(drive, state)
    except StepFailed as failed:
        await drive.settle(
            "failed", error=failed.error, event=("run.failed", f"Failed at {failed.error['position']}: {failed.error['message'][:300]}")
        )
    except Stopped as stopped:
        error = {"code": "stopped", "message": stopped.message or "stopped by the workflow"} if stopped.state == "failed" else None
        await drive.settle(
            stopped.state, output=stopped.output, error=error, event=(f"run.{stopped.state}", stopped.message or "Stopped by the workflow")
        )
    except RunCancelled:
        await drive.settle("cancelled", event=("run.cancelled", "Cancelled"))
    except RunTimedOut:
        error = {"code": "run_timeout", "message": "the run was not done within settings.timeout"}
        await drive.settle("failed", error=error, event=("run.failed", error["message"]))
    except RunFailed as failed:
        await drive.settle("failed", error=failed.error, event=("run.failed", failed.error["message"]))
    except ExpressionError as problem:
        error = {"code": "expression", "message": f"the first values of vars: {problem}", "position": "vars"}
        await drive.settle("failed", error=error, event=("run.failed", error["message"]))
    except (LeaseLost, Unavailable):
        raise
    except Exception:  # the worker loop: a fault of ours must not leave the run "running"
        number = secrets.token_hex(4)
        log.exception("error %s while driving run %s", number, drive.run_id)
        error = {"code": "internal", "message": f"an error in Weft itself; the log has it under {number}"}
        await drive.settle("failed", error=error, event=("run.failed", error["message"]))


async def _invoke(drive: Drive, graph: Graph) -> State:
    """LangGraph takes the run from its last checkpoint, or from the start where there is none."""
    config: RunnableConfig = {"configurable": {"thread_id": drive.run_id}, "recursion_limit": RECURSION_LIMIT}
    recorder.set(drive.checkpoint)
    fresh.set(drive.claimed.fence == 1)
    start: Any = {"at": {"segment": -1}}
    given = start if drive.claimed.fence == 1 else None
    try:
        state = await graph.ainvoke(given, config, context=drive, durability="sync")
    except EmptyInputError:  # killed before its first checkpoint
        state = await graph.ainvoke(start, config, context=drive, durability="sync")
    return cast(State, state)


async def _finish(drive: Drive, state: State) -> None:
    if not state.get("done"):
        error = {"code": "stuck", "message": "the graph returned before its end; nothing of the run is lost, retry it"}
        await drive.settle("failed", error=error, event=("run.failed", error["message"]))
        return
    try:
        output = drive.root.output if drive.plan.output is None else await drive.render(drive.plan.output, drive.root.scope)
    except ExpressionError as problem:
        error = {"code": "expression", "message": f"the output of the workflow: {problem}", "position": "output"}
        await drive.settle("failed", error=error, event=("run.failed", error["message"]))
        return
    await drive.settle("succeeded", output=output, event=("run.succeeded", f"{drive.loaded.name} succeeded"))
