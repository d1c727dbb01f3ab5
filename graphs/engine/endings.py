"""How a step ends: its receipt, its failure or its cancellation, recorded with the edges that are taken."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from graphs.definition import Boundary, Json, seconds
from graphs.engine.boundaries import Interrupted
from graphs.engine.edges import decide, scope_after
from graphs.engine.record import Record, StepFailed, error_of
from graphs.expressions import ExpressionError
from graphs.nodetype import Effect, Failure
from graphs.quiet import unbroken
from store import jsontext
from store.errors import Invalid

if TYPE_CHECKING:
    from graphs.engine.step import Step

MAX_OUTPUT = 1_000_000  # characters of JSON
IN_DOUBT = "it is not known whether this call took effect: it was under way when this step was cancelled"


async def succeeded(step: Step, record: Record, output: Json) -> Record:
    """Records the output, what undoes the step, and where it leads, in one commit. Raises StepFailed when a condition cannot be decided."""
    try:
        size = len(jsontext.text(output))
    except (Invalid, TypeError) as error:
        return await failed(step, record, Failure("bad_output", f"the output is not JSON: {error}"))
    if size > MAX_OUTPUT:
        message = f"the output is {size:,} characters of JSON; at most {MAX_OUTPUT:,} are kept"
        return await failed(step, record, Failure("output_too_large", message))
    record.state, record.output, record.error = "succeeded", output, None
    assigned = _assigned(step)
    if assigned:
        step.drive.vars.update(assigned)
    problem, cancelled = await unbroken(_concluded(step, record)) if _computes(step) else (await _concluded(step, record), False)
    if step.plan.undoes:
        step.drive.compensated(*step.plan.undoes)
    data = None if step.within.prefix else {"progress": step.drive.progress(step.position)}
    step.note(record, ("step.succeeded", f"{step.plan.id} succeeded"), finished=True, vars=assigned or None, data=data)
    sent = step.drive.outbox.send()
    if cancelled:  # a moment too late: what was done has its receipt, and what undoes it
        raise asyncio.CancelledError
    await sent
    if problem:
        raise StepFailed(problem)
    return record


def _computes(step: Step) -> bool:
    """Whether there is something to evaluate between a step's answer and its receipt."""
    plan = step.plan
    return bool(plan.compensate or plan.milestone) or any(edge.when is not None for edge in plan.outgoing)


async def _concluded(step: Step, record: Record) -> dict[str, Any] | None:
    """What undoes the step, where it leads, and what it tells people. The error, where that cannot be said."""
    problem = await _prepare_undo(step, record) or await decide(step, record)
    await _milestone(step)
    return problem


def _assigned(step: Step) -> dict[str, Json]:
    if step.plan.kind.name != "set" or step.plan.node.disabled:
        return {}
    return dict(getattr(step.config, "vars", None) or {})


async def _prepare_undo(step: Step, record: Record) -> dict[str, Any] | None:
    """What undoes the step is rendered now, while everything it names is at hand, and kept with the receipt."""
    node = step.plan.node.compensate
    if node is None or step.plan.compensate is None or step.plan.node.disabled:
        return None
    try:
        config = await step.drive.render(step.plan.compensate, scope_after(step, record))
    except ExpressionError as error:
        return {"code": "expression", "message": f"its compensate: {error}", "position": step.position}
    retry = node.retry.model_dump() if node.retry else None
    record.undo = {
        "type": node.type,
        "config": {**node.config, **config},
        "retry": retry,
        "timeout": seconds(node.timeout) if node.timeout else None,
    }
    return None


async def _milestone(step: Step) -> None:
    if step.plan.milestone is None or step.record is None:
        return
    try:
        text = await step.drive.render(step.plan.milestone, scope_after(step, step.record))
    except ExpressionError as error:
        text = f"{step.plan.id} is done (its milestone cannot be shown: {error.message})"
    step.drive.outbox.tell(("run.milestone", str(text)[:500]), position=step.position, level="business")


async def failed(step: Step, record: Record, failure: Failure) -> Record:
    """Records a failure for good. Raises StepFailed unless a boundary or the node's `on_error` lead on."""
    position = step.position
    if isinstance(failure.details, dict):
        position = str(failure.details.get("position", position))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    error = error_of(failure, position)
    record.state, record.error, record.output = "failed", error, None
    problem: dict[str, Any] | None = error
    boundary = next((one for one in step.plan.node.boundary if _catches(one, failure.code)), None)
    stopping = step.plan.inner is not None and failure.code in step.plan.inner.stopping
    if boundary or (step.plan.node.on_error != "stop" and not stopping):
        problem = await decide(step, record, boundary=boundary)
    await step.write(record, ("step.failed", f"{step.plan.id} failed: {failure.message[:500]}"), finished=True)
    if problem:
        raise StepFailed(problem)
    return record


def _catches(boundary: Boundary, code: str) -> bool:
    return any(fnmatchcase(code, pattern) for pattern in boundary.error or ())


def in_a_call(step: Step, record: Record) -> bool:
    """Whether a call is under way that must not be repeated; a step that waits for what comes of its call has made it."""
    return step.effect is Effect.WRITE_ONCE and record.state != "waiting"


async def interrupted(step: Step, record: Record, fired: Interrupted) -> Record:
    """A boundary has cancelled the step; only the boundary's edges lead on."""
    doubtful = in_a_call(step, record)
    record.state, record.output = "ambiguous" if doubtful else "cancelled", None
    message = f"the boundary {fired.boundary.name!r} fired" + (f"; {IN_DOUBT}" if doubtful else "")
    record.error = {"code": "interrupted", "message": message, "position": step.position, "details": {"boundary": fired.boundary.name}}
    problem = await decide(step, record, boundary=fired.boundary)
    await step.write(record, ("boundary.fired", f"{step.plan.id}: {message}"), finished=True)
    if problem:
        raise StepFailed(problem)
    return record


def cancelled(step: Step, record: Record) -> None:
    """A sibling failed or the run was cancelled while this was under way. When the run is only put down, nothing is recorded."""
    if step.drive.unloading:
        return
    doubtful = in_a_call(step, record)
    record.state = "ambiguous" if doubtful else "cancelled"
    record.error = {"code": "in_doubt", "message": IN_DOUBT, "position": step.position} if doubtful else None
    step.note(record, ("step.cancelled", f"{step.plan.id} cancelled"), finished=True)
    step.drive.outbox.send()


async def decide_again(step: Step, record: Record) -> None:
    """The step's effect stands, only where it leads is decided anew: its condition had failed, or the run is a fork."""
    if step.plan.kind.taken:
        await step.configure(record)
    if problem := await decide(step, record):
        raise StepFailed(problem)
    step.drive.outbox.record(step.position, record, finished_at=step.drive.now())
    await step.drive.outbox.send()
