"""The httpx2 client for vendor SDKs: the same guarded network, without cookies, redirects or packed answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx2

from graphs.nodetype import Failure
from graphs.outbound.transport import GuardedTransport, origin


class ModelClient(httpx2.AsyncClient):
    """A type of its own because the SDKs ask for an httpx2.AsyncClient by type."""

    def __init__(self, inner: GuardedTransport, max_bytes: int) -> None:
        super().__init__(transport=_Plain(inner, max_bytes), trust_env=False, follow_redirects=False)


class _Plain(httpx2.AsyncBaseTransport):
    """SDKs follow redirects with their key headers and read answers without a bound: neither gets the chance.

    Answers come unpacked, so counting what arrives counts what is decoded."""

    def __init__(self, inner: GuardedTransport, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        where = origin(request.url)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise Failure("bad_answer", f"{where} packed its answer although it was asked not to")
        if response.has_redirect_location:
            await response.aclose()
            raise Failure(
                "redirects",
                f"{where} answers with a redirect ({response.status_code}); set the base URL to where it leads",
            )
        kept = [(name, value) for name, value in response.headers.raw if name.lower() != b"set-cookie"]
        stream = _Counted(cast(httpx2.AsyncByteStream, response.stream), self._max_bytes, where)
        return httpx2.Response(response.status_code, headers=kept, stream=stream, extensions=response.extensions)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, where: str) -> None:
        self._stream, self._limit, self._where = stream, limit, where

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > self._limit:
                raise Failure("too_large", f"the answer of {self._where} is larger than {self._limit:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
