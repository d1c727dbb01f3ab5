"""Compensation: what undoes completed steps is run as steps of their own, the last first, durable and retried like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from graphs.engine.plan import BodyPlan, plan_undo
from graphs.engine.record import Record, StepFailed

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.drive import Drive
    from graphs.engine.step import Step


def within(position: str, prefix: str, body: BodyPlan) -> bool:
    """Whether a position lies in a body: bodies of one group share their prefix, and the ids tell them apart."""
    if not position.startswith(prefix):
        return False
    return _id(position[len(prefix) :].split("/", 1)[0]) in body.nodes


def _id(part: str) -> str:
    for mark in ("[", ":", "~", "#"):
        part = part.split(mark, 1)[0]
    return part


def undoable(drive: Drive, chosen: Callable[[str], bool] = lambda position: True) -> list[tuple[str, Record]]:
    """Completed steps that say how to undo them, the last to settle first."""
    found = [
        (position, record) for position, record in drive.records.items() if record.undo and record.state == "succeeded" and chosen(position)
    ]
    return sorted(found, key=lambda item: -item[1].seq)


def unsure(drive: Drive) -> list[str]:
    """Steps of which nobody knows whether there is something to undo: their call was cut off."""
    from graphs.positions import locate

    doubtful = (position for position, record in drive.records.items() if record.state == "ambiguous")
    return [position for position in doubtful if (place := locate(drive.plan, position)) and place.node.compensate]


async def undo_within(step: Step, prefix: str, body: BodyPlan) -> None:
    """Undoes what a body of a group has done. A step that cannot be undone does not keep the others from it."""

    def entered(inner: BodyRun) -> None:
        step.bodies = {body for body in step.bodies if not body.failing and body.steps} | {inner}

    for position, record in undoable(step.drive, lambda position: within(position, prefix, body)):
        await undo(step.drive, position, record, entered)
    step.bodies = {body for body in step.bodies if not body.failing and body.steps}  # what is done waits for nothing: it never looks parked


async def undo(drive: Drive, position: str, record: Record, entered: Callable[[BodyRun], None]) -> bool:
    """Runs what undoes one step; whether it succeeded. `entered` gets the body it runs in, which may wait."""
    from graphs.engine.body import BodyRun

    head, slash, last = position.rpartition("/")
    id = f"{last}~undo" + (str(record.attempt) if record.attempt > 1 else "")
    try:
        plan = plan_undo(id, record.undo or {}, (position, record.attempt))
    except (ValidationError, KeyError) as problem:
        drive.outbox.tell(("step.failed", f"{position} cannot be undone: {problem!s:.300}"), position=position, level="business")
        return False
    body = BodyRun(drive, plan, head + slash, drive.root.scope)
    entered(body)
    try:
        await body.run()
    except StepFailed:
        return False
    return True
