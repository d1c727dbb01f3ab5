"""Tasks of people, and events from outside."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import Shape

TaskState = Literal["open", "answered", "expired", "cancelled"]


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
