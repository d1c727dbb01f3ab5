"""What a driver knows of the steps and waits of its run: the rows of the journal, as they are and as they will be once committed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphs.definition import Json
from graphs.nodetype import Failure
from store.node_runs import NodeRun


@dataclass(slots=True, kw_only=True)
class Record:
    """The latest attempt of a step."""

    attempt: int
    first: int = 1  # attempt with which this series began: a retry by hand begins a new one
    state: str
    started_at: datetime
    input: Json = None
    output: Json = None
    error: dict[str, Any] | None = None
    taken: list[int] | None = None
    retry_at: datetime | None = None

    @property
    def final(self) -> bool:
        """Nothing more happens at this step; `taken` is missing only where deciding the edges failed."""
        return self.state in ("succeeded", "skipped") or (self.state == "failed" and self.taken is not None)


def restored(row: NodeRun) -> Record:
    return Record(
        attempt=row.attempt,
        state=row.state,
        started_at=row.started_at,
        input=row.input,
        output=row.output,
        error=row.error,
        taken=row.taken,
        retry_at=row.retry_at,
    )


def error_of(failure: Failure, position: str) -> dict[str, Any]:
    """A failure as it is stored and shown: strict JSON, no exception objects."""
    found: dict[str, Any] = {"code": failure.code, "message": failure.message[:4000], "position": position}
    return {**found, "details": failure.details} if failure.details is not None else found


class StepFailed(Exception):
    """A step failed for good and its node says `stop`: what contains it fails too."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


class RunCancelled(Exception):
    """Somebody asked for the run to be cancelled."""


class RunTimedOut(Exception):
    """The run's deadline has passed."""


class Unloaded(Exception):
    """The run was put down: parked, paused or handed back. It has been settled already."""


class RunFailed(Exception):
    """The run as a whole must end: no error handling inside it applies."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}
