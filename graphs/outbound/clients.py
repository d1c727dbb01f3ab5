"""The httpx2 client for vendor SDKs: the same guarded network, without cookies, redirects or packed answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx2

from graphs.nodetype import Failure
from graphs.outbound.gate import Gate, Passage
from graphs.outbound.transport import GuardedTransport, origin, target_of

PATIENT = 600.0  # seconds that a call may take whose SDK names no time


class ModelClient(httpx2.AsyncClient):
    """A type of its own because the SDKs ask for an httpx2.AsyncClient by type."""

    def __init__(self, inner: GuardedTransport, max_bytes: int, gate: Gate | None = None) -> None:
        super().__init__(transport=PlainTransport(inner, max_bytes, gate), trust_env=False, follow_redirects=False)


class PlainTransport(httpx2.AsyncBaseTransport):
    """SDKs follow redirects with their key headers and read answers without a bound: neither gets the chance.

    Answers come unpacked, so counting what arrives counts what is decoded."""

    def __init__(self, inner: GuardedTransport, max_bytes: int, gate: Gate | None) -> None:
        self._inner, self._max_bytes, self._gate = inner, max_bytes, gate

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        passage = await self._gate.enter(target_of(request.url), _seconds(request)) if self._gate else Passage()
        try:
            response = await self._inner.handle_async_request(request)
            passage.answered(response.status_code, response.headers)
            await _acceptable(response, origin(request.url))
        except BaseException as wrong:
            passage.failed(wrong)
            raise
        kept = [(name, value) for name, value in response.headers.raw if name.lower() != b"set-cookie"]
        stream = _Counted(cast(httpx2.AsyncByteStream, response.stream), self._max_bytes, origin(request.url), passage)
        return httpx2.Response(response.status_code, headers=kept, stream=stream, extensions=response.extensions)

    async def aclose(self) -> None:
        """The connections are shared; they close with the network."""


async def _acceptable(response: httpx2.Response, where: str) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        raise Failure("bad_answer", f"{where} packed its answer although it was asked not to")
    if response.has_redirect_location:
        await response.aclose()
        raise Failure(
            "redirects",
            f"{where} answers with a redirect ({response.status_code}); set the base URL to where it leads",
        )


def _seconds(request: httpx2.Request) -> float:
    """How long the call may take, by what the SDK was told."""
    times = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
    return sum(times.get(part) or PATIENT for part in ("connect", "read"))


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, where: str, passage: Passage) -> None:
        self._stream, self._limit, self._where, self._passage = stream, limit, where, passage

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for part in self._stream:
                size += len(part)
                if size > self._limit:
                    raise Failure("too_large", f"the answer of {self._where} is larger than {self._limit:,} bytes")
                yield part
        except Failure as wrong:
            self._passage.failed(wrong)
            raise
        self._passage.finished()

    async def aclose(self) -> None:
        self._passage.finished()  # who stops reading halfway has been answered
        await self._stream.aclose()
