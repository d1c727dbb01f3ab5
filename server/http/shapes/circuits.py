"""Targets that steps call."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from server.http.shapes import Shape

CircuitState = Literal["closed", "open", "half_open"]


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
