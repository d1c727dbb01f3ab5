"""Checks what comes from outside against a JSON Schema and says, field by field, what does not fit."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from graphs.definition import Json, Schema
from store.errors import Invalid

SHOWN = 10
OFFLINE: Registry[Any] = Registry()  # without it, jsonschema would fetch a remote $ref past the outbound policy


def problems(schema: Schema, value: Json) -> list[dict[str, str]]:
    """[{pointer, message}] of what does not fit; references to other documents are never followed."""
    found = Draft202012Validator(schema, registry=OFFLINE).iter_errors(value)  # pyright: ignore[reportUnknownMemberType] its own stub
    try:
        return [{"pointer": _pointer(error), "message": error.message[:300]} for error in sorted(found, key=_place)][:SHOWN]
    except Unresolvable as error:
        raise Invalid(
            f"the schema refers to {error.ref!r}, which is not part of it; only references inside a schema are followed"
        ) from error


def check_input(schema: Schema, value: Json, *, what: str = "input") -> None:
    """Raises Invalid with every problem in `details`."""
    if found := problems(schema, value):
        listed = "; ".join(f"{what}{item['pointer']}: {item['message']}" for item in found)
        raise Invalid(f"the {what} does not fit: {listed}", problems=found)


def _pointer(error: ValidationError) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)


def _place(error: ValidationError) -> list[Any]:
    return [str(part) for part in error.absolute_path]
