"""Runs: their state, steps, events, effects, and what they looked like at a moment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import RunState, Shape, StepState

RunFilterState = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled", "dead"]


class RunLine(Shape):
    run_id: str
    workflow: str
    version: int | None = None
    mode: Literal["test"] | None = None
    state: RunState
    requested: str | None = None
    error: Any = None
    dead_at: str | None = Field(default=None, description="when recovery gave the run up")
    forked_from: str | None = Field(default=None, description="the run this one repeats or continues")
    created_at: str
    finished_at: str | None = None


class RunPage(Shape):
    runs: list[RunLine]
    total: int
    next_cursor: str | None = None


class Spent(Shape):
    """What the steps of a run have used of models; cost_usd is null when no price is known, and leaves out the `unpriced` calls."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    unpriced: int


class RunDetail(RunLine):
    steps_done: int
    spent: Spent | None = Field(default=None, description="on models; missing when none was asked")
    waiting_for: list[dict[str, Any]] | None = None
    parent_run_id: str | None = None
    forked_at: str | None = Field(default=None, description="the step at which they part; null: from the start")
    started_at: str | None = None
    deadline_at: str | None = None
    input: Any = None
    output: Any = None


class Reference(Shape):
    """Stands for a value of more than 65,536 characters, which /payloads/{digest} hands over page by page."""

    digest: str
    size: int = Field(description="characters of its JSON text")
    preview: str | None = None


class Step(Shape):
    position: str
    node: str
    type: str
    state: StepState
    attempt: int
    input: Any = None
    input_ref: Reference | None = None
    output: Any = None
    output_ref: Reference | None = None
    error: Any = None
    vars: Any = None
    effect: str | None = None
    idempotency_key: str | None = None
    started_at: str
    finished_at: str | None = None
    retry_at: str | None = None


class Trace(Shape):
    steps: list[Step]
    after: str | None = None


class RunEvent(Shape):
    seq: int
    at: str
    type: str
    level: Literal["technical", "business"]
    position: str | None = None
    message: str
    data: Any = None


class RunEvents(Shape):
    events: list[RunEvent]
    after: int | None = None


class EffectLine(Shape):
    position: str
    attempt: int
    type: str
    effect: Literal["write-idempotent", "write-once"]
    idempotency_key: str | None = None
    known: str = Field(description="what is known of it, in words")
    state: StepState
    began_at: str
    ended_at: str | None = None
    answered_by: str | None = None
    answered_at: str | None = None
    undone_at: str | None = None
    error: Any = None


class Effects(Shape):
    effects: list[EffectLine]
    after: int | None = None


class Moment(Shape):
    run_id: str
    position: str | None = None
    attempt: int | None = None
    moment: Literal["before", "after"] | None = None


class RunPast(Shape):
    """What expressions saw at a moment; steps by their positions."""

    at: Moment
    input: Any
    vars: dict[str, Any]
    nodes: dict[str, Any]
    errors: dict[str, Any]


class RunDiff(Shape):
    """The JSON Patch that makes the second state of the first."""

    first: Moment
    second: Moment
    patch: list[dict[str, Any]]


class PayloadPart(Shape):
    text: str = Field(description="part of the value's JSON text")
    offset: int
    total_chars: int


class Swept(Shape):
    """An action on many runs: what it would do, or how many runs it was done to."""

    action: str
    count: int
    first: list[str] = Field(description="the oldest of them")
    done: int | None = Field(default=None, description="null: only counted; repeat it with `expect`")
