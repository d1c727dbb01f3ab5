"""The definition of a workflow: nodes, edges and groups as data, exactly what authors write and versions keep."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Json = Any  # what JSON can say: None, bool, int, float, str, list and dict of these
Schema = dict[str, Any]  # a JSON Schema, draft 2020-12

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
MAX_SECONDS = 10 * 365 * 86400.0


def seconds(duration: str) -> float:
    """Reads "90s", "2d", "1h30m" or "500ms" as seconds. Raises ValueError with the accepted forms."""
    text = duration.strip().replace(" ", "")
    if not DURATION.fullmatch(text):
        raise ValueError(f'{duration!r} is not a duration; write for example "500ms", "30s", "1h30m" or "7d"')
    total = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", text))
    if total > MAX_SECONDS:
        raise ValueError(f"{duration!r} is longer than ten years")
    return total


def _is_duration(value: str) -> str:
    seconds(value)
    return value


Duration = Annotated[
    str,
    AfterValidator(_is_duration),
    Field(json_schema_extra={"pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$"}, description='e.g. "30s", "1h30m", "7d"'),
]
NodeId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
"""Python expression over input, nodes, errors, vars, run, env and the names of the groups around it; written without braces."""


class Closed(BaseModel):
    """A model of outside data: unknown fields are refused, numbers are numbers and not text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Retry(Closed):
    max_attempts: int = Field(default=3, ge=1, le=100, description="attempts in all, the first included")
    initial: Duration = "1s"
    factor: float = Field(default=2.0, ge=1.0, le=10.0)
    max_delay: Duration = "5m"
    jitter: bool = True


class Position(Closed):
    x: float
    y: float


class Edge(Closed):
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    when: Expression | None = Field(default=None, description="taken only if this is true once `from` is done")
    branch: str | None = Field(default=None, description='"error", or a branch of an if or switch node: "true", "false", a case, "default"')
    label: str | None = None
    max_loops: int | None = Field(
        default=None, ge=1, le=10_000, description="for an edge that leads back: how often it may be taken in a row"
    )


class Boundary(Closed):
    """Something that may happen while the node runs. Edges that leave the node with `branch` = its name are taken when it does."""

    name: NodeId
    timer: Duration | None = Field(default=None, description="fires when the step has not ended by then")
    event: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$", description="fires when this event is sent")
    correlation: str | None = Field(default=None, description="template; only events with this correlation count")
    error: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        max_length=20,
        description='fires when the step fails with one of these codes; "http_4*" works',
    )
    interrupting: bool = Field(default=True, description="true: the step is cancelled; false: it goes on beside what the edges lead to")

    @model_validator(mode="after")
    def _one_kind(self) -> Boundary:
        given = [name for name in ("timer", "event", "error") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of timer, event and error")
        if self.correlation is not None and given != ["event"]:
            raise ValueError("correlation belongs to event")
        if not self.interrupting and given == ["error"]:
            raise ValueError("an error has ended the step already: leave out interrupting")
        return self


class Compensate(Closed):
    """What undoes a step that has succeeded; its templates see what the step saw, and the step's own output."""

    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    retry: Retry | None = None
    timeout: Duration | None = None


class Node(Closed):
    id: NodeId
    type: str
    type_version: int = 1
    name: str | None = None
    description: str | None = None
    disabled: bool = False
    config: dict[str, Any] = Field(default_factory=dict)
    retry: Retry | None = None
    timeout: Duration | None = Field(default=None, description="of one attempt; for a group or a waiting node, of the whole step")
    on_error: Literal["stop", "continue", "route"] = "stop"
    on_ambiguous: Literal["ask", "retry", "fail", "continue"] = Field(
        default="ask", description="when a call that must not be repeated was cut off: ask a person, repeat it, fail, or take it as done"
    )
    boundary: tuple[Boundary, ...] = Field(default=(), max_length=10, strict=False)
    compensate: Compensate | None = Field(
        default=None, description="undoes this step when a try, a race, a cancel or a failure asks for it"
    )
    milestone: str | None = Field(
        default=None, max_length=300, description="told as progress to people when the step has succeeded; a template"
    )
    pin: Json = Field(default=None, description="output to use in test runs instead of doing the step")
    notes: str | None = None
    position: Position | None = None


class Body(Closed):
    """Nodes and edges: the top level of a workflow, and the inside of every group."""

    nodes: tuple[Node, ...] = Field(min_length=1, max_length=2000, strict=False)
    edges: tuple[Edge, ...] = Field(default=(), max_length=8000, strict=False)


class Concurrency(Closed):
    key: str = Field(
        min_length=1, max_length=500, description='template over input, e.g. "{{ input.customer }}"; runs with equal keys queue up'
    )
    limit: int = Field(default=1, ge=1, le=1000, description="how many of them may be under way at once")


class Budget(Closed):
    """What a run and the runs it starts may spend on models; a call that might pass it is refused."""

    usd: float | None = Field(default=None, gt=0, le=1_000_000)
    tokens: int | None = Field(default=None, ge=1, le=1_000_000_000_000, description="of input and output together")

    @model_validator(mode="after")
    def _bounds(self) -> Budget:
        if self.usd is None and self.tokens is None:
            raise ValueError("give usd, tokens or both")
        return self


class Settings(Closed):
    timeout: Duration | None = Field(default=None, description="the run fails when it has not finished by then")
    deadline: str | None = Field(default=None, max_length=500, description="ISO 8601 instant, or a template over input that gives one")
    start_delay: Duration | None = Field(default=None, description="the run begins that much after it was started")
    concurrency: Concurrency | None = None
    compensate: tuple[Literal["failure", "cancel"], ...] = Field(
        default=(), strict=False, description="when the whole run ends so, completed steps are undone in reverse order"
    )
    max_steps: int = Field(default=10_000, ge=1, le=1_000_000)
    priority: int = Field(default=0, ge=-100, le=100)
    budget: Budget | None = Field(default=None, description="of calls to models")


class Definition(Body):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    description: str = ""
    input: Schema = Field(default_factory=lambda: {"type": "object"}, description="JSON Schema of the run's input")
    vars: dict[str, Json] = Field(default_factory=dict, description="run variables and their first values; `set` assigns them")
    output: Json = Field(default=None, description="template of the run's output; without it the last outputs are")
    settings: Settings = Settings()
