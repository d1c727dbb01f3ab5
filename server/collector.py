"""Python's garbage collector as a server wants it: a fifth of the CPU of a busy engine went into looking at what it keeps for ever."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

YOUNG = 50_000  # allocations between two looks at young objects; their garbage in cycles is some MB by then
GENERATIONS = (20, 50)  # looks before the older ones are looked at


@contextmanager
def rare() -> Generator[None]:
    """During the block what is there at its beginning (modules, schemas) is not looked at, and what comes is less often."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *GENERATIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
