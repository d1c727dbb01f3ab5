"""The shapes of HTTP answers, for the OpenAPI document. What the doors send is built in server/views.py; tests hold the two together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RunState = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled"]
RunFilterState = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled", "dead"]
StepState = Literal["running", "waiting", "retrying", "succeeded", "failed", "skipped", "cancelled", "ambiguous", "compensated"]
TaskState = Literal["open", "answered", "expired", "cancelled"]
CircuitState = Literal["closed", "open", "half_open"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(Shape):
    code: str
    message: str
    details: dict[str, Any] = {}


class Problem(Shape):
    """Every error answer."""

    error: Fault


class Diagnostic(Shape):
    """A problem of a definition: where, what, and the JSON Patch that fixes it where one exists."""

    code: str
    severity: Literal["error", "warning"]
    pointer: str
    message: str
    expected: str | None = None
    suggestions: list[str] = []
    patch: list[dict[str, Any]] = []


class Checked(Shape):
    valid: bool
    errors: int
    warnings: int
    problems: list[Diagnostic]


class WorkflowLine(Shape):
    name: str
    description: str | None = None
    active_version: int | None = None
    revision: int
    updated_at: str


class WorkflowPage(Shape):
    workflows: list[WorkflowLine]
    total: int
    next_cursor: str | None = None


class WorkflowDetail(Shape):
    name: str
    id: str
    description: str
    revision: int
    active_version: int | None = None
    version: int | None = Field(default=None, description="the version shown; null for the draft")
    definition: dict[str, Any]
    updated_at: str


class Saved(Shape):
    workflow: str
    id: str
    revision: int
    warnings: list[Diagnostic]


class VersionLine(Shape):
    version: int
    note: str
    published_at: str
    published_by: str


class Versions(Shape):
    versions: list[VersionLine]


class PublishedVersion(Shape):
    workflow: str
    version: int


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
    """What the steps of a run have used of models; cost_usd is null when no price is known."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


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


class WorkflowDiff(Shape):
    """The JSON Patch that makes the second definition of the first; null is the draft."""

    first: int | None = None
    second: int | None = None
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


class TaskDetail(Shape):
    task_id: str
    run_id: str
    workflow: str
    position: str
    kind: Literal["approval", "input", "selection", "review", "resolution"]
    channel: Literal["voice"] | None = Field(default=None, description="asked by telephone as well")
    state: TaskState
    title: str
    description: str | None = None
    form: dict[str, Any]
    assign_to: Any = None
    priority: Literal["low", "normal", "high", "urgent"]
    due_at: str | None = None
    answer: Any = None
    answered_by: str | None = None
    answered_via: str | None = None
    comment: str | None = None
    created_at: str
    answered_at: str | None = None


class TaskPage(Shape):
    tasks: list[TaskDetail]
    total: int
    next_cursor: str | None = None


class EventReceived(Shape):
    event_id: str
    runs_woken: int
    duplicate: bool


class CircuitDetail(Shape):
    """A target that steps call: its circuit breaker and its rate limit."""

    target: str
    state: CircuitState
    failures: int = Field(description="in a row, of the last minute")
    opened_at: str | None = None
    retry_at: str | None = Field(default=None, description="when one call will try it again")
    times_opened: int
    last_error: str | None = None
    last_error_at: str | None = None
    held_until: str | None = Field(default=None, description="the target asked to be left alone until then")
    rate: str | None = None
    burst: int | None = None


class CircuitPage(Shape):
    circuits: list[CircuitDetail]
    total: int
    next_cursor: str | None = None


class WorkerLine(Shape):
    """A process that drives runs. Lost: its connection is gone, or nothing has been heard of it for the length of a lease."""

    host: str
    pid: int
    version: str
    state: Literal["serving", "draining", "lost"]
    driving: int = Field(description="runs it drives now")
    slots: int = Field(description="runs it may drive")
    started_at: str
    seen_at: str


class WorkerList(Shape):
    workers: list[WorkerLine]


class OrganizationDetail(Shape):
    slug: str
    name: str
    max_running: int | None = Field(default=None, description="runs driven at once; null: no limit")
    created_at: str


class OpenApiDocument(BaseModel):
    openapi: str


class Health(Shape):
    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}


class Parted(Shape):
    """Where a replay parts from its recording. `pointer`: the place in the definition to look at."""

    position: str
    attempt: int
    node: str | None
    pointer: str | None
    what: Literal["type", "config", "state", "output", "error", "branch", "missing", "extra", "result"]
    message: str
    expected: Any
    got: Any
    patch: list[dict[str, Any]]


class PartedLine(Shape):
    position: str
    what: str
    message: str


class ReplayReport(Shape):
    """Without a divergence the two digests are equal."""

    run_id: str = Field(description="of the replay, a test run")
    replay_of: str
    equal: bool
    state: RunState
    digest: str
    recorded_digest: str
    first_divergence: Parted | None = None
    further: list[PartedLine] = []
    more: int = 0
    simulated: list[str] = Field(default=[], description="positions of steps of which nothing is recorded: what they came to is made up")


class Recorded(Shape):
    """A line of a cassette. The first has the run and its definition, each other one of the rest."""

    weft: str | None = None
    format: int | None = None
    run: dict[str, Any] | None = None
    definition: Any = None
    step: dict[str, Any] | None = None
    wait: dict[str, Any] | None = None
    boundary: dict[str, Any] | None = None


class Repeated(Shape):
    """A part of the definition that fails the same way, tried."""

    definition: Any
    input: Any
    position: str
    code: str
    message: str
    nodes: int
    of: int


class Mended(Shape):
    """A patch that was tried on the failing run's recording; only with `ok` it held."""

    ok: bool
    reason: str
    why: str
    rounds: int
    diff: list[str]
    patch: list[dict[str, Any]] | None = Field(description="against the draft as it is now")
    workflow: str | None
    base_revision: int | None
    conflict: str | None
    simulated: list[str] = Field(description="positions of steps of which nothing is recorded: what they came to is a mock or made up")
    sampled: bool = Field(description="the failing step is among them")
    diagnostics: list[Diagnostic]
    first_divergence: Parted | None
    replay_run_id: str | None
    repro: Repeated | None
