"""The embedder of a house, by the operator's choice: the built-in one, MiniLM, a model behind an OpenAI-compatible address, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from memory import embedding
from memory.embedding import Embedder, EmbeddingFailed
from store.errors import Misconfigured

if TYPE_CHECKING:
    from graphs.models import ModelSettings
    from graphs.outbound import Outbound

NONE = "none"
BUILT_IN = "builtin"
MINILM = "minilm"
VENDOR = "openai:"
HOME = "https://api.openai.com/v1"


async def open_embedder(choice: str, settings: ModelSettings, outbound: Outbound) -> Embedder | None:
    """None: memories are found by their words alone. Raises Misconfigured for one that cannot be had here."""
    try:
        if choice == NONE:
            return None
        if choice == BUILT_IN:
            return BuiltIn()
        if choice == MINILM:
            return await embedding.open_embedder("minilm")
        return await _behind(choice.removeprefix(VENDOR), settings, outbound)
    except EmbeddingFailed as failed:
        raise Misconfigured(f"WEFT_EMBEDDER={choice}: {failed} Without an embedder of meaning: WEFT_EMBEDDER=builtin or none.") from None


async def _behind(model: str, settings: ModelSettings, outbound: Outbound) -> Embedder:
    if not (settings.openai_api_key or settings.openai_base_url):
        raise EmbeddingFailed("a model takes OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server.", transient=False)
    base = settings.openai_base_url or HOME
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    return await embedding.open_embedder("openai", client=outbound.client(base), model=model, base_url=base, api_key=key)


class BuiltIn:
    """The shipped table, read when it is first used: a command that remembers nothing does not wait for it."""

    provider = "static"
    model = "static-minilm-256"
    dimensions = 256
    max_batch = 256

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return await (await embedding.open_embedder(embedding.BUILT_IN)).embed(texts, query=query)
