"""input: asks a person to fill in a form; waits as one row until the first valid answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.documents import is_object
from graphs.nodes.approval import Assignee
from graphs.nodetype import Context, Effect, Failure, Family, TaskForm, Wait

SUMMARY = "Ask a person to fill in a small form. Output `answer` holds the fields, checked against `form`."
FAMILY: Family = "human"
EFFECT = Effect.PURE
WAITS = True
PRIMITIVES = {"string", "number", "integer", "boolean"}
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "title": "Delivery address for {{ input.order_id }}",
        "form": {"type": "object", "properties": {"street": {"type": "string"}, "floor": {"type": "integer"}}, "required": ["street"]},
        "timeout": "7d",
    },
)


def flat(form: Schema, what: str) -> None:
    """Raises ValueError unless it is an object of primitives, which every door can ask for."""
    fields: Json = form.get("properties")
    if form.get("type") != "object" or not is_object(fields) or not fields:
        raise ValueError(f'{what} must be {{"type": "object", "properties": {{…}}}} with at least one property')
    for name, field in fields.items():
        if not is_object(field) or not ("enum" in field or field.get("type") in PRIMITIVES):
            raise ValueError(f"{what} field {name!r} must be a string, number, integer, boolean or enum")


class Config(Closed):
    title: str
    description: str = ""
    form: Schema = Field(description="JSON Schema: an object whose properties are string, number, integer, boolean or enum")
    assign_to: Assignee | None = None
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    timeout: Duration | None = None
    on_timeout: Literal["fail", "continue"] = "fail"

    @field_validator("form")
    @classmethod
    def _flat(cls, form: Schema) -> Schema:
        flat(form, "form")
        return form


def output(config: Config) -> Schema:
    answer = {**config.form, "type": ["object", "null"]} if config.on_timeout == "continue" else config.form
    return {
        "type": "object",
        "properties": {"answer": answer, "answered_by": {}, "timed_out": {"type": "boolean"}},
        "additionalProperties": False,
    }


async def run(config: Config, context: Context) -> Json:
    assignee = config.assign_to.model_dump(exclude_none=True) if config.assign_to else None
    task = TaskForm(
        kind="input", title=config.title, description=config.description, form=config.form, assign_to=assignee, priority=config.priority
    )
    answer = await context.wait(Wait(kind="task", task=task, due_in=seconds(config.timeout) if config.timeout else None))
    if answer.state == "expired":
        if config.on_timeout == "fail":
            raise Failure("input_timeout", f"nobody answered {config.title!r} within {config.timeout}")
        return {"answer": None, "answered_by": None, "timed_out": True}
    return {"answer": answer.payload["answer"], "answered_by": answer.payload.get("by"), "timed_out": False}
