"""The outside world of the fault tests: an HTTP sink on loopback that does what it is asked, notes it in an append-only file, and forgets
nothing. It knows nothing of Weft: what it has is what really happened.

A path is /<tag>/<name>. A name that begins with `missing` is answered 404, one with `flaky` 503 the first time: neither takes effect.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

WRITES = ("POST", "PUT", "PATCH", "DELETE")
ANSWER = "HTTP/1.1 {} x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request that has arrived. `done`: it took effect; that its sender also heard so is another matter."""

    method: str
    tag: str
    name: str
    key: str
    done: bool


@dataclass(slots=True, kw_only=True)
class Ledger:
    """`effects` counts every request that arrived, by its idempotency key. `watched` is told of an arrival before it is answered, and says
    whether there will be an answer."""

    port: int = 0
    delay: float = 0.0  # seconds between doing and answering
    effects: Counter[str] = field(default_factory=Counter[str])
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    watched: dict[str, Callable[[Arrival], bool]] = field(default_factory=dict[str, Callable[[Arrival], bool]])
    file: TextIO | None = None

    def of(self, tag: str) -> list[Arrival]:
        """The writes of a run that took effect."""
        return [seen for seen in self.arrivals if seen.tag == tag and seen.done and seen.method in WRITES]

    def has(self, key: str) -> bool:
        return any(seen.key == key and seen.done for seen in self.arrivals)

    def _take(self, method: str, path: str, key: str) -> tuple[int, Arrival]:
        tag, _, name = path.strip("/").partition("/")
        known = any((seen.tag, seen.name) == (tag, name) for seen in self.arrivals)
        status = 404 if name.startswith("missing") else 503 if name.startswith("flaky") and not known else 200
        arrival = Arrival(method=method, tag=tag, name=name, key=key, done=status == 200)
        self.effects[key] += 1
        self.arrivals.append(arrival)
        if self.file:
            self.file.write(json.dumps(asdict(arrival)) + "\n")
            self.file.flush()
        return status, arrival

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                status, arrival = self._take(method, path, headers.get("idempotency-key", "none").lower())
                heard = self.watched.get(arrival.tag, _everybody_hears)(arrival)
                await asyncio.sleep(self.delay)
                if not heard:
                    return
                writer.write(ANSWER.format(status).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _everybody_hears(arrival: Arrival) -> bool:
    return True


@asynccontextmanager
async def ledger(file: Path | None = None) -> AsyncGenerator[Ledger]:
    book = Ledger(file=file.open("a") if file else None)
    server = await asyncio.start_server(book._serve, "127.0.0.1", 0, backlog=1000)  # pyright: ignore[reportPrivateUsage] one module, one thing
    book.port = server.sockets[0].getsockname()[1]
    try:
        yield book
    finally:
        server.close()
        if book.file:
            book.file.close()
