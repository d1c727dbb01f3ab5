"""Any server that speaks OpenAI's embeddings: OpenAI, Azure, Ollama, vLLM, TEI, LM Studio, llama.cpp, LiteLLM.

The HTTP client is given from outside, for the house has one network policy and it is in there; nothing here opens a connection by itself.
The dimension is not looked up by the model's name but asked for with one call.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from httpx2 import AsyncClient, ConnectError, HTTPError, Response

from memory.embedding import EmbeddingFailed

HOME = "https://api.openai.com/v1"
MAX_BATCH = 128  # texts per request
ATTEMPTS = 5
FIRST_PAUSE = 0.5  # seconds; doubles
LONGEST_PAUSE = 30.0
TIMEOUT = 60.0  # seconds for one request
MAX_ANSWER = 64 * 1024 * 1024  # bytes
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}


async def open_embedder(
    *,
    client: AsyncClient,
    model: str,
    base_url: str = HOME,
    api_key: str | None = None,
    dimensions: int | None = None,
    query_prefix: str = "",
    text_prefix: str = "",
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> OpenAIEmbedder:
    """Asks the server for one vector to learn the dimension. `dimensions`: have the model shorten its vectors to so many, where it can.
    The prefixes are what some models want before questions and texts ("search_query: ").
    Raises EmbeddingFailed."""
    embedder = OpenAIEmbedder(client, model, base_url.rstrip("/"), api_key, dimensions, sleep)
    embedder.query_prefix, embedder.text_prefix = query_prefix, text_prefix
    (probe,) = await embedder.embed(["dimension"])
    if dimensions is not None and len(probe) != dimensions:
        raise EmbeddingFailed(f"{model} answers with {len(probe)} dimensions and not the {dimensions} asked for.", transient=False)
    embedder.dimensions = len(probe)
    return embedder


class OpenAIEmbedder:
    provider = "openai"
    max_batch = MAX_BATCH

    def __init__(
        self,
        client: AsyncClient,
        model: str,
        base_url: str,
        api_key: str | None,
        wanted: int | None,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self.model = model
        self.dimensions = 0  # until the probe
        self.query_prefix = self.text_prefix = ""
        self._client = client
        self._url = f"{base_url}/embeddings"
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._wanted = wanted
        self._sleep = sleep

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return (await self.count(texts, query=query))[0]

    async def count(self, texts: Sequence[str], *, query: bool = False) -> tuple[list[list[float]], int]:
        prefix = self.query_prefix if query else self.text_prefix
        found: list[list[float]] = []
        tokens = 0
        for start in range(0, len(texts), MAX_BATCH):
            vectors, counted = await self._batch([prefix + text or " " for text in texts[start : start + MAX_BATCH]])
            found, tokens = found + vectors, tokens + counted
        return found, tokens

    async def _batch(self, texts: list[str]) -> tuple[list[list[float]], int]:
        body: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self._wanted is not None:
            body["dimensions"] = self._wanted
        answer = await self._answer(body)
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = [_unit(_numbers(row["embedding"])) for row in rows]
            tokens = int(cast("dict[str, Any]", answer.get("usage") or {}).get("total_tokens") or 0)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error):
            raise EmbeddingFailed("The embedding server's answer is not one of OpenAI's form.", transient=False, counted=True) from None
        sizes = {len(vector) for vector in vectors} | ({self.dimensions} if self.dimensions else set[int]())
        if len(vectors) != len(texts) or len(sizes) != 1:
            came = f"{len(texts)} texts were sent, and {len(vectors)} vectors of {sorted(sizes)} dimensions came."
            raise EmbeddingFailed(came, transient=False, counted=True)
        return vectors, tokens

    async def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Tries again what may go well later, after the pause the server asks for or one that doubles. Errors tell no key, no text."""
        for attempt in range(1, ATTEMPTS + 1):
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 # jitter
            try:
                response = await self._client.post(self._url, json=body, headers=self._headers, timeout=TIMEOUT)
            except HTTPError as error:
                sent = not isinstance(error, ConnectError)
                failure = EmbeddingFailed(f"The embedding server does not answer ({type(error).__name__}).", transient=True, counted=sent)
            else:
                if response.status_code == 200:
                    return _parsed(response)
                again = response.status_code in AGAIN
                failure = EmbeddingFailed(f"The embedding server answers {response.status_code}{_reason(response)}.", transient=again)
                pause = max(pause, _asked(response.headers.get("retry-after")))
            if attempt == ATTEMPTS or not failure.transient:
                raise failure
            await self._sleep(pause)
        raise AssertionError  # the last attempt returned or raised


def _parsed(response: Response) -> dict[str, Any]:
    if len(response.content) > MAX_ANSWER:
        raise EmbeddingFailed("The embedding server's answer is too long.", transient=False, counted=True)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EmbeddingFailed("The embedding server's answer is not JSON of OpenAI's form.", transient=False, counted=True)
    return cast("dict[str, Any]", answer)


def _reason(response: Response) -> str:
    """The error's code: short and the server's own word, where its message may quote what was sent."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({code[:60]})" if isinstance(code, str) else ""


def _asked(header: str | None) -> float:
    try:
        return min(LONGEST_PAUSE, max(0.0, float(header or 0)))
    except ValueError:
        return 0.0


def _numbers(given: object) -> list[float]:
    """As numbers, or as base64 of float32, which some servers send whatever they were asked for."""
    if isinstance(given, str):
        data = b64decode(given)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return [float(number) for number in cast("list[Any]", given)]


def _unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    if not length or not math.isfinite(length):
        raise ValueError(length)
    return [number / length for number in vector]
