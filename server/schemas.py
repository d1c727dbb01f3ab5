"""Makes JSON Schemas lean: references written out, no titles, no null arms, so that models read the fewest characters that say it all."""

from __future__ import annotations

from typing import Any, cast

NOISE = frozenset({"title", "$defs"})
OPEN = ("additionalProperties", True)  # says what is so anyway


def lean(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without what only generators need. Recursive definitions must have been cut before."""
    return cast(dict[str, Any], _lean(schema, schema.get("$defs", {}), frozenset()))


def _lean(node: Any, definitions: dict[str, Any], inside: frozenset[str]) -> Any:
    if isinstance(node, list):
        return [_lean(child, definitions, inside) for child in cast(list[Any], node)]
    if not isinstance(node, dict):
        return node
    schema = cast(dict[str, Any], node)
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.rsplit("/", 1)[-1]
        target: dict[str, Any] = {} if name in inside else definitions.get(name, {})
        return _lean({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions, inside | {name})
    found = {key: _child(key, value, definitions, inside) for key, value in schema.items() if key not in NOISE and (key, value) != OPEN}
    return _without_null(found)


def _child(key: str, value: Any, definitions: dict[str, Any], inside: frozenset[str]) -> Any:
    if key in ("enum", "const", "default", "examples", "required", "pattern"):
        return value
    if key == "properties":
        return {name: _lean(child, definitions, inside) for name, child in cast(dict[str, Any], value).items()}
    return _lean(value, definitions, inside)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An optional argument is left out, not sent as null: {"anyOf": [X, null], "default": null} is X."""
    arms = schema.get("anyOf")
    if isinstance(arms, list) and {"type": "null"} in arms:
        left = [arm for arm in cast(list[Any], arms) if arm != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        schema = {**left[0], **rest} if len(left) == 1 else {**rest, "anyOf": left}
    if "default" in schema and schema["default"] is None:
        schema = {key: value for key, value in schema.items() if key != "default"}
    return schema
