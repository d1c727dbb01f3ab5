"""Long texts in pieces that are found one by one: along headings, paragraphs and sentences, each piece overlapping the one before it.

Text above some 120 words is found worse whole than in pieces (BEAM recall@10 .412 whole, .462 in pieces; reference/memory.md 3.2).
A piece is a slice of the text, so that what was cited can be shown in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memory.items import tokens

SIZE = 160  # tokens, about 120 words
OVERLAP = 32
ROOMY = 0.6  # of the size: from here on a piece ends at the next paragraph rather than within one
HEADING = re.compile(r"^(#{1,6})[ \t]+(\S.*?)[ \t#]*$")
FENCE = re.compile(r"^[ \t]*(```|~~~)")
SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?](?![\s\"')\]])[^.!?。！？\n]*)*(?:[.!?]+[\"')\]]*(?:\s+|$)|[。！？]+|\n+|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`body` is text[start:end]; `headings`: those it stands under, outermost first."""

    body: str
    start: int
    end: int
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is not cut: a sentence, a line of code, part of a word that is too long. `opens`: it begins a paragraph."""

    start: int
    end: int
    size: int
    opens: bool


def chunks(text: str, *, size: int = SIZE, overlap: int = OVERLAP) -> list[Chunk]:
    """Pieces of at most `size` tokens; each but the first of a section repeats up to `overlap` tokens of the piece before it."""
    return [
        chunk for start, end, headings in _sections(text) for chunk in _packed(text, start, end, headings, size, min(overlap, size // 2))
    ]


def _sections(text: str) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Stretches between Markdown headings with the headings they stand under; a heading belongs to what it heads."""
    path: list[tuple[int, str]] = []
    begun, at, fenced = 0, 0, False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(FENCE.match(line))
        heading = None if fenced else HEADING.match(line.rstrip("\r\n"))
        if heading:
            if text[begun:at].strip():
                yield begun, at, tuple(title for _, title in path)
            begun = at
            level = len(heading[1])
            path = [*(entry for entry in path if entry[0] < level), (level, heading[2])]
        at += len(line)
    if text[begun:].strip():
        yield begun, len(text), tuple(title for _, title in path)


def _packed(text: str, start: int, end: int, headings: tuple[str, ...], size: int, overlap: int) -> Iterator[Chunk]:
    units = list(_units(text, start, end, size))
    first = 0
    while first < len(units):
        last = _last(units, first, size)
        begun, ended = units[first].start, units[last].end
        body = text[begun:ended]
        if body.strip():
            left = len(body) - len(body.lstrip())
            yield Chunk(body=body.strip(), start=begun + left, end=begun + left + len(body.strip()), headings=headings)
        if last == len(units) - 1:
            return
        first = _resumed(units, first, last, overlap)


def _last(units: Sequence[Unit], first: int, size: int) -> int:
    """The last unit that the piece from `first` on takes in."""
    total, last = units[first].size, first
    for place in range(first + 1, len(units)):
        total += units[place].size
        if total > size or (units[place].opens and total - units[place].size >= size * ROOMY):
            break
        last = place
    return last


def _resumed(units: Sequence[Unit], first: int, last: int, overlap: int) -> int:
    """Where the next piece begins: so many units back as fit the overlap, and always further than this one began."""
    resumed, total = last + 1, 0
    while resumed - 1 > first and total + units[resumed - 1].size <= overlap:
        resumed -= 1
        total += units[resumed].size
    return resumed


def _units(text: str, start: int, end: int, size: int) -> Iterator[Unit]:
    opens = True
    for match in SENTENCE.finditer(text, start, end):
        if match.start() == match.end():
            continue
        for begun, ended in _cut(text, match.start(), match.end(), size):
            yield Unit(start=begun, end=ended, size=tokens(text[begun:ended]), opens=opens)
            opens = False
        opens = "\n\n" in match[0] or not match[0].strip()


def _cut(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """A sentence that is too long falls apart between words, or anywhere when there are none."""
    while tokens(text[start:end]) > size:
        stop = start + size  # a token is at least one character
        space = text.rfind(" ", start + 1, stop)
        stop = space + 1 if space > start else stop
        yield start, stop
        start = stop
    if start < end:
        yield start, end
