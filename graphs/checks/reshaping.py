"""Values of the wrong shape made right: a list where names were wanted, one where several were, a number where an object was."""

from __future__ import annotations

import typing
from typing import Any

from graphs.checks.diagnostic import Operation, add, remove
from graphs.checks.models import field_names, is_model
from graphs.checks.repairs import NOTHING, path_like, slug, unused
from graphs.definition import Body, Boundary, Concurrency, Json
from graphs.documents import is_array, is_object


def reshaped(hint: Any, value: Json) -> Any:
    """The value in the shape of this type; NOTHING where that cannot be told."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Concurrency:
        return _concurrency(value)
    if origin in (list, tuple):
        return _listed(arguments[0], value)
    if origin is dict and arguments[1] is Body and is_array(value):
        return _bodies_by_name(value)
    return NOTHING


def _concurrency(value: Json) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return {"key": "all", "limit": value}
    return {"key": "{{ " + value + " }}" if path_like(value) else value} if isinstance(value, str) and value else NOTHING


def _listed(item: Any, value: Json) -> Any:
    if is_model(item) and "name" in field_names(item) and _by_name(value, field_names(item)):
        return [{"name": name, **inner} for name, inner in value.items()]
    allowed = typing.get_args(item) if typing.get_origin(item) is typing.Literal else ()
    if allowed and value is True:
        return list(allowed)
    if isinstance(value, str) and (value in allowed or (item is str and not path_like(value))):
        return [value]
    return NOTHING


def _by_name(value: Json, fields: tuple[str, ...]) -> bool:
    """Whether it is an object of things by name, and not one such thing."""
    if not is_object(value) or not value or set(value) & set(fields):
        return False
    return all(is_object(inner) and "name" not in inner for inner in value.values())


def _bodies_by_name(value: list[Json]) -> Any:
    found: dict[str, Json] = {}
    for number, inner in enumerate(value):
        body: Any = {"nodes": inner} if is_array(inner) else inner
        name = f"branch_{number + 1}"
        if is_object(body) and "nodes" not in body and "type" in body:
            body = {"nodes": [body]}
        elif is_object(body) and "nodes" in body and isinstance(body.get("name"), str):
            name = slug(body["name"])
            body = {key: part for key, part in body.items() if key != "name"}
        if not is_object(body) or not body.get("nodes"):
            return NOTHING
        found[unused(name, found)] = body
    return found or NOTHING


def mended_boundary(hint: Any, value: Json, message: str, pointer: str) -> tuple[Operation, ...]:
    """The patch for a boundary whose fields do not go together, by what its model says."""
    if hint is not Boundary or not is_object(value):
        return ()
    kinds = [name for name in ("timer", "event", "error") if value.get(name) is not None]
    if "exactly one" in message:
        return tuple(remove(f"{pointer}/{name}") for name in kinds[1:]) if kinds else (add(f"{pointer}/timer", "1h"),)
    lost = "correlation" if "correlation" in message else "interrupting"
    return (remove(f"{pointer}/{lost}"),) if lost in value else ()
