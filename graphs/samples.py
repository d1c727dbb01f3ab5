"""Sample data for a JSON Schema: what test runs use for a step that has no mock, and what the scripted model answers."""

from __future__ import annotations

from typing import Any

from graphs.definition import Json, Schema

TEXTS = {
    "date-time": "2027-01-31T09:00:00Z",
    "date": "2027-01-31",
    "time": "09:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
MAX_DEPTH = 12


def sample(schema: Schema | bool, *, depth: int = 0) -> Json:
    """A value that fits ordinary schemas: the default, example, const or first enum value where there is one. The same every time."""
    if isinstance(schema, bool) or not schema or depth > MAX_DEPTH:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return sample(schema[key][0], depth=depth + 1)
    if schema.get("allOf"):
        merged: Schema = {}
        for part in schema["allOf"]:
            merged |= part
        return sample({**schema, "allOf": None, **merged}, depth=depth + 1)
    return _of_type(schema, depth)


def _of_type(schema: Schema, depth: int) -> Json:
    kinds: Json = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else None)
    kind: Json = kinds if isinstance(kinds, str) or not kinds else kinds[0]
    match kind:
        case "object":
            properties: dict[str, Any] = schema.get("properties") or {}
            return {name: sample(part, depth=depth + 1) for name, part in properties.items()}
        case "array":
            item = sample(schema.get("items", {}), depth=depth + 1)
            return [item] * max(int(schema.get("minItems", 1)), 0)
        case "string":
            text = TEXTS.get(schema.get("format", ""), "text")
            return text[: schema.get("maxLength", len(text))].ljust(int(schema.get("minLength", 0)), "x")
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case _:
            return None


def _number(schema: Schema, *, whole: bool) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    value = low if low is not None else min(high, 1) if high is not None else 1
    if "exclusiveMinimum" in schema and value == schema["exclusiveMinimum"]:
        value += 1 if whole or high is None or value + 1 < high else (high - value) / 2
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if whole else value
