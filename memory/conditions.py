"""What a value must be: filters as LangGraph writes them ({"color": "red", "score": {"$gte": 4}}) as tests of what stands at a path.

Nothing at a path counts as null. An object names what must be in it, a list every item; $gt and its like compare numbers with numbers and
texts with texts, and true is not 1. (LangGraph's PostgresStore compares all of them as text: "10" < "9".)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from memory import entries
from store.errors import Invalid

OPERATORS = {"$eq": "is", "$ne": "is not", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
MOST = 1_000
DEEPEST = 100

Test = dict[str, Any]


class UnsupportedOperator(Invalid, ValueError):
    """A filter has an operator there is not."""


def read(filter: Mapping[str, Any] | None) -> list[Test]:
    """Raises Invalid for a filter of another form or too large a one, UnsupportedOperator (a ValueError as well) for another operator."""
    if filter is not None and not isinstance(filter, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # agents hand in anything
        raise Invalid(f"A filter is a dict of what fields must be, not of type {type(filter).__name__}.")
    entries.check_json("filter", dict(filter or {}))
    tests: list[Test] = []
    for name, wanted in (filter or {}).items():
        for test in _tests([_key(name)], wanted):
            tests.append(test)
            if len(tests) > MOST:
                raise Invalid(f"A filter tests at most {MOST:,} things.")
    return tests


def _tests(path: list[str], wanted: Any) -> Iterator[Test]:
    if len(path) > DEEPEST:
        raise Invalid(f"A filter is at most {DEEPEST} levels deep.")
    match wanted:
        case Mapping():
            named = cast("Mapping[Any, Any]", wanted)
            if any(_key(name).startswith("$") for name in named):
                yield from (_test(path, _operator(name), operand) for name, operand in named.items())
                return
            yield _test(path, "object", None)
            for name, inner in named.items():
                yield from _tests([*path, _key(name)], inner)
        case list() | tuple():
            items = cast("list[Any]", wanted)
            yield _test(path, "array", len(items))
            for number, inner in enumerate(items):
                yield from _tests([*path, str(number)], inner)
        case _:
            yield _test(path, "is", wanted)


def _operator(name: str) -> str:
    if name not in OPERATORS:
        raise UnsupportedOperator(f"Unsupported operator: {name!r}; a filter knows {', '.join(OPERATORS)}.")
    return OPERATORS[name]


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise Invalid(f"A filter names fields of a value by their text, not by {name!r}.")
    return name


def _test(path: list[str], test: str, operand: Any) -> Test:
    return {"path": path, "test": test, "operand": [operand]}
