"""Processes that drive runs, and the organizations they drive them for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.http.shapes import Shape


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
