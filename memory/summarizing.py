"""Summaries without a model: the sentences that say most of what is said, in their order; and how a long text is summed up in pieces,
whoever sums up.

The rule is the oldest one there is (Luhn 1958, made less repetitive as by Carbonell and Goldstein 1998): a sentence weighs what its words
weigh in the whole, for its length, and one that repeats what is chosen already is left out.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from memory import words
from memory.chunking import SENTENCE
from memory.items import tokens

PIECE = 6_000  # tokens that are summed up at once
AT_ONCE = 4  # pieces
WORD = 4 / 3  # tokens of a word, as they are counted
SAME = 0.5  # share of its words that a sentence may have in common with a chosen one
FLOOR = 0.45  # of the weight of the best sentence: what weighs less is no part of a summary, however much room there is
SHORT, LONG = 3, 40  # words of a sentence below and above which it weighs less
QUESTION = re.compile(r"[?？]\s*$")
CHEER = re.compile(r"[!！]\s*$")
DATED = re.compile(
    r"\d|\b(?:yesterday|today|tomorrow|(?:last|next|this) (?:week|month|year|summer|winter|spring|fall|\w+day))\b", re.IGNORECASE
)
EMPTY = frozenset(
    words.terms("wow oh hey hi hello thanks thank yes yeah ok okay great good cool nice awesome amazing sounds sure really so that")
)
"""Terms that weigh nothing, as the names of who speak: they are said to one another all the time."""
LABEL = re.compile(r"^[^:\n]{1,60}: ")
MOST_POINT = 300  # characters of a key point


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A text, and who said it."""

    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    text: str
    key_points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a summary may be: `words` of its text, and how many `points` it has besides."""

    words: int = 150
    points: int = 5

    @property
    def tokens(self) -> int:
        return int(self.words * WORD)


Sum = Callable[[Sequence[Told], Summed | None, Length], Awaitable[Summed]]
"""(texts, an earlier summary that they go on from, how long) → the summary of it all. Texts are data: whoever asks a model quotes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    text: str
    place: int
    terms: frozenset[str]
    weight: float


async def sum_up(texts: Sequence[Told], length: Length, by: Sum, earlier: Summed | None = None) -> tuple[Summed, int]:
    """The summary of texts of any length, and in how many pieces they were read: first each piece, then what came of the pieces."""
    pieces = list(_pieces(texts))
    if len(pieces) <= 1:
        return await by(texts, earlier, length), 1
    room = asyncio.Semaphore(AT_ONCE)

    async def one(piece: Sequence[Told]) -> Told:
        async with room:
            found = await by(piece, None, Length(words=max(length.words, 50), points=0))
        return Told(text=_cut(found.text, PIECE // 3))

    parts = await asyncio.gather(*(one(piece) for piece in pieces))
    whole, read = await sum_up(parts, length, by, earlier)
    return whole, len(pieces) + read


async def by_rules(texts: Sequence[Told], earlier: Summed | None, length: Length) -> Summed:
    """Always the same of the same; in any language that ends its sentences."""
    found = await asyncio.to_thread(_weighed, texts, earlier)
    ranked = sorted(found, key=lambda sentence: (-sentence.weight, sentence.place))
    chosen: list[Sentence] = []
    left = length.tokens
    for sentence in ranked:
        if sentence.weight < FLOOR * ranked[0].weight:
            break
        size = tokens(sentence.text)
        if (size <= left or not chosen) and not any(_alike(sentence, other) for other in chosen):
            chosen.append(sentence)
            left -= size
        if left <= 0:
            break
    text = " ".join(sentence.text for sentence in sorted(chosen, key=lambda sentence: sentence.place))
    points = [" ".join(sentence.text.split())[:MOST_POINT] for sentence in chosen[: length.points]]
    return Summed(text=_cut(text, length.tokens), key_points=tuple(points))


def _weighed(texts: Sequence[Told], earlier: Summed | None) -> list[Sentence]:
    said = [*([Told(text=earlier.text)] if earlier else []), *texts]
    empty = EMPTY | set(words.terms(" ".join(told.speaker or "" for told in texts)))
    split = [(text, frozenset(words.terms(LABEL.sub("", text))) - empty) for told in said for text in _sentences(told)]
    counted = Counter(term for _, terms in split for term in terms)
    found: list[Sentence] = []
    for place, (text, terms) in enumerate(split):
        if not terms:
            continue
        weight = sum(math.log1p(counted[term]) for term in terms) / math.sqrt(max(len(terms), SHORT))
        weight *= 0.6 if QUESTION.search(text) else 1.0
        weight *= 0.7 if len(terms) > LONG else 0.5 if len(terms) < SHORT else 1.0
        weight *= 0.75 if CHEER.search(text) else 1.0
        weight *= 1.2 if DATED.search(text) else 1.0  # amounts and dates are what a summary is asked for
        weight *= 1.1 if place == 0 else 1.0
        found.append(Sentence(text=text, place=place, terms=terms, weight=weight))
    return found


def _sentences(told: Told) -> Iterator[str]:
    for match in SENTENCE.finditer(told.text):
        if text := " ".join(match[0].split()):
            yield f"{told.speaker}: {text}" if told.speaker else text


def _alike(one: Sentence, other: Sentence) -> bool:
    return len(one.terms & other.terms) > SAME * min(len(one.terms), len(other.terms))


def _pieces(texts: Sequence[Told]) -> Iterator[list[Told]]:
    """In their order, together as long as they fit; what is too long itself is cut between sentences."""
    piece: list[Told] = []
    size = 0
    for told in texts:
        for text in _slices(told.text):
            own = tokens(text) + 4
            if piece and size + own > PIECE:
                yield piece
                piece, size = [], 0
            piece.append(Told(text=text, speaker=told.speaker))
            size += own
    if piece:
        yield piece


def _slices(text: str) -> Iterator[str]:
    if tokens(text) <= PIECE:
        yield text
        return
    begun = end = size = 0
    for unit in _units(text):
        own = tokens(unit)
        if size and size + own > PIECE:
            yield text[begun:end]
            begun, size = end, 0
        end += len(unit)
        size += own
    yield text[begun:end]


def _units(text: str) -> Iterator[str]:
    """Sentences; one without an end in stretches that fit."""
    for match in SENTENCE.finditer(text):
        for start in range(0, len(match[0]), PIECE):
            yield match[0][start : start + PIECE]


def _cut(text: str, most: int) -> str:
    """At most so many tokens of it, whole words where there are words."""
    if tokens(text) <= most:
        return text
    kept = text[: most * 4]
    while tokens(kept) > most:
        kept = kept[: max(1, int(len(kept) * 0.9))]
    return kept.rsplit(" ", 1)[0] + "…" if " " in kept[len(kept) // 2 :] else kept + "…"
