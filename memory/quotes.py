"""Quotes: words from outside that somebody remembers once more. Whoever hands them in, they are believed no more than they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

LEAST = 20  # characters: what is shorter anybody may say
MOST = 200  # passages of one text


def passages(*texts: str) -> list[str]:
    """What may be a memory's words in these texts: each text, its paragraphs and its lines, also without the marks of a quote."""
    found: dict[str, None] = {}
    for text in texts:
        plain = "\n".join(line.lstrip("> \t") for line in text.splitlines())
        for part in (text, plain, *plain.split("\n\n"), *plain.splitlines()):
            part = part.strip().strip('"“”')
            if len(part) >= LEAST:
                found.setdefault(part)
            if len(found) == MOST:
                return list(found)
    return list(found)


def strings(value: Any) -> Iterator[str]:
    """All text in an item, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from strings(inner)
    elif isinstance(value, Sequence):
        for inner in cast("Sequence[Any]", value):
            yield from strings(inner)
