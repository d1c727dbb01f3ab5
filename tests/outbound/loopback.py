"""A raw HTTP origin on loopback whose answers a test writes byte by byte, so that it can also misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from graphs.outbound.transport import Resolver, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Origin:
    port: int = 0
    connections: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


def answer(status: int = 200, body: bytes = b"", **headers: Any) -> bytes:
    """A whole answer; header names are written with underscores."""
    fields = {"content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def always(raw: bytes) -> Reply:
    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return reply


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method=method, target=target, headers=headers, body=body)


@asynccontextmanager
async def origin(reply: Reply, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Origin]:
    """Serves until the block ends; connections still open then are cut."""
    here = Origin()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        with suppress(ConnectionError, asyncio.CancelledError):
            while not writer.is_closing() and (asked := await _read(reader)) is not None:
                here.asked.append(asked)
                await reply(asked, writer)
                await writer.drain()
        writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    here.port = int(server.sockets[0].getsockname()[1])
    try:
        yield here
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def names(**known: tuple[str, ...]) -> Resolver:
    """A resolver for names (written with underscores for dots); literals go to the system, which needs no network for them."""
    table = {name.replace("_", "."): answers for name, answers in known.items()}

    async def look(host: str, port: int) -> tuple[str, ...]:
        return table[host] if host in table else await resolve(host, port)

    return look
