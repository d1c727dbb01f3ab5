"""Embedders: text becomes a vector of unit length. One file per provider, found by its name in this folder.

A provider's module has `open_embedder(**options) -> Embedder` (async); its options are its own. `built_in()` needs no key, no package and
no network, and knows English only.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol, cast

BUILT_IN = "static"


class Embedder(Protocol):
    """`dimensions` of every vector it makes; `max_batch`: texts that one call of `embed` is best given at most (more are split)."""

    @property
    def provider(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def max_batch(self) -> int: ...

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """A vector of unit length per text, in order. `query`: the texts are questions, which some models embed otherwise."""
        ...


class Counting(Embedder, Protocol):
    """One whose vectors somebody charges for."""

    async def count(self, texts: Sequence[str], *, query: bool = False) -> tuple[list[list[float]], int]:
        """As `embed`, with the tokens that the server has counted; 0 where it does not say."""
        ...


class EmbeddingFailed(Exception):
    """The embedder gave no vectors. `transient`: it may give them later. `counted`: the server may have charged for them nevertheless."""

    def __init__(self, message: str, *, transient: bool, counted: bool = False) -> None:
        super().__init__(message)
        self.transient, self.counted = transient, counted


def providers() -> list[str]:
    """Names of the files in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


async def open_embedder(provider: str, **options: Any) -> Embedder:
    """Raises ValueError for a provider there is none of, and EmbeddingFailed for one that cannot begin: no package, model or server."""
    if provider not in providers():
        raise ValueError(f"There is no embedder {provider!r}; there are: {', '.join(providers())}.")
    module = importlib.import_module(f"{__name__}.{provider}")
    return cast(Embedder, await module.open_embedder(**options))


def built_in() -> Embedder:
    from memory.embedding import static

    return static.table()
