"""The shapes of HTTP answers, a file per noun, for the OpenAPI document. What the doors send is built in server/views; tests hold the two
together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

RunState = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled"]
StepState = Literal["running", "waiting", "retrying", "succeeded", "failed", "skipped", "cancelled", "ambiguous", "compensated"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(Shape):
    code: str
    message: str
    details: dict[str, Any] = {}


class Problem(Shape):
    """Every error answer."""

    error: Fault


class OpenApiDocument(BaseModel):
    openapi: str


class Health(Shape):
    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}
