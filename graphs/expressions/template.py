"""Templates: JSON values whose strings may hold `{{ expression }}`; a string that is exactly one hole keeps the value's type."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from graphs.definition import Body, Expression, Json
from graphs.documents import is_array, is_object, is_text
from graphs.expressions.syntax import Code, ExpressionError, parse
from graphs.nodetype import ScriptBody

MAX_TEXT = 1_000_000  # characters of one rendered string
PAIRS = {"(": ")", "[": "]", "{": "}"}
SPECIAL = re.compile(r"""['"()\[\]{}]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """The text between `{{` and `}}`, and where in its string the `{{` and the end of the `}}` are."""

    text: str
    start: int
    end: int


def split(text: str) -> list[str | Hole]:
    """Literal text and holes in turn; linear in the length. ExpressionError when a `{{` is not closed or empty."""
    parts: list[str | Hole] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = _end_of_hole(text, start + 2)
        if end < 0:
            raise ExpressionError("a {{ is not closed by }}", expression=text[start : start + 200], column=start + 1)
        if not text[start + 2 : end].strip():
            raise ExpressionError("{{ }} holds no expression", expression=text[start : end + 2], column=start + 1)
        if start > position:
            parts.append(text[position:start])
        parts.append(Hole(text=text[start + 2 : end], start=start, end=end + 2))
        position = end + 2
    if position < len(text) or not parts:
        parts.append(text[position:])
    return parts


def _end_of_hole(text: str, position: int) -> int:
    """Index of the `}}` that closes a hole: outside of string literals and of braces. -1 when there is none."""
    waiting: list[str] = []  # brackets that are open
    while found := SPECIAL.search(text, position):
        position = found.start()
        character = text[position]
        if character in "'\"":
            position = _end_of_string(text, position)
            continue
        if character in PAIRS:
            waiting.append(PAIRS[character])
        elif waiting and waiting[-1] == character:
            waiting.pop()
        elif text.startswith("}}", position):
            return position  # also where a ( or [ is still open: that is then an error of the expression
        position += 1
    return -1


def _end_of_string(text: str, position: int) -> int:
    quote = text[position] * 3 if text.startswith(text[position] * 3, position) else text[position]
    position += len(quote)
    while position < len(text) and not text.startswith(quote, position):
        position += 2 if text[position] == "\\" else 1
    return position + len(quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """A string with holes: literal parts and numbers of codes."""

    parts: tuple[str | int, ...]

    def build(self, values: list[Json]) -> Json:
        if len(self.parts) == 1 and isinstance(self.parts[0], int):
            return values[self.parts[0]]
        text = "".join(part if isinstance(part, str) else as_text(values[part]) for part in self.parts)
        if len(text) > MAX_TEXT:
            raise ExpressionError(f"the rendered text has {len(text)} characters; {MAX_TEXT} are allowed")
        return text


def as_text(value: Json) -> str:
    """A value inside text: strings as they are, null as nothing, anything else as compact JSON."""
    if is_text(value):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A JSON value compiled for rendering. Object keys are never templates."""

    value: Json  # with a _Text wherever a string holds holes
    codes: tuple[Code, ...]
    plain: bool = field(init=False)
    """Every hole is a plain path or a literal: no sandbox is needed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", not any(code.sandboxed for code in self.codes))

    @staticmethod
    def compile(value: Json) -> Template:
        """Raises ExpressionError for the first hole that is not a valid expression."""
        if is_text(value):
            return _compile_short(value) if len(value) <= 2000 else _compile_text(value)
        codes: list[Code] = []
        return Template(value=_compiled(value, codes), codes=tuple(codes))

    @property
    def constant(self) -> bool:
        """It holds no holes at all: rendering gives the value itself."""
        return not self.codes

    def resolve(self, scope: Mapping[str, Json]) -> Json:
        """Renders a plain template without the sandbox."""
        return self.build([plain_value(code, scope) for code in self.codes])

    def build(self, values: list[Json]) -> Json:
        """The rendered value, given the value of each of `codes`."""
        return self.value if self.constant else _built(self.value, values)


def plain_value(code: Code, scope: Mapping[str, Json]) -> Json:
    """Value of code that is a plain path or a literal."""
    if code.constant:
        return code.constant[0]
    if code.path is None:
        raise ExpressionError("this needs the sandbox", expression=code.text)
    return code.path.resolve(scope)


def _compile_text(text: str) -> Template:
    codes: list[Code] = []
    return Template(value=_compiled(text, codes), codes=tuple(codes))


_compile_short = lru_cache(maxsize=4096)(_compile_text)  # the cache holds no long texts


def _compiled(value: Json, codes: list[Code]) -> Json:
    if is_text(value):
        if "{{" not in value:
            return value
        parts: list[str | int] = []
        for part in split(value):
            if isinstance(part, Hole):
                codes.append(parse(part.text.strip()))
                parts.append(len(codes) - 1)
            else:
                parts.append(part)
        return _Text(parts=tuple(parts))
    if is_object(value):
        return {key: _compiled(inner, codes) for key, inner in value.items()}
    if is_array(value):
        return [_compiled(inner, codes) for inner in value]
    return value


def _built(value: Json, values: list[Json]) -> Json:
    if isinstance(value, _Text):
        return value.build(values)
    if is_object(value):
        return {key: _built(inner, values) for key, inner in value.items()}
    if is_array(value):
        return [_built(inner, values) for inner in value]
    return value


@lru_cache(maxsize=256)
def raw_fields(config_model: type[BaseModel]) -> frozenset[str]:
    """Python names of the config fields that hold a body, an expression or code anywhere: never rendered as templates."""
    hints = typing.get_type_hints(config_model, include_extras=True)
    return frozenset(name for name in config_model.model_fields if holds(hints[name], is_raw))


def is_raw(hint: Any) -> bool:
    """Whether a type is a body, an expression or code."""
    return hint is Body or hint == Expression or any(isinstance(mark, ScriptBody) for mark in getattr(hint, "__metadata__", ()))


def holds(hint: Any, wanted: Callable[[Any], bool]) -> bool:
    """Whether a type, or anything inside it, is one that is wanted."""
    if wanted(hint):
        return True
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        inner = typing.get_type_hints(hint, include_extras=True)
        return any(holds(inner[name], wanted) for name in hint.model_fields)
    return any(holds(argument, wanted) for argument in typing.get_args(hint))
