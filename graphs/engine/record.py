"""What a driver knows of the steps of its run: the rows of the journal, as they are and as they will be once committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphs.definition import Json
from graphs.nodetype import Failure, Stopped
from store.errors import LeaseLost, Unavailable
from store.node_runs import NodeRun


@dataclass(slots=True, kw_only=True)
class Record:
    """The latest attempt of a step."""

    node_id: str
    node_type: str
    attempt: int
    series: int = 1  # attempt with which this series began: a retry by hand or an undo begins a new one
    state: str
    seq: int = 0
    started_at: datetime
    input: Json = None
    output: Json = None
    error: dict[str, Any] | None = None
    taken: list[int] | None = None
    retry_at: datetime | None = None
    effect: str | None = None
    key: str | None = None  # the idempotency key of its calls
    undo: dict[str, Any] | None = None

    @property
    def final(self) -> bool:
        """Nothing more happens at this step. `taken` is missing where its edges could not be decided, or must be once more."""
        return self.state in ("succeeded", "skipped") or (self.state in ("failed", "cancelled", "ambiguous") and self.taken is not None)


def restored(row: NodeRun) -> Record:
    return Record(
        node_id=row.node_id,
        node_type=row.node_type,
        attempt=row.attempt,
        series=row.series,
        state=row.state,
        seq=row.seq,
        started_at=row.started_at,
        input=row.input,
        output=row.output,
        error=row.error,
        taken=row.taken,
        retry_at=row.retry_at,
        effect=row.effect,
        key=row.effect_key,
        undo=row.undo,
    )


def row_of(position: str, record: Record, *, finished_at: datetime | None = None, vars: Json = None) -> dict[str, Any]:
    """The row of the journal that a record is. The outbox numbers it."""
    return {
        "position": position,
        "attempt": record.attempt,
        "series": record.series,
        "node_id": record.node_id,
        "node_type": record.node_type,
        "state": record.state,
        "seq": record.seq,
        "input": record.input,
        "output": record.output,
        "error": record.error,
        "taken": record.taken,
        "vars": vars,
        "effect": record.effect,
        "effect_key": record.key if record.effect or _renewed(position, record.key) else None,
        "undo": record.undo,
        "started_at": record.started_at.isoformat(),
        "finished_at": finished_at.isoformat() if finished_at else None,
        "retry_at": record.retry_at.isoformat() if record.retry_at and record.state in ("retrying", "failed", "cancelled") else None,
    }


def _renewed(position: str, key: str | None) -> bool:
    """Whether a step got another key when it was undone. It is kept also when an attempt came to no call: no next one falls back."""
    return key is not None and not key.endswith(f"/{position}")


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


GRAVITY = (LeaseLost, Unavailable, RunFailed, Stopped)


def gravest(errors: Iterable[BaseException]) -> BaseException:
    """Of several errors at once, the one that speaks: what ends the driving or the run, which no failure may hide, else the first."""
    return min(errors, key=lambda error: next((place for place, kind in enumerate(GRAVITY) if isinstance(error, kind)), len(GRAVITY)))
