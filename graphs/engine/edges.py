"""The edges that leave a step: which are taken when it has ended, or when one of its boundaries fires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphs.definition import Boundary, Json
from graphs.engine.record import Record
from graphs.expressions import ExpressionError

if TYPE_CHECKING:
    from graphs.engine.plan import EdgePlan
    from graphs.engine.step import Step


async def decide(step: Step, record: Record, *, boundary: Boundary | None = None) -> dict[str, Any] | None:
    """Decides which edges are taken; they are recorded, so that a replay only looks them up. The error, where that is impossible."""
    if step.drive.player and (then := step.drive.player.taken(step, record)) is not None:
        record.taken = then
        return None
    taken = list(step.fired)
    for edge in _candidates(step, record, boundary):
        try:
            if edge.when is not None and not await step.drive.evaluate(edge.when, scope_after(step, record)):
                continue
        except ExpressionError as error:
            message = f"the condition of the edge to {edge.target!r}: {error}"
            return {"code": "expression", "message": message, "position": step.position}
        if step.within.loops and step.within.loops.exhausted(edge):
            message = f"the edge back to {edge.target!r} has been taken {edge.max_loops} times in a row (max_loops)"
            return {"code": "loop_limit", "message": message, "position": step.position}
        taken.append(edge.index)
    record.taken = taken
    return None


def _candidates(step: Step, record: Record, boundary: Boundary | None) -> Iterator[EdgePlan]:
    """The edges that this way of ending leads to, if their conditions hold."""
    plain = record.state == "succeeded" or (record.state == "failed" and boundary is None and step.plan.node.on_error == "continue")
    branch = None
    if boundary:
        branch = boundary.name
    elif record.state == "failed" and step.plan.node.on_error == "route":
        branch = "error"
    elif record.state == "succeeded" and step.plan.kind.taken and record.output is not None:
        branch = step.plan.kind.taken(step.config, record.output)
    return (edge for edge in step.plan.outgoing if (edge.branch is None and plain) or (edge.branch is not None and edge.branch == branch))


async def boundary_edges(step: Step, boundary: Boundary) -> list[int]:
    """The edges that a boundary leads to while its step goes on."""
    scope = step.within.scope
    leaving = [edge for edge in step.plan.outgoing if edge.branch == boundary.name]
    return [edge.index for edge in leaving if edge.when is None or await step.drive.evaluate(edge.when, scope)]


def scope_after(step: Step, record: Record) -> dict[str, Json]:
    scope = step.within.scope
    output = record.output if record.state == "succeeded" else None
    return {
        **scope,
        "nodes": {**scope["nodes"], step.plan.id: output},
        "errors": {**scope["errors"], step.plan.id: record.error},
    }
