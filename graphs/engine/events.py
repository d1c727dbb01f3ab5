"""What may happen in a run: the closed list of event types that the engine writes into the journal."""

from __future__ import annotations

from typing import Literal

EventType = Literal[
    "run.started",
    "run.waiting",
    "run.paused",
    "run.handed_back",
    "run.compensating",
    "run.milestone",
    "run.succeeded",
    "run.failed",
    "run.cancelled",
    "step.started",
    "step.progress",
    "step.waiting",
    "step.decided",
    "step.retrying",
    "step.ambiguous",
    "step.confirmed",
    "step.succeeded",
    "step.failed",
    "step.cancelled",
    "step.compensated",
    "boundary.fired",
    "loop.repeated",
    "task.created",
    "child.started",
]
Happening = tuple[EventType, str]  # and what to tell people
