"""text: a plain text file, as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from memory.reading import Passage, decoded, whole

ENDINGS = (".txt", ".text", ".log", ".rst")


def read(path: Path) -> Iterator[Passage]:
    yield Passage(text=decoded(whole(path)), title=path.stem)
