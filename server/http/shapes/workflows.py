"""Workflows, their versions and what is wrong with a definition."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.http.shapes import Shape


class Diagnostic(Shape):
    """A problem of a definition: where, what, and the JSON Patch that fixes it where one exists."""

    code: str
    severity: Literal["error", "warning"]
    pointer: str
    message: str
    expected: str | None = None
    suggestions: list[str] = Field(default=[])
    patch: list[dict[str, Any]] = Field(default=[])


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


class WorkflowDiff(Shape):
    """The JSON Patch that makes the second definition of the first; null is the draft."""

    first: int | None = None
    second: int | None = None
    patch: list[dict[str, Any]]
