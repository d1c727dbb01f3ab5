"""What a schema says about a field: whether a path can lead anywhere in the values it describes."""

from __future__ import annotations

from dataclasses import dataclass

from graphs.checks.schemas import resolved
from graphs.definition import Json
from graphs.documents import is_array, is_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A step of a path that a schema does not have."""

    step: int  # number of the step
    names: tuple[str, ...]  # what there is instead
    closed: bool  # whether nothing else can be there
    kind: str = "object"  # what the value is instead of an object or list


def absent(schema: Json, steps: tuple[str | int, ...]) -> Absent | None:
    """The first step that the schema knows nothing of; None when every step may exist."""
    options = _alternatives(schema, schema)
    for number, step in enumerate(steps):
        found: list[Json] = []
        misses: list[Absent] = []
        for option in options:
            inner = _child(option, step, number)
            (misses if isinstance(inner, Absent) else found).append(inner)
        if not found and misses:
            names = tuple(dict.fromkeys(name for miss in misses for name in miss.names))
            closed = all(miss.closed for miss in misses)
            return Absent(step=number, names=names, closed=closed, kind=misses[0].kind)
        options = [option for inner in found for option in _alternatives(inner, schema)]
    return None


def _alternatives(schema: Json, root: Json, depth: int = 0) -> list[Json]:
    """The schemas a value may have to fit, one of them; [{}] when that cannot be told."""
    if not is_object(schema) or depth > 8:
        return [{}]
    if isinstance(schema.get("$ref"), str):
        return _alternatives(resolved(root, schema["$ref"]), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if is_array(schema.get(key)) and "properties" not in schema:
            options = [option for inner in schema[key][:50] for option in _alternatives(inner, root, depth + 1)]
            return [option for option in options if option.get("type") != "null"] or [{}]  # a field of null is null
    return [{}] if "allOf" in schema or "if" in schema else [schema]


def _child(schema: Json, step: str | int, number: int) -> Json | Absent:
    types = schema.get("type", [])
    names = types if is_array(types) else [types]
    kinds = {kind for kind in names if isinstance(kind, str)} - {"null"}
    if isinstance(step, int):
        if kinds and not kinds & {"array", "string"}:
            return Absent(step=number, names=(), closed=True, kind=" or ".join(sorted(kinds)))
        items = schema.get("items", {})
        return items if "prefixItems" not in schema and is_object(items) else {}
    if kinds and "object" not in kinds:
        return Absent(step=number, names=(), closed=True, kind=" or ".join(sorted(kinds)))
    properties = schema.get("properties")
    if not is_object(properties):
        return Absent(step=number, names=(), closed=True) if schema.get("additionalProperties") is False else {}
    if step in properties:
        return properties[step]
    more = schema.get("additionalProperties")
    if more is True or is_object(more) or "patternProperties" in schema:
        return more if is_object(more) else {}
    return Absent(step=number, names=tuple(properties), closed=more is False)
