"""Conducting a drive through LangGraph, and the one place where the way a run ended becomes its state."""

# pyright: reportUnknownMemberType=false
# (LangGraph leaves type parameters of its own open)
from __future__ import annotations

import logging
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import EmptyInputError

from graphs.compiler import Graph, State
from graphs.definition import Json
from graphs.engine.drive import Drive
from graphs.engine.endings import MAX_OUTPUT
from graphs.engine.events import Happening
from graphs.engine.record import RunCancelled, RunFailed, RunTimedOut, StepFailed
from graphs.expressions import ExpressionError
from graphs.nodetype import Stopped
from graphs.saver import fresh, recorder
from store import jsontext
from store.errors import LeaseLost, Misconfigured, Unavailable

RECURSION_LIMIT = 100_000  # supersteps; ours is settings.max_steps

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ends. Kept in its row while what it has done is being undone."""

    state: str
    message: str
    output: Json = None
    error: dict[str, Any] | None = None
    dead: bool = False

    @property
    def event(self) -> Happening:
        return (cast(Any, f"run.{self.state}"), self.message)


async def conduct(drive: Drive, graph: Graph, *, recoveries: int) -> None:
    """Drives a run until it is finished or put down, or given up after so many recoveries without progress. Never raises for what a run
    does; a lost lease ends it without a word. Raises Unavailable when Postgres does not answer: then nothing that was acknowledged is lost,
    and the run can be driven again."""
    try:
        ending = await _drive(drive, graph, recoveries)
        if ending and (ending := await _undone(drive, _sized(ending))):
            await drive.settle(ending.state, output=ending.output, error=ending.error, event=ending.event, dead=ending.dead)
    except LeaseLost:
        log.warning("run %s is driven by another worker now", drive.run_id)


async def _drive(drive: Drive, graph: Graph, recoveries: int) -> Ending | None:
    """The main body. None when the run was put down."""
    try:
        await drive.restore()
        if drive.loaded.ending:
            return Ending(**drive.loaded.ending)
        if drive.claimed.claims > recoveries + len(drive.records):
            message = f"the worker driving this run died {drive.claimed.claims} times in a row without progress"
            return Ending(state="failed", message=message, error={"code": "poison", "message": message}, dead=True)
        state = await _invoke(drive, graph)
        return None if drive.settled else await _finished(drive, state)
    except StepFailed as failed:
        message = f"Failed at {failed.error.get('position', '')}: {failed.error['message'][:300]}"
        return Ending(state="failed", message=message, error=failed.error)
    except Stopped as stopped:
        error = {"code": "stopped", "message": stopped.message or "stopped by the workflow"} if stopped.state == "failed" else None
        return Ending(state=stopped.state, message=stopped.message or "Stopped by the workflow", output=stopped.output, error=error)
    except RunCancelled:
        return Ending(state="cancelled", message="Cancelled")
    except RunTimedOut:
        return _failed({"code": "run_timeout", "message": "the run was not done by its deadline (settings.timeout or deadline)"})
    except RunFailed as failed:
        return _failed(failed.error)
    except ExpressionError as problem:
        return _failed({"code": "expression", "message": f"the first values of vars: {problem}", "position": "vars"})
    except Misconfigured as problem:  # the operator can help: nothing of the run is lost, retry it
        return _failed({"code": problem.code, "message": problem.message})
    except (LeaseLost, Unavailable):
        raise
    except Exception:  # the worker loop: a fault of ours must not leave the run "running"
        log.exception("error %s while driving run %s", number := secrets.token_hex(4), drive.run_id)
        return _failed({"code": "internal", "message": f"an error in Weft itself; the log has it under {number}"})


def _failed(error: dict[str, Any]) -> Ending:
    return Ending(state="failed", message=error["message"], error=error)


async def _invoke(drive: Drive, graph: Graph) -> State:
    """LangGraph takes the run from its last checkpoint, or from the start where there is none."""
    config: RunnableConfig = {"configurable": {"thread_id": drive.run_id}, "recursion_limit": RECURSION_LIMIT}
    recorder.set(drive.checkpoint)
    fresh.set(drive.claimed.fence == 1)
    start: Any = {"at": {"segment": -1}}
    given = start if drive.claimed.fence == 1 else None
    if graph.checkpointer is None:
        return cast(State, await graph.ainvoke(start, config, context=drive))
    try:
        state = await graph.ainvoke(given, config, context=drive, durability="sync")
    except EmptyInputError:  # killed before its first checkpoint
        state = await graph.ainvoke(start, config, context=drive, durability="sync")
    return cast(State, state)


async def _finished(drive: Drive, state: State) -> Ending:
    if not state.get("done"):
        return _failed({"code": "stuck", "message": "the graph returned before its end; nothing of the run is lost, retry it"})
    try:
        output = drive.root.output if drive.plan.output is None else await drive.render(drive.plan.output, drive.root.scope)
    except ExpressionError as problem:
        return _failed({"code": "expression", "message": f"the output of the workflow: {problem}", "position": "output"})
    return Ending(state="succeeded", message=f"{drive.loaded.name} succeeded", output=output)


def _sized(ending: Ending) -> Ending:
    """A run whose output is too large has failed, before anything is done about how it ended."""
    if ending.state != "succeeded" or (size := len(jsontext.text(ending.output))) <= MAX_OUTPUT:
        return ending
    error = {"code": "output_too_large", "message": f"the output is {size:,} characters of JSON; at most {MAX_OUTPUT:,} are kept"}
    return Ending(state="failed", message="The output is too large", error=error)


async def _undone(drive: Drive, ending: Ending) -> Ending | None:
    """Undoes what the run has done, if it is asked to. The ending, whose error says what could not be undone; None when the run was put
    down on the way."""
    if not drive.ending:
        if not _asks(drive, ending):
            return ending
        await drive.begin_ending(asdict(ending))
    left: list[str] = []
    try:
        if await drive.pursue(drive.undo_all(left)):
            return None
    except (LeaseLost, Unavailable):
        raise
    except RunFailed as failed:  # a replay whose undoing is not in the recording
        return _failed(failed.error)
    except Exception:  # the worker loop, as above
        log.exception("error %s while undoing run %s", number := secrets.token_hex(4), drive.run_id)
        left.append(f"an error in Weft itself; the log has it under {number}")
    if not left:
        return ending
    error = ending.error or {"code": "cancelled", "message": "the run was cancelled"}
    details: dict[str, Any] = error["details"] if isinstance(error.get("details"), dict) else {}
    return replace(ending, error={**error, "details": {**details, "compensation_failed": left}})


def _asks(drive: Drive, ending: Ending) -> bool:
    """Whether this way of ending is to be followed by compensation, and there is something to compensate."""
    asked = drive.plan.definition.settings.compensate
    wanted = "failure" in asked if ending.state == "failed" else ending.state == "cancelled" and ("cancel" in asked or drive.compensate)
    diverged = drive.player is not None and drive.player.diverged and drive.player.policy == "stop"
    return wanted and not ending.dead and not diverged and drive.undoable()
