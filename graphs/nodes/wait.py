"""wait: lets time pass; a timer row and no process."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, model_validator

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodetype import Context, Effect, Failure, Family, Templated, Wait

SUMMARY = "Wait for a length of time or until an instant. Costs nothing while it waits, even for months."
FAMILY: Family = "flow"
EFFECT = Effect.PURE
WAITS = True
EXAMPLES: tuple[dict[str, Any], ...] = ({"seconds": 30}, {"duration": "3d"}, {"until": "{{ input.due }}"})


class Config(Closed):
    duration: Templated[Duration] | None = None
    seconds: Templated[Annotated[float, Field(ge=0, le=315_360_000)]] | None = None
    until: str | None = Field(default=None, description="ISO 8601 instant with a zone, e.g. 2027-01-31T09:00:00Z")

    @model_validator(mode="after")
    def _one(self) -> Config:
        if sum(value is not None for value in (self.duration, self.seconds, self.until)) != 1:
            raise ValueError("give exactly one of duration, seconds, until")
        return self


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"waited": {"const": True}}, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    if config.until is not None:
        await context.wait(Wait(kind="timer", due_at=_instant(config.until)))
    else:
        await context.wait(
            Wait(kind="timer", due_in=float(config.seconds) if config.seconds is not None else seconds(str(config.duration)))
        )
    return {"waited": True}


def _instant(text: str) -> str:
    try:
        parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise Failure("bad_instant", f"{text!r} is not an ISO 8601 instant with a time zone, such as 2027-01-31T09:00:00Z")
    return parsed.isoformat()
