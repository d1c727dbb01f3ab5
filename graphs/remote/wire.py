"""HTTP under the MCP SDK: the house's guarded network, with the connection's headers, and failures that do not tear the session down.

The SDK runs each request in a task of its own, which takes the context of its caller along: by that a call finds what became of its
requests, where the SDK itself would only say that the connection is closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

import httpx2

from graphs.nodetype import Failure

# They log session ids, and answers that they cannot read; what goes wrong is said by Failures of ours.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

READ_SECONDS = 300.0  # without a byte; the call's own time-out is usually shorter
MAX_EVENT = 4 * 2**20  # bytes of an answer
UNSENT = frozenset({"circuit_open", "rate_limited", "blocked_address", "bad_url", "bad_request", "connect", "tls"})

Headers = Callable[[str], Awaitable[dict[str, str]]]
Renew = Callable[[str], Awaitable[bool]]
Refusal = Callable[[int, str], Failure | None]


@dataclass(slots=True)
class Exchange:
    """What became of the requests of one call."""

    sent: bool = False  # a request of this call may have reached the server
    failure: Failure | None = None
    status: int | None = None  # of the last answer


EXCHANGE: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class WireTransport(httpx2.AsyncBaseTransport):
    """`headers(url)` gives what authorizes a request; it is asked for each one, so that tokens may be refreshed between them. A request
    that is refused (401) was not performed: where `renew` gets another token it is repeated, once. `refusal` says what else to do."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, headers: Headers, renew: Renew, refusal: Refusal) -> None:
        self._inner, self._headers, self._renew, self._refusal = inner, headers, renew, refusal

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = EXCHANGE.get() or Exchange()
        before = exchange.sent
        try:
            response = await self._authorized(request, exchange, before)
            if response.status_code == 401:
                exchange.sent = before
                if await self._renewed(request, response):
                    response = await self._authorized(request, exchange, before)
        except Failure as wrong:
            exchange.failure, exchange.status = wrong, None
            return httpx2.Response(503, request=request)
        said = response.headers.get("www-authenticate", "")
        exchange.failure, exchange.status = self._refusal(response.status_code, said), response.status_code
        stream = _Watched(cast(httpx2.AsyncByteStream, response.stream), exchange)
        return httpx2.Response(response.status_code, headers=response.headers.raw, stream=stream, extensions=response.extensions)

    async def _renewed(self, request: httpx2.Request, refused: httpx2.Response) -> bool:
        """Whether to ask again. The answer is closed unless it is what the caller gets: it holds a connection of the process."""
        again = True
        try:
            again = await self._renew(request.headers.get("authorization", ""))
        finally:
            if again:
                await refused.aclose()
        return again

    async def _authorized(self, request: httpx2.Request, exchange: Exchange, before: bool) -> httpx2.Response:
        for name, value in (await self._headers(str(request.url))).items():
            request.headers[name] = value
        exchange.sent = True  # also if it is cut off
        try:
            return await self._inner.handle_async_request(request)
        except Failure as wrong:
            exchange.sent = before or wrong.code not in UNSENT
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Watched(httpx2.AsyncByteStream):
    """An answer that breaks off ends here, and its exchange says why."""

    def __init__(self, stream: httpx2.AsyncByteStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except Failure as wrong:
            self._exchange.failure = wrong

    async def aclose(self) -> None:
        await self._stream.aclose()


def client(transport: WireTransport) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=httpx2.Timeout(30.0, read=READ_SECONDS), max_redirects=0
    )
