"""approval: asks a person to approve or reject; waits as one row until the first valid answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodetype import Context, Effect, Failure, Family, TaskForm, Wait

SUMMARY = "Ask a person to approve or reject. Output `approved` says which; a timeout approves, rejects or fails as configured."
FAMILY: Family = "human"
EFFECT = Effect.PURE
WAITS = True
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"title": "Refund {{ nodes.classify.amount }}?", "assign_to": {"group": "support"}, "timeout": "2d", "on_timeout": "reject"},
)
FORM: Schema = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Approve?"},
        "comment": {"type": "string", "title": "Comment", "maxLength": 2000},
    },
    "required": ["approved"],
    "additionalProperties": False,
}


class Assignee(Closed):
    user: str | None = None
    group: str | None = None


class Config(Closed):
    title: str
    description: str = ""
    assign_to: Assignee | None = None
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    timeout: Duration | None = None
    on_timeout: Literal["approve", "reject", "fail"] = Field(default="fail")


def output(config: Config) -> Schema:
    properties = {"approved": {"type": "boolean"}, "comment": {"type": "string"}, "answered_by": {}, "timed_out": {"type": "boolean"}}
    return {"type": "object", "properties": properties, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    assignee = config.assign_to.model_dump(exclude_none=True) if config.assign_to else None
    task = TaskForm(
        kind="approval", title=config.title, description=config.description, form=FORM, assign_to=assignee, priority=config.priority
    )
    answer = await context.wait(Wait(kind="task", task=task, due_in=seconds(config.timeout) if config.timeout else None))
    if answer.state == "expired":
        if config.on_timeout == "fail":
            raise Failure("approval_timeout", f"nobody answered {config.title!r} within {config.timeout}")
        return {"approved": config.on_timeout == "approve", "comment": "", "answered_by": None, "timed_out": True}
    given = answer.payload["answer"]
    return {
        "approved": given["approved"],
        "comment": given.get("comment") or answer.payload.get("comment") or "",
        "answered_by": answer.payload.get("by"),
        "timed_out": False,
    }
