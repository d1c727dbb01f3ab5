"""The network under the outbound client: resolves, checks every answer, connects to the checked address only."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

import httpcore2
import httpx2

from graphs.nodetype import Failure
from graphs.outbound.policy import Rules, bracketed

Resolver = Callable[[str, int], Awaitable[tuple[str, ...]]]
"""Host and port -> IP addresses as text, best first. Raises OSError."""

CONNECT_SECONDS = 10.0  # for all addresses of a host together
HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]+(%.*)?")
MAX_ADDRESSES = 4  # tried in turn; more would only eat the time of the first ones


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Asks the system, which also reads 0x7f.1, 2130706433 and the like as the addresses they are."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Redirects, DNS rebinding and odd spellings cannot get round this: it is asked for every connection there is."""

    def __init__(self, rules: Rules, resolver: Resolver) -> None:
        self._rules, self._resolver = rules, resolver
        self._inner = cast(httpcore2.AsyncNetworkBackend, httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._rules.check_port(host, port)
        answers = await self._resolve(host, port)
        self._rules.check_addresses(host, port, answers)
        tried = answers[:MAX_ADDRESSES]
        share = (CONNECT_SECONDS if timeout is None else timeout) / len(tried)
        failed: Exception | None = None
        for answer in tried:
            try:
                stream = await self._inner.connect_tcp(answer, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as wrong:
                failed = wrong
                continue
            return await self._same_peer(stream, host, port)
        raise failed or httpcore2.ConnectError("no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise Failure("blocked_address", "local sockets are not reachable from a step")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> tuple[str, ...]:
        try:
            answers = await self._resolver(host, port)
        except UnicodeError:
            raise Failure("bad_url", f"{host[:100]!r} is not a host name") from None
        except socket.gaierror as wrong:
            passing = wrong.errno == socket.EAI_AGAIN
            raise Failure("connect", f"the host name {host} could not be resolved ({wrong.strerror})", retryable=passing) from None
        if not answers:
            raise Failure("connect", f"the host name {host} has no address")
        return answers

    async def _same_peer(self, stream: httpcore2.AsyncNetworkStream, host: str, port: int) -> httpcore2.AsyncNetworkStream:
        """The address at the other end must pass too, in case anything between us and the kernel chose another one."""
        peer = stream.get_extra_info("server_addr")
        try:
            self._rules.check_addresses(host, port, (str(peer[0]),))
        except Failure:
            await stream.aclose()
            raise
        return _Stream(stream)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is closed when the deadline strikes during its TLS handshake; httpcore2's own stays open then."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """One policy, its connections and its way of saying what went wrong: every error is a Failure naming the origin.

    Connections are kept alive only here, so none is ever shared with another policy. No proxy, no environment."""

    def __init__(self, rules: Rules, resolver: Resolver, tls: Callable[[], Awaitable[ssl.SSLContext]]) -> None:
        self._backend, self._tls = GuardedBackend(rules, resolver), tls
        self._pools: dict[str, httpcore2.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        check_url(request.url)
        url = httpcore2.URL(scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path)
        content = cast(AsyncIterable[bytes], request.stream)
        bare = httpcore2.Request(request.method, url, headers=request.headers.raw, content=content, extensions=request.extensions)
        where = origin(request.url)
        with failures(where):
            answer = await (await self._pool(request.url.scheme)).handle_async_request(bare)
        body = _Body(cast(AsyncIterable[bytes], answer.stream), where)
        extensions = cast(dict[str, Any], answer.extensions)
        return httpx2.Response(answer.status, headers=answer.headers, stream=body, extensions=extensions)

    async def _pool(self, scheme: str) -> httpcore2.AsyncConnectionPool:
        context = await self._tls() if scheme == "https" else None
        if scheme not in self._pools:
            self._pools[scheme] = httpcore2.AsyncConnectionPool(
                ssl_context=context,
                max_connections=500,
                max_keepalive_connections=50,
                keepalive_expiry=15.0,
                network_backend=self._backend,
            )
        return self._pools[scheme]

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes], where: str) -> None:
        self._stream, self._where = stream, where

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with failures(self._where):
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


def check_url(url: httpx2.URL) -> None:
    """Refuses what is not plain http(s) to a host. Raises Failure("bad_url", …)."""
    if url.scheme not in ("http", "https"):
        raise Failure("bad_url", f"a URL must begin with http:// or https://, not {(url.scheme or 'a path')[:20]!r}")
    if not HOST.fullmatch(url.raw_host.decode("latin-1")):
        raise Failure("bad_url", f"{url.host[:100]!r} is not a host name" if url.host else "the URL names no host")
    if not 0 < (url.port or 80) < 65536:
        raise Failure("bad_url", f"{url.port} is not a port")
    if url.userinfo:
        raise Failure(
            "bad_url",
            f"a URL must not carry a user name or password ({url.host}); send an Authorization header instead",
        )


def origin(url: httpx2.URL) -> str:
    """Scheme, host and port: as much of a URL as may be shown, since paths and queries can carry secrets."""
    return f"{url.scheme}://{bracketed(url.host)}" + (f":{url.port}" if url.port else "")


def target_of(url: httpx2.URL) -> str:
    """The key of a circuit: the origin as browsers spell it, one spelling per host."""
    host = url.raw_host.decode("latin-1").lower().removesuffix(".")
    return f"{url.scheme}://{bracketed(host)}" + (f":{url.port}" if url.port else "")


@contextmanager
def failures(where: str) -> Generator[None]:
    """Turns what the HTTP library raises into a Failure: connect, tls (nothing sent yet), timeout, cut, bad_request."""
    try:
        yield
    except httpcore2.ConnectTimeout:
        raise Failure("connect", f"{where} accepted no connection in time", retryable=True) from None
    except httpcore2.ConnectError as wrong:
        raise _connecting(where, wrong) from None
    except httpcore2.TimeoutException:
        raise Failure("timeout", f"{where} did not answer in time", retryable=True) from None
    except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as wrong:
        message = f"the connection to {where} broke before its answer was complete ({_reason(wrong)})"
        raise Failure("cut", message, retryable=True) from None
    except httpcore2.LocalProtocolError as wrong:
        raise Failure("bad_request", f"the request to {where} is not valid HTTP: {wrong}") from None


def _connecting(where: str, wrong: Exception) -> Failure:
    cause: BaseException | None = wrong
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Failure("tls", f"the certificate of {where} is not valid for it: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError):
        return Failure("tls", f"no TLS connection to {where}: {(cause.reason or 'handshake failed').lower().replace('_', ' ')}")
    return Failure("connect", f"{where} does not accept connections ({_reason(wrong)})", retryable=True)


def _reason(wrong: Exception) -> str:
    cause = wrong.__cause__ or wrong.__context__ or wrong
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(wrong).partition("(")[0].strip().rstrip(".").lower()[:120] or "closed by the other side"
