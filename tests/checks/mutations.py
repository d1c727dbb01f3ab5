"""Definitions broken at random, the same ones for the same seed: parts deleted, doubled, renamed, swapped, and values nobody expects."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]


def nested(depth: int) -> list[Any]:
    """A list in a list in a list …"""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: False,
    lambda: 0,
    lambda: -1,
    lambda: 3,
    lambda: "3",
    lambda: 1.5,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: 10**400,
    lambda: 10**5000,
    lambda: "",
    lambda: " ",
    lambda: "text",
    lambda: "\ud800",
    lambda: "\x00",
    lambda: "x" * 3000,
    lambda: "x" * 300_000,
    lambda: "ü" * 50,
    lambda: "30s",
    lambda: "{{",
    lambda: "{{ }}",
    lambda: "{{ nodes }}",
    lambda: "{{ input.ticket }}",
    lambda: "{{ nodes.classify.kind }} {{ 1 / 0 }}",
    lambda: "{{ [0 for _ in range(10**12)] }}",
    lambda: "{{ " + "(" * 300 + ")" * 300 + " }}",
    lambda: "import os",
    lambda: "while True: pass",
    lambda: "nodes.done.count",
    lambda: [],
    lambda: {},
    lambda: [[]],
    lambda: {"": {}},
    lambda: {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"], "kwargs": {}},
    lambda: {"$ref": "#"},
    lambda: {"$ref": "https://example.com/schema.json"},
    lambda: {"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}},
    lambda: {"nodes": [{"id": "x", "type": "set"}]},
    lambda: {"from": "classify", "to": "done"},
    lambda: {"id": "classify", "type": "stop"},
    lambda: [{"name": "late", "timer": "1h"}],
    lambda: {"type": "http", "config": {"url": "https://shop.example.com"}},
    lambda: {"from": "done", "to": "classify", "when": "vars.refunded < 3", "max_loops": 2},
    lambda: {"from": "review", "to": "draft", "max_loops": 1},
    lambda: "index < 3 and last is None",
    lambda: nested(60),
    lambda: nested(600),
)
KEYS = (
    "id",
    "type",
    "config",
    "nodes",
    "edges",
    "from",
    "to",
    "when",
    "branch",
    "body",
    "input",
    "name",
    "max_loops",
    "compensate",
    "boundary",
    "é",
    "a/b~c",
    "__class__",
    "",
)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every part of a document, the document itself left out."""
    parts: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        parts = list(value.items())  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list):
        parts = list(enumerate(value))  # pyright: ignore[reportUnknownArgumentType]
    for key, inner in parts:
        yield (*path, key)
        if len(path) < 40:
            yield from places(inner, (*path, key))


def at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def mutate(document: Any, chance: random.Random) -> Any:
    """One to three changes to a copy."""
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        found = list(places(document))
        if not found:
            return document
        path = chance.choice(found)
        holder, key = at(document, path[:-1]), path[-1]
        match chance.randrange(7):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[int(key)]))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            case 2 if isinstance(holder, dict):
                holder[chance.choice(KEYS)] = holder.pop(key)  # pyright: ignore[reportUnknownMemberType]
            case 3:
                other = chance.choice(found)
                mine, theirs = copy.deepcopy(holder[key]), copy.deepcopy(at(document, other))
                at(document, other[:-1])[other[-1]] = mine
                if other[: len(path)] != path and path[: len(other)] != other:
                    holder[key] = theirs
            case 4 if isinstance(holder, dict):
                holder[chance.choice(KEYS)] = chance.choice(VALUES)()
            case 5 if isinstance(holder[key], str) and holder[key]:
                text = holder[key]
                cut = chance.randrange(len(text))
                holder[key] = text[:cut] + chance.choice(["", "x", "{{", "}}", "'", "(", ".", " ", "\ud800"]) + text[cut + 1 :]
            case _:
                holder[key] = chance.choice(VALUES)()
        if not copyable(document):
            return document
    return document


def copyable(value: Any, depth: int = 0) -> bool:
    """Whether copy.deepcopy, which recurses twice per level, still gets through."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return depth < 100 and all(copyable(part, depth + 1) for part in inner)  # pyright: ignore[reportUnknownVariableType]


def mutations(document: Any, count: int, seed: int = 20) -> Iterator[Any]:
    """`count` broken copies, reproducible."""
    chance = random.Random(seed)
    for _ in range(count):
        yield mutate(document, chance)
