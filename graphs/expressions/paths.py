"""Plain paths such as `nodes.a.items[0].x`: resolved by the host, with the same rules the sandbox keeps."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphs.definition import Json
from graphs.documents import is_array, is_object, is_text
from store.errors import Invalid

FOREIGN = {
    "true": "True",
    "false": "False",
    "null": "None",
    "undefined": "None",
    "nil": "None",
    "none": "None",
    "NaN": "None",
}  # of other languages
KINDS: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


class ExpressionError(Invalid):
    """An expression could not be evaluated."""

    code = "expression"

    def __init__(self, message: str, /, *, expression: str = "", **details: Json) -> None:
        super().__init__(message, expression=expression, **details)
        self.expression = expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A name and the fields and indexes that follow it."""

    root: str
    steps: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return spelled(self.root, self.steps)

    def resolve(self, scope: Mapping[str, Json]) -> Json:
        """The value at this path. A field of null is null; a missing field is an ExpressionError that names its neighbours."""
        if self.root not in scope:
            raise ExpressionError(unknown_name(self.root, scope), expression=str(self))
        value = scope[self.root]
        for number, step in enumerate(self.steps):
            if value is None:
                return None
            try:
                value = step_into(value, step)
            except LookupError:
                raise ExpressionError(no_field(spelled(self.root, self.steps[:number]), step, value), expression=str(self)) from None
        return value


def step_into(value: Json, step: str | int) -> Json:
    """One field or one index; LookupError when there is none."""
    if is_object(value) and isinstance(step, str):
        return value[step]
    if (is_array(value) or is_text(value)) and isinstance(step, int):
        return value[step]
    raise LookupError(step)


def path_of(node: ast.expr) -> Path | None:
    """The plain path that a parsed expression is, or None when it is anything more."""
    steps: list[str | int] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            steps.append(node.attr)
        elif isinstance(node, ast.Subscript):
            step = constant_step(node.slice)
            if step is None:
                return None
            steps.append(step)
        else:
            return None
        node = node.value
    return Path(root=node.id, steps=tuple(reversed(steps)))


def constant_step(node: ast.expr) -> str | int | None:
    """The text or whole number between the brackets of a plain path."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = constant_step(node.operand)
        return -inner if isinstance(inner, int) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)) and not isinstance(node.value, bool):
        return node.value
    return None


def spelled(root: str, steps: Iterable[str | int]) -> str:
    """The path as an author would write it."""
    return root + "".join(f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{step!r}]" for step in steps)


def nearest(word: str, words: Iterable[str], limit: int = 3) -> list[str]:
    """The words most like this one, best first; none when nothing is like it."""
    wanted = word.lower()[:64]
    letters, room = set(wanted), max(2, len(wanted) // 2)
    folded = {lower: other for other in words if abs(len(lower := other.lower()) - len(wanted)) <= room and letters & set(lower)}
    if len(folded) > 50:  # comparing closely is slow: first the fifty with most of their beginning and end in common
        alike = sorted(folded, key=lambda lower: _ends_shared(wanted, lower), reverse=True)
        folded = {lower: folded[lower] for lower in alike[:50]}
    return [folded[found] for found in difflib.get_close_matches(wanted, folded, n=limit, cutoff=0.6)]


def _ends_shared(one: str, other: str) -> int:
    start = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    end = next((place for place, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), 0)
    return start + end


def unknown_name(name: str, names: Iterable[str]) -> str:
    """Sentence for a name that is not in scope."""
    known = sorted(names)
    close = [FOREIGN[name]] if name in FOREIGN else nearest(name, known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"the names here are {listed(known)}"
    return f"there is no name {name!r}; {hint}"


def no_field(owner: str, step: str | int, value: object) -> str:
    """Sentence for a field or an index that a value does not have."""
    if is_object(value):
        return missing_key(owner, step, value)
    if (is_array(value) or is_text(value)) and isinstance(step, int):
        return f"{owner} has no index {step}; its length is {len(value)}"
    what = KINDS.get(type(value), "no object")
    hint = "; take one by index, as in [0], or write [x.… for x in …]" if is_array(value) else ""
    return f"{owner} is {what}, so it has no field {step!r}{hint}"


def missing_key(owner: str, step: Json, keys: Iterable[Json]) -> str:
    """Sentence for a key that an object does not have."""
    known = [str(key) for key in keys]
    close = nearest(str(step), known)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"its fields are {listed(known)}" if known else "it is empty"
    return f"{owner} has no field {step!r}; {hint}"


def listed(words: list[str], limit: int = 12) -> str:
    """Some of the words, with commas."""
    return ", ".join(word[:60] for word in words[:limit]) + (", …" if len(words) > limit else "")
