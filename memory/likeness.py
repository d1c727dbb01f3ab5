"""Whether two memories say the same: nearly the same words, or a meaning that lies close; never with other numbers, or a "not" more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache

from memory import words
from store.consolidations import Compared

CLOSE = 0.95  # cosine from which two may say the same,
SHARED = 0.9  # or the share of their words
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
NOT = re.compile(r"\b(?:no|not|never|none|nobody|nothing|without|neither|nor|\w+n['’]t)\b|[不没沒無未]|ない|ません", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """What a text is compared by. `sure`: its numbers, and how often it says "not": they must be the same."""

    terms: frozenset[str]
    sure: tuple[tuple[str, ...], int]


def of(text: str) -> Print:
    return Print(terms=frozenset(words.terms(text)), sure=(tuple(sorted(NUMBER.findall(text))), len(NOT.findall(text))))


def alike(one: Print, other: Print, cosine: float = 0.0) -> bool:
    if one.sure != other.sure:
        return False
    if cosine >= CLOSE:
        return True
    fewer, more = sorted((len(one.terms), len(other.terms)))
    if not fewer or fewer < SHARED * more:
        return False
    both = len(one.terms & other.terms)
    return both >= SHARED * (fewer + more - both)


def by_words(rows: Sequence[Compared], fresh: AbstractSet[str]) -> dict[str, str]:
    """Which of the fresh ones says the same as which before it, the nearest; rows from the oldest on."""
    found: dict[str, str] = {}
    groups: dict[tuple[int, str, str | None], list[tuple[Compared, Print]]] = defaultdict(list)
    for row in rows:
        group = groups[row.scope_id, row.kind, row.speaker]
        mine = of(row.body)
        if row.id in fresh:
            for other, theirs in reversed(group):
                if other.trust >= row.trust and _as_long(row, other) and alike(mine, theirs):
                    found[row.id] = other.id
                    break
        group.append((row, mine))
    return found


def by_vectors(rows: Sequence[Compared], cosines: Mapping[tuple[str, str], float]) -> dict[str, str]:
    """The same of pairs whose cosine is known, the closest first. Who is trusted less is never the first of two."""
    known = {row.id: row for row in rows}

    @cache
    def print_of(memory_id: str) -> Print:
        return of(known[memory_id].body)

    found: dict[str, str] = {}
    for (memory_id, other_id), cosine in cosines.items():
        row, other = known.get(memory_id), known.get(other_id)
        if row is None or other is None or memory_id in found:
            continue
        same = (row.scope_id, row.kind, row.speaker) == (other.scope_id, other.kind, other.speaker) and other.trust >= row.trust
        if same and alike(print_of(memory_id), print_of(other_id), cosine):
            found[memory_id] = other_id
    return found


def _as_long(one: Compared, other: Compared) -> bool:
    """Of long texts only the beginning is compared."""
    return min(one.length, other.length) >= SHARED * max(one.length, other.length) - 1
