"""Replays, cassettes and mended definitions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import RunState, Shape
from server.http.shapes.workflows import Diagnostic


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
    further: list[PartedLine] = Field(default=[])
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
