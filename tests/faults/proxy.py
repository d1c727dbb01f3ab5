"""A TCP proxy in front of the socket of a Postgres, on which the network can be cut, swallowed or slowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """`cut` resets every connection. While `swallow`ing, nothing passes and nothing is closed; new connections hang too."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.delay = 0.0  # seconds that each piece takes longer
        self.port = 0

    @property
    def connections(self) -> int:
        return len(self._open) // 2

    def cut(self) -> int:
        """How many connections there were."""
        cut = self.connections
        for writer in list(self._open):
            writer.transport.abort()
        return cut

    def swallow(self) -> None:
        self._passing.clear()

    def let_pass(self) -> None:
        self._passing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        try:
            inner = await asyncio.open_unix_connection(self._target)
        except OSError:  # the server is down: so is this connection
            writer.transport.abort()
            return
        await self._between((reader, writer), inner)

    async def _between(self, outer: Streams, inner: Streams) -> None:
        ends = {outer[1], inner[1]}
        self._open |= ends
        pumps = [asyncio.create_task(self._pump(outer[0], inner[1])), asyncio.create_task(self._pump(inner[0], outer[1]))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= ends
            for pump in pumps:
                pump.cancel()
            for writer in ends:
                writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._passing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # whoever it was is gone


@asynccontextmanager
async def proxy(sockets: Path) -> AsyncGenerator[Proxy]:
    """In front of the Postgres whose socket lies in this folder."""
    made = Proxy(sockets / ".s.PGSQL.5432")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.let_pass()
        made.cut()
