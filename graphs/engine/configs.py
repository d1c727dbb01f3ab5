"""A rendered config made into the config model of its node type."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, ValidationError

from graphs.expressions.template import as_text

DECIDED = "#"  # before the names of decisions that are recorded beside a rendered config
REFUSED = "refused:"  # behind it, before the key of a step that was not permitted


def rendered(recorded: dict[str, Any]) -> dict[str, Any]:
    """The rendered config in what was recorded of a step's input."""
    return {name: value for name, value in recorded.items() if not name.startswith(DECIDED)}


def fitted(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    """Validates rendered values. Where a text is wanted and a template gave something else (a number in a title), it becomes its text.
    Raises ValidationError for anything else that does not fit."""
    try:
        return model.model_validate(values, context={"rendered": True})
    except ValidationError as error:
        places = [problem["loc"] for problem in error.errors() if problem["type"] == "string_type" and problem["input"] is not None]
        if len(places) < error.error_count():
            raise
    values = copy.copy(values)
    for place in places:
        _make_text(values, place)
    return model.model_validate(values, context={"rendered": True})


def _make_text(values: Any, place: tuple[int | str, ...]) -> None:
    *path, last = place
    for step in path:
        values[step] = copy.copy(values[step])
        values = values[step]
    values[last] = as_text(values[last])


def explain(error: ValidationError) -> str:
    """The first problems in a sentence."""
    found = ("/".join(str(part) for part in problem["loc"]) + ": " + problem["msg"] for problem in error.errors()[:5])
    return "the rendered config does not fit: " + "; ".join(found)
