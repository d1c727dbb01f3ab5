"""The outside world of the fault tests: an HTTP sink on loopback that counts effects by their idempotency key and forgets nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Ledger:
    """`effects` counts every request that arrived, by key."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.split(": ", 1) for line in head.decode("latin-1").lower().split("\r\n")[1:] if ": " in line)
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.effects[headers.get("idempotency-key", "none")] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def ledger() -> AsyncGenerator[Ledger]:
    book = Ledger()
    server = await asyncio.start_server(book._serve, "127.0.0.1", 0)  # pyright: ignore[reportPrivateUsage] one module, one thing
    book.port = server.sockets[0].getsockname()[1]
    try:
        yield book
    finally:
        server.close()
