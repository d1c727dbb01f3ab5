"""Recall: what is remembered that answers a question, the best first, each hit with why it is there, within a number and a token budget."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from memory import items, questions, scopes, words
from memory.embedding import Embedder
from memory.scopes import Principal
from store import memories
from store import recall as statement
from store.errors import Invalid
from store.memories import Memory, Scope
from store.pages import cursor, place
from store.postgres import Session
from store.recall import Asked, Filters, Found

MOST = 100  # hits of a page
MOST_QUESTION = 4_000  # characters
SPACE_SECONDS = 30.0  # a space that has become active is used after at most this
SPACES = 1_000
LARGE = 5_000  # memories in the scopes: more are counted at most every minute
MEASURED_SECONDS = 60.0
EVERYTHING = Filters()

_spaces: OrderedDict[tuple[str, str, str, int], tuple[float, int]] = OrderedDict()
_measured: OrderedDict[tuple[str, tuple[int, ...]], tuple[float, tuple[float, float]]] = OrderedDict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`parts`: what the score is made of; `highlights`: (start, end) of the words of the question in the body, in characters."""

    memory: Memory
    score: float
    parts: dict[str, float]
    highlights: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """`tokens`: of the bodies of all hits; `left_out`: hits of this page that the token budget had no room for; `by`: "words" when no
    vectors were compared, else "words and vectors"; `next_cursor`: None when there is no more."""

    hits: Sequence[Hit]
    tokens: int
    left_out: int
    by: str
    next_cursor: str | None


async def recall(
    session: Session, principal: Principal, within: Sequence[Scope], query: str, *, filters: Filters = EVERYTHING, k: int = 10,
    token_budget: int | None = None, embedder: Embedder | None = None, after: str | None = None, now: datetime | None = None,
) -> Recalled:  # fmt: skip
    """The memories of the scopes that answer best, in one round trip; scopes the principal may not read count as empty.

    `now`: what "last week" in the query is counted from. A scope with at least k memories that pass the filters answers k, the newest last
    when too few have to do with the query. A hit that does not fit the rest of the token budget is left out, smaller ones after it come.
    """
    if not 1 <= k <= MOST:
        raise Invalid(f"k must be between 1 and {MOST}, not {k}.")
    if len(query) > MOST_QUESTION:
        raise Invalid(f"A query has at most {MOST_QUESTION} characters; this one has {len(query)}.")
    (skipped,) = place(after, int)
    skip = int(skipped or 0)
    within = [scope for scope in within if scopes.readable(scope, principal)]
    question = questions.read(items.clean(query), now or datetime.now(UTC))
    asked = await _asked(session, within, items.clean(query), question, filters, embedder)
    found = await statement.recall(session, [scope.id for scope in within], principal.user_id, asked, many=k + 1, skip=skip)
    _learn(session, within, asked, found)
    hits, used = _fitting(found[:k], token_budget, frozenset(question.terms))
    return Recalled(
        hits=hits,
        tokens=used,
        left_out=len(found[:k]) - len(hits),
        by="words" if asked.vector is None else "words and vectors",
        next_cursor=cursor(skip + k) if len(found) > k else None,
    )


async def _asked(
    session: Session, within: Sequence[Scope], query: str, question: questions.Question, filters: Filters, embedder: Embedder | None
) -> Asked:
    space_id = await space_of(session, embedder) if embedder is not None else 0
    vector = None
    if embedder is not None and space_id and query.strip():
        (vector,) = await items.embed(embedder, [query], query=True)
    return Asked(
        terms=question.terms,
        names=question.names,
        days=question.days,
        expected=question.expected,
        vector=vector,
        space_id=space_id,
        measured=_known(session, within),
        filters=filters,
    )


def _known(session: Session, within: Sequence[Scope]) -> tuple[float, float] | None:
    until, measured = _measured.get((session.org_id, tuple(scope.id for scope in within)), (0.0, None))
    return measured if until > time.monotonic() else None


def _learn(session: Session, within: Sequence[Scope], asked: Asked, found: Sequence[Found]) -> None:
    """A large scope's size need not be right to rank by; counting 100,000 takes as long as the rest."""
    if asked.measured is None and found and found[0].scope_size > LARGE:
        measured = (found[0].scope_size, found[0].scope_length)
        _measured[session.org_id, tuple(scope.id for scope in within)] = (time.monotonic() + MEASURED_SECONDS, measured)
        while len(_measured) > SPACES:
            _measured.popitem(last=False)


async def space_of(session: Session, embedder: Embedder) -> int:
    """The number of the embedder's active space, 0 when there is none; looked up at most every half a minute, for a recall is one trip."""
    key = (session.org_id, embedder.provider, embedder.model, embedder.dimensions)
    known = _spaces.get(key)
    if known is not None and known[0] > time.monotonic():
        return known[1]
    space = await memories.active_space(session, provider=embedder.provider, model=embedder.model, dimensions=embedder.dimensions)
    number = space.id if space else 0
    if number:
        _spaces[key] = (time.monotonic() + SPACE_SECONDS, number)
        while len(_spaces) > SPACES:
            _spaces.popitem(last=False)
    return number


def _fitting(found: Sequence[Found], budget: int | None, terms: frozenset[str]) -> tuple[list[Hit], int]:
    hits: list[Hit] = []
    used = 0
    for row in found:
        if budget is not None and used + row.tokens > budget:
            continue
        used += row.tokens
        hits.append(_hit(row, terms))
    return hits, used


def _hit(row: Found, terms: frozenset[str]) -> Hit:
    parts = {name: round(float(getattr(row, name)), 4) for name in PARTS}
    return Hit(memory=row, score=round(row.score, 4), parts=parts, highlights=highlights(row.body, terms))


PARTS = ("words", "vector", "neighbours", "session", "people", "date", "type", "graph", "factor")


def highlights(body: str, terms: frozenset[str]) -> list[tuple[int, int]]:
    """Where words of the question stand in the body; what touches or overlaps is one stretch."""
    found: list[tuple[int, int]] = []
    for word in words.words(body):
        if word.term not in terms:
            continue
        if found and word.start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], word.end))
        else:
            found.append((word.start, word.end))
    return found
