"""Recall as one statement: what it asks for, and what comes back with each memory found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from store.memories import Memory, in_space
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
RECALL = replace(SQL.recall, planned_once=True)
COMMON = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What every hit must be. `as_of`: what was true in the world then; `known_at`: what we held to be so then. `labels`: all of them."""

    kinds: Sequence[str] | None = None
    collection: str | None = None
    series: str | None = None
    speaker: str | None = None
    source: str | None = None
    labels: Sequence[str] | None = None
    least_trust: int = 1
    as_of: datetime | None = None
    known_at: datetime | None = None

    @property
    def narrow(self) -> bool:
        """Whether they may leave only few memories of a scope, so that none may be left out before they are applied."""
        wanted = (self.kinds, self.collection, self.series, self.speaker, self.source, self.labels, self.as_of, self.known_at)
        return self.least_trust > 1 or any(value is not None for value in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`terms`: of the question, each once; `names`: words of the question, and pairs and triples of them, as names are compared; `days`:
    what it names, ends excluded; `expected`: a pattern of what an answer of this type has in it. `common`: a word that more memories have
    finds none by itself. `measured`: number and mean length of the scopes' memories, as an answer before said; None: they are counted."""

    terms: Sequence[str]
    names: Sequence[str] = ()
    days: Sequence[tuple[datetime, datetime]] = ()
    expected: str | None = None
    vector: str | None = None
    space_id: int = 0
    common: int = COMMON
    measured: tuple[float, float] | None = None
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Memory):
    """A memory with its score and what that is made of: (words and vector fused + the other parts) x factor. `scope_size` and
    `scope_length`: of all memories of the scopes asked, their number and the mean number of their terms."""

    score: float
    words: float
    vector: float
    neighbours: float
    session: float
    people: float
    date: float
    type: float
    graph: float
    factor: float
    scope_size: float
    scope_length: float


ROWS = {"recall": Found}


async def recall(session: Session, scope_ids: Sequence[int], user_id: str | None, asked: Asked, *, many: int, skip: int = 0) -> list[Found]:
    """The best first; `skip` of them left out. Memories of scopes that are not this user's to read are not found."""
    return await session.all(in_space(RECALL, asked.space_id), Found, **parameters(asked, scope_ids, user_id, many=many, skip=skip))


def parameters(asked: Asked, scope_ids: Sequence[int], user_id: str | None, *, many: int, skip: int) -> dict[str, Any]:
    """Of the statement."""
    filters = asked.filters
    return {
        "scope_ids": list(scope_ids),
        "user_id": user_id,
        "terms": list(asked.terms),
        "common": asked.common,
        "known_n": asked.measured[0] if asked.measured else None,
        "known_length": asked.measured[1] if asked.measured else None,
        "names": list(asked.names),
        "days_from": [first for first, _ in asked.days],
        "days_to": [end for _, end in asked.days],
        "expected": asked.expected,
        "vector": asked.vector,
        "kinds": _listed(filters.kinds),
        "collection": filters.collection,
        "series": filters.series,
        "speaker": filters.speaker,
        "source": filters.source,
        "labels": _listed(filters.labels),
        "least_trust": filters.least_trust,
        "as_of": filters.as_of,
        "known_at": filters.known_at,
        "filtered": filters.narrow,
        "many": many,
        "skip": skip,
    }


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
