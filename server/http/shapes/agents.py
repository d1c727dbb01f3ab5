"""The shapes of HTTP answers about agents, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from server.http.shapes import Shape, StepState


class ProfileLine(Shape):
    name: str
    version: int
    description: str
    digest: str
    created_by: str | None
    created_at: str


class ProfileDetail(ProfileLine):
    profile: dict[str, Any]


class AgentPage(Shape):
    agents: list[ProfileLine]
    total: int
    next_cursor: str | None = None


class AgentVersions(Shape):
    versions: list[ProfileLine]


class Spent(Shape):
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class AgentRun(Shape):
    position: str
    parent: str | None
    depth: int
    profile: str | None
    state: StepState
    started_at: str
    finished_at: str | None
    turns: int
    calls: int
    approvals: int
    usage: Spent
    error: dict[str, Any] | None
    agents: list[AgentRun]


class AgentRuns(Shape):
    agents: list[AgentRun]


class PlanItem(Shape):
    text: str
    state: str


class AgentCall(Shape):
    position: str
    turn: int
    number: int
    type: str
    config: dict[str, Any]
    effect: str | None
    state: StepState
    attempts: int
    output: Any
    error: dict[str, Any] | None


class AgentApproval(Shape):
    position: str
    turn: int
    number: int
    state: StepState
    asked: str | None
    approved: bool | None
    comment: str | None
    by: str | None


class AgentTranscript(Shape):
    position: str
    profile: str | None
    state: StepState
    plan: list[PlanItem]
    messages: list[dict[str, Any]]
    calls: list[AgentCall]
    approvals: list[AgentApproval]
    output: Any
    error: dict[str, Any] | None
