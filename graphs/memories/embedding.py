"""Vectors: of any texts, by the configured embedder; and the move of all memories to its space, stretch by stretch."""

from __future__ import annotations

from collections.abc import Sequence

from graphs.memories.reach import Access
from graphs.nodetype import Failure
from memory import spaces
from memory.embedding import Embedder, EmbeddingFailed
from memory.spaces import Stretch
from store.errors import Invalid

NONE = "no embedder is configured: WEFT_EMBEDDER is none. Set it to builtin, minilm or a model of an OpenAI-compatible server"


def embedder_of(access: Access) -> Embedder:
    """Raises Invalid where WEFT_EMBEDDER is none."""
    if access.embedder is None:
        raise Invalid(NONE)
    return access.embedder


async def embed(access: Access, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
    """A vector of unit length per text. Raises Invalid, EmbeddingFailed."""
    embedder = embedder_of(access)
    found: list[list[float]] = []
    for start in range(0, len(texts), embedder.max_batch):
        found += await embedder.embed(list(texts[start : start + embedder.max_batch]), query=query)
    return found


def not_made(embedder: Embedder, failed: EmbeddingFailed) -> Failure:
    """As a step tells it: the failure of the budget or model that refuses, else that of the embedder."""
    if isinstance(failed.__cause__, Failure):
        return failed.__cause__
    return Failure("embedding", f"{embedder.model} made no vectors: {failed}", retryable=failed.transient)


async def reembed(access: Access, after: str | None) -> Stretch:
    """The next stretch of the move to the configured embedder's space. Raises Invalid, EmbeddingFailed."""
    return await spaces.advance(access.tenant, embedder_of(access), after=after)
