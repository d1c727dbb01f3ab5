"""Config models beside the documents they describe: which field a place belongs to, and which parts of a config are code."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel

from graphs.checks.diagnostic import joined
from graphs.definition import Body, Duration, Expression, Json
from graphs.documents import is_array, is_object
from graphs.expressions.template import holds, is_raw

Kind = Literal["body", "expression", "code", "template", "data"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a config: a body, an expression, code, a value that is rendered as a template, or one that is not."""

    kind: Kind
    pointer: str  # inside the config
    value: Json


def parts(model: type[BaseModel], config: dict[str, Json]) -> Iterator[Part]:
    """Walks a config and its model together."""
    for name, (hint, raw) in _fields(model).items():
        if name in config:
            yield from _parts(hint, joined("", name), config[name], "data" if raw else "template")


def _parts(hint: Any, pointer: str, value: Json, rest: Kind) -> Iterator[Part]:
    own = _kind(hint)
    if own:
        yield Part(own, pointer, value)
    elif rest == "template" or not _holds_raw(hint):
        yield Part(rest, pointer, value)
    elif is_model(hint):
        if is_object(value):
            for name, (inner, _) in _fields(hint).items():
                if name in value:
                    yield from _parts(inner, joined(pointer, name), value[name], rest)
    elif typing.get_origin(hint) is dict:
        if is_object(value):
            for key, inner in value.items():
                yield from _parts(typing.get_args(hint)[1], joined(pointer, key), inner, rest)
    elif typing.get_origin(hint) in (list, tuple):
        if is_array(value):
            for number, inner in enumerate(value):
                yield from _parts(typing.get_args(hint)[0], f"{pointer}/{number}", inner, rest)
    elif value is not None:  # a union: the alternative that holds something raw decides
        yield from _parts(next(part for part in typing.get_args(hint) if _holds_raw(part)), pointer, value, rest)


def is_model(hint: Any) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _kind(hint: Any) -> Kind | None:
    if not is_raw(hint):
        return None
    return "body" if hint is Body else "expression" if hint == Expression else "code"


@lru_cache(maxsize=1024)
def _fields(model: type[BaseModel]) -> dict[str, tuple[Any, bool]]:
    """Name as authors write it -> type, and whether it holds anything that is not rendered."""
    hints = typing.get_type_hints(model, include_extras=True)
    return {field.alias or name: (hints[name], _holds_raw(hints[name])) for name, field in model.model_fields.items()}


@lru_cache(maxsize=1024)
def _holds_raw(hint: Any) -> bool:
    return holds(hint, is_raw)


@lru_cache(maxsize=1024)
def holds_bodies(hint: Any) -> bool:
    """Whether a config of this type may hold nodes of its own."""
    return holds(hint, lambda inner: inner is Body)


@lru_cache(maxsize=1024)
def field_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model as authors write them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


@lru_cache(maxsize=1024)
def aliases(model: type[BaseModel]) -> dict[str, str]:
    """Python name -> name as authors write it, where they differ."""
    return {name: field.alias for name, field in model.model_fields.items() if field.alias and field.alias != name}


def at(value: Json, path: list[int | str]) -> Json:
    """The part of a value at a path that exists."""
    for step in path:
        value = value[step]
    return value


def existing(value: Any, path: tuple[int | str, ...] | list[int | str]) -> list[int | str]:
    """The part of a pydantic location that is in the document; labels of union alternatives are not."""
    found: list[int | str] = []
    for step in path:
        holds_it = step in value if is_object(value) else is_array(value) and isinstance(step, int) and step < len(value)
        if holds_it:
            value = at(value, [step])
            found.append(step)
    return found


def hint_at(model: Any, path: list[int | str]) -> Any:
    """The type at a location inside a model, as far as it can be told."""
    hint = model
    for step in path:
        hint = unwrapped(hint)
        if is_model(hint):
            name = next((name for name, field in hint.model_fields.items() if step in (name, field.alias)), None)
            hint = typing.get_type_hints(hint, include_extras=True)[name] if name else None
        elif typing.get_origin(hint) is dict:
            hint = typing.get_args(hint)[1]
        elif typing.get_origin(hint) in (list, tuple):
            hint = typing.get_args(hint)[0]
        else:
            return None
    return unwrapped(hint)


def unwrapped(hint: Any) -> Any:
    """Without Optional and without the marks of Templated."""
    if typing.get_origin(hint) is typing.Annotated and not is_duration(hint):
        return unwrapped(typing.get_args(hint)[0])
    rest = [part for part in typing.get_args(hint) if part is not type(None)]
    return unwrapped(rest[0]) if type(None) in typing.get_args(hint) and len(rest) == 1 else hint


def required(model: type[BaseModel], path: list[int | str]) -> bool:
    owner = hint_at(model, path[:-1])
    if not is_model(owner):
        return True
    return any(field.is_required() for name, field in owner.model_fields.items() if path[-1] in (name, field.alias))


def is_duration(hint: Any) -> bool:
    """Whether a type, or an alternative of it, is a duration."""
    return hint == Duration or any(is_duration(part) for part in getattr(hint, "__args__", ()))
