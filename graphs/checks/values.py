"""The document as a whole: only what JSON can hold, not too large, not too deep. Whatever comes after may recurse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from graphs.checks.diagnostic import Diagnostic, joined
from graphs.definition import Json
from graphs.documents import is_array, is_object, is_text

MAX_CHARACTERS = 1_000_000
MAX_STRING = 200_000
MAX_DEPTH = 150  # 20 groups in one another and a schema in the innermost
LARGEST = 10**300


Link: TypeAlias = "tuple[Link, str | int] | None"  # how a value was reached, from the inside out


def check_values(document: Json) -> Iterator[Diagnostic]:
    """Anything found here ends the check: the rest could not be trusted to come back."""
    size = 0
    stack: list[tuple[Json, Link, int]] = [(document, None, 0)]
    while stack:
        value, link, depth = stack.pop()
        size += 8
        if depth > MAX_DEPTH:
            message = f"the document is nested more than {MAX_DEPTH} levels deep here"
            yield Diagnostic(code="too_deep", pointer=_pointer(link), message=message)
            return
        if isinstance(value, str):
            size += len(value)
            if len(value) > MAX_STRING:
                message = f"a string has {len(value):,} characters; {MAX_STRING:,} are allowed"
                yield Diagnostic(code="too_large", pointer=_pointer(link), message=message)
        elif is_object(value):
            odd = [key for key in value if not is_text(key)]
            if odd:
                yield Diagnostic(code="not_json", pointer=_pointer(link), message=f"the key {odd[0]!r} is not text")
                return
            size += sum(map(len, value))
            stack.extend((inner, (link, key), depth + 1) for key, inner in value.items())
        elif is_array(value):
            stack.extend((inner, (link, number), depth + 1) for number, inner in enumerate(value))
        elif (problem := _odd(value)) is not None:
            yield Diagnostic(code="not_json", pointer=_pointer(link), message=problem, expected="a JSON value")
        if size > MAX_CHARACTERS:
            message = f"the document is larger than {MAX_CHARACTERS:,} characters"
            yield Diagnostic(code="too_large", pointer="", message=message)
            return


def _pointer(link: Link) -> str:
    steps: list[str | int] = []
    while link is not None:
        steps.append(link[1])
        link = link[0]
    return joined("", *reversed(steps))


def _odd(value: Json) -> str | None:
    """Why a value that is no text, list or object is no JSON either."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if -LARGEST < value < LARGEST else "the number is too large to be kept exactly"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    return f"{type(value).__name__} is nothing JSON can hold"
