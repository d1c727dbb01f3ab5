"""Which node types an author means: found by the words they share with a question, and by meaning, over what people say they want.

Meaning is the built-in embedder's (memory/embedding/static.py), whatever the operator chose for memories: no key, no network, 20 ms once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graphs.catalogue import ALSO_CALLED, node_types
from graphs.nodetype import NodeType
from memory.embedding import static

STOP_WORDS = frozenset(re.findall(r"\w+", "an and at by do for from how in into is it of on or the then this to what when with"))
SHARED = 0.3  # how much of the score is shared words; measured on the questions of tests/checks/test_finding.py and others
NEAREST = 0.3  # a question that shares no word with anything must mean something at least so close
REMEMBERED = 1_024  # questions


@cache
def said() -> Mapping[str, tuple[str, ...]]:
    """What people who want a node type say (graphs/wanted.txt). A type that is missing there is found by its summary alone."""
    lines = Path(__file__).with_name("wanted.txt").read_text(encoding="utf-8").splitlines()
    return MappingProxyType({name: tuple(phrases.strip().split("; ")) for name, _, phrases in (line.partition(":") for line in lines)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a node type is found by: names and words, and vectors of what is said of it."""

    kind: NodeType
    called: frozenset[str]
    summary: Sequence[str]
    rest: frozenset[str]
    vectors: Sequence[Sequence[float]]


def find(query: str, limit: int = 10) -> list[NodeType]:
    """Node types that a question means, best first; all of them for an empty one, none for nonsense."""
    words = tuple(word for word in re.findall(r"[a-z0-9]+", query.lower()) if len(word) > 1 and word not in STOP_WORDS)
    if not words:
        return list(node_types().values())[:limit]
    return [node_types()[name] for name in _ranked(query.strip().lower(), words)[:limit]]


@lru_cache(maxsize=REMEMBERED)
def _ranked(query: str, words: tuple[str, ...]) -> tuple[str, ...]:
    table = static.table()
    vector = table.vector(query)
    known = any(id != table.tokens.unknown for id in table.tokens.ids(query))
    shared = {name: _shared(entry, words) for name, entry in _entries().items()}
    most = max(shared.values()) or 1
    close = {name: max(cosine(vector, one) for one in entry.vectors) if known else 0.0 for name, entry in _entries().items()}
    found = [name for name in close if shared[name] or close[name] >= NEAREST]
    return tuple(sorted(found, key=lambda name: (-(SHARED * shared[name] / most + (1 - SHARED) * close[name]), name)))


@cache
def _entries() -> Mapping[str, Entry]:
    return {name: _entry(kind) for name, kind in node_types().items()}


def _entry(kind: NodeType) -> Entry:
    also = ALSO_CALLED.get(kind.name, ())
    named = f"{kind.name} {' '.join(also)}".replace("_", " ")
    phrases = (f"{named}. {kind.summary}", *said().get(kind.name, ()))
    return Entry(
        kind=kind,
        called=frozenset(named.split()),
        summary=re.findall(r"[a-z0-9]+", f"{kind.family} {kind.summary} {' '.join(phrases[1:])}".lower()),
        rest=frozenset(re.findall(r"[a-z0-9]+", json.dumps([kind.examples, *kind.config.model_fields]).lower())),
        vectors=[static.table().vector(one) for one in phrases],
    )


def _shared(entry: Entry, words: Sequence[str]) -> int:
    score = 0
    for word in words:
        stem = word.removesuffix("s") if len(word) > 3 else word
        score += 8 * (word == entry.kind.name) + 5 * (stem in entry.called or word in entry.called)
        score += 3 * any(other.startswith(stem) for other in entry.summary) + (stem in entry.rest or word in entry.rest)
    return score


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors of length 1."""
    return sum(x * y for x, y in zip(one, other, strict=True))


def best_example(kind: NodeType, query: str) -> dict[str, Any]:
    """Of a type's examples the one that is nearest to a question."""
    vector = static.table().vector(query)
    return max(kind.examples, key=lambda example: cosine(vector, static.table().vector(_words(example))))


def _words(example: Mapping[str, Any]) -> str:
    return " ".join(re.findall(r"[A-Za-z]+", json.dumps(example)))
