"""A task's form as an elicitation: the same question, asked through the client in either protocol era."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from mcp.server.mcpserver import Elicit
from mcp.types import ClientCapabilities
from pydantic import BaseModel, ConfigDict

from store.tasks import Task

PRIMITIVES = frozenset({"string", "number", "integer", "boolean"})
KEYWORDS = {
    "string": ("type", "title", "description", "minLength", "maxLength", "default", "enum"),
    "number": ("type", "title", "description", "minimum", "maximum", "default"),
    "integer": ("type", "title", "description", "minimum", "maximum", "default"),
    "boolean": ("type", "title", "description", "default"),
}
FORMATS = frozenset({"email", "uri", "date", "date-time"})


class Answer(BaseModel):
    """What came back. The form itself is checked where the answer is recorded, in one place for every door."""

    model_config = ConfigDict(extra="allow")
    FORM: ClassVar[dict[str, Any]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        return cls.FORM


def can_ask(capabilities: ClientCapabilities | None) -> bool:
    """Whether the client shows forms to a person. A bare `elicitation: {}` is form support; url alone is not."""
    asked = capabilities.elicitation if capabilities else None
    return asked is not None and (asked.form is not None or asked.url is None)


def question(task: Task) -> Elicit[Answer] | None:
    """The task as an elicitation, with the same words every time; None when its form says more than elicitation can."""
    form = _requested(task.form)
    if form is None:
        return None
    schema = cast(type[Answer], type("Answer", (Answer,), {"FORM": form, "__module__": __name__}))
    return Elicit(f"{task.title}\n\n{task.description}".strip(), schema)


def _requested(form: dict[str, Any]) -> dict[str, Any] | None:
    fields = {name: _field(field) for name, field in form.get("properties", {}).items()}
    if not fields or not all(fields.values()):
        return None
    return {"type": "object", "properties": fields, "required": list(form.get("required", []))}


def _field(field: dict[str, Any]) -> dict[str, Any] | None:
    kind = field.get("type", "string" if "enum" in field else None)
    choices = field.get("enum")
    if kind not in PRIMITIVES or (choices is not None and not (kind == "string" and all(isinstance(choice, str) for choice in choices))):
        return None
    kept = {key: field[key] for key in KEYWORDS[kind] if key in field}
    if kind == "string" and field.get("format") in FORMATS:
        kept["format"] = field["format"]
    return {**kept, "type": kind}
