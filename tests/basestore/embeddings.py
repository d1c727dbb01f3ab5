"""The embeddings of LangGraph's own tests, and the same as an embedder of ours.

CharacterEmbeddings is from langchain-ai/langgraph, libs/checkpoint/tests/embed_test_utils.py
(MIT License, Copyright (c) 2024 LangChain, Inc.).
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings


class CharacterEmbeddings(Embeddings):
    """How often each character is there, projected at random."""

    def __init__(self, dims: int = 50, seed: int = 42) -> None:
        self._rng = random.Random(seed)
        self.dims = dims
        self._char_projections: defaultdict[str, list[float]] = defaultdict(
            lambda: [self._rng.gauss(0, 1 / math.sqrt(self.dims)) for _ in range(self.dims)]
        )

    def _embed_one(self, text: str) -> list[float]:
        counts = Counter(text)
        total = sum(counts.values())
        embedding = [0.0] * self.dims
        for char, count in counts.items():
            for i, proj in enumerate(self._char_projections[char]):
                embedding[i] += count / total * proj
        norm = math.sqrt(sum(x * x for x in embedding))
        return [x / norm for x in embedding] if norm > 0 else embedding

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._embed_one(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._embed_one(text)


class CharacterEmbedder:
    """The same, for Weft."""

    provider = "tests"
    model = "characters"
    max_batch = 500

    def __init__(self, dims: int = 500) -> None:
        self.dimensions = dims
        self._embeddings = CharacterEmbeddings(dims)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return self._embeddings.embed_documents(list(texts))
