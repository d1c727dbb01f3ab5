"""Doubt: a call that must not be repeated was cut off. Its step is `ambiguous` until its policy or a person says what it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from graphs.definition import Json
from graphs.engine import endings
from graphs.engine.record import Record, error_of
from graphs.nodetype import Failure, TaskForm, Wait

if TYPE_CHECKING:
    from graphs.engine.step import Step

UNKNOWN = (
    "it is not known whether this call took effect: it was under way when its process ended, its time ran out or its answer was lost. "
    "Check at the receiver"
)
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {
            "enum": ["retry", "happened", "fail"],
            "description": "retry: make the call again; happened: take it as done; fail: the step fails",
        },
        "output": {"type": "string", "description": "with happened: the step's output as JSON; null without it"},
        "comment": {"type": "string"},
    },
    "required": ["decision"],
    "additionalProperties": False,
}


async def begin(step: Step, record: Record, failure: Failure) -> Record | None:
    """Records the doubt, then resolves it. None: the call is to be made again."""
    record.state, record.error = "ambiguous", error_of(failure, step.position)
    step.drive.doubtful.discard(step.position)
    await step.write(record, ("step.ambiguous", f"{step.plan.id}: it is not known whether its call took effect"), finished=True)
    return await resolve(step, record)


async def resolve(step: Step, record: Record) -> Record | None:
    """By the node's `on_ambiguous`, or by the person it asks. The record of the ended step, or None: try again."""
    how: str = step.plan.node.on_ambiguous
    output: Json = None
    if how == "ask":
        how, output = await _asked(step, record)
    if how == "retry":
        return None
    if how == "fail":
        error = record.error or {}
        return await endings.failed(step, record, Failure("in_doubt", error.get("message", UNKNOWN)))
    return await endings.succeeded(step, record, output)


async def _asked(step: Step, record: Record) -> tuple[str, Json]:
    error = record.error or {}
    title = f"Did {step.plan.node.name or step.plan.id!r} take effect?"
    description = f"{error.get('message', UNKNOWN)}. Its idempotency key is {record.key}."
    task = TaskForm(kind="resolution", title=title, description=description, form=FORM, priority="high")
    number = 1
    while (known := step.drive.waits.get(_place(step, number))) and known.state == "cancelled":
        number += 1  # an earlier question went with the end of the run, or with a sibling's failure
    try:
        answer = await step.context.wait_at(_place(step, number), Wait(kind="task", task=task))
    except Failure:  # nobody can answer any more
        return "fail", None
    given: dict[str, Any] = answer.payload["answer"]
    decision: str = given["decision"]
    step.drive.outbox.tell(
        ("step.confirmed", f"{step.plan.id}: {answer.payload.get('by') or 'somebody'} says {decision}"),
        position=step.position,
        level="business",
        data={"decision": decision, "by": answer.payload.get("by")},
    )
    return decision, _read(given.get("output"))


def _place(step: Step, number: int) -> str:
    attempt = f"~{step.context.attempt}" if step.context.attempt > 1 else ""
    return f"{step.position}{attempt}#ambiguous" + (str(number) if number > 1 else "")


def _read(text: str | None) -> Json:
    """An output given as JSON; what is no JSON is taken as the text it is."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
