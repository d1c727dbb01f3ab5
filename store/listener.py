"""A worker's or door's one dedicated connection: it hears NOTIFY, and its session lock is how others see that the worker lives."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg

from store.postgres import CONNECT

log = logging.getLogger("weft.listener")

CHANNEL = "weft"
LIVE = "weft_live"  # what runs show just now; see graphs/live.py
PROBE_SECONDS = 15.0  # how long silence is believed before the server is asked whether it is still there
ANSWER_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 5.0


class LockHeld(Exception):
    """Another session still holds this worker number."""


class Beacon:
    """Holds pg_advisory_lock(worker_number) and hears the channel `weft`, reconnecting by itself, for as long as it is open.

    `on_notify(payload)` is called for every notification, and with "" after every (re)connection: what was sent before it could not be
    heard, so look at everything. `on_lost()` is called once when a connection that stood is gone: from then on others may take this
    worker's runs. With `on_live` it also hears the channel `weft_live`. All run in the event loop and must not block. `url` must reach
    Postgres itself or a pooler in session mode. Without a `worker_number` it only listens.
    """

    def __init__(
        self,
        url: str,
        worker_number: int | None = None,
        on_notify: Callable[[str], None] | None = None,
        on_lost: Callable[[], None] | None = None,
        on_live: Callable[[str], None] | None = None,
    ) -> None:
        self._url = url
        self._number = worker_number
        self._on_live = on_live
        self._on_notify = on_notify or _ignore
        self._on_lost = on_lost or _ignore
        self._up = asyncio.Event()

    @property
    def lit(self) -> bool:
        """Whether the lock is held and notifications are heard right now."""
        return self._up.is_set()

    async def wait_lit(self, seconds: float) -> bool:
        """Waits until it is lit; False when `seconds` were not enough."""
        try:
            await asyncio.wait_for(self._up.wait(), seconds)
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Beacon]:
        task = asyncio.create_task(self._keep(), name="beacon")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._shine()
            except (psycopg.Error, OSError, TimeoutError, LockHeld) as error:
                failures = 0 if self.lit else failures + 1
                log.warning("the connection for notifications is gone: %s", str(error).strip() or type(error).__name__)
            finally:
                self._darken()
            await asyncio.sleep(min(MAX_BACKOFF_SECONDS, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def _shine(self) -> None:
        """One connection from start to loss."""
        async with await psycopg.AsyncConnection.connect(self._url, **CONNECT, prepare_threshold=None) as connection:
            await self._take_lock(connection)
            await connection.execute(f"LISTEN {CHANNEL}")
            if self._on_live is not None:
                await connection.execute(f"LISTEN {LIVE}")
            self._up.set()
            self._on_notify("")
            while True:
                async for notification in connection.notifies(timeout=PROBE_SECONDS):
                    tell = self._on_live if notification.channel == LIVE and self._on_live else self._on_notify
                    tell(notification.payload)
                async with asyncio.timeout(ANSWER_SECONDS):
                    await connection.execute("SELECT 1")

    async def _take_lock(self, connection: psycopg.AsyncConnection) -> None:
        """Does not wait for the lock: after a cut our former session may hold it until the server notices that we are gone."""
        if self._number is not None:
            row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._number,))).fetchone()
            if row != (True,):
                raise LockHeld("the session lock is still held by an earlier connection")

    def _darken(self) -> None:
        if self._up.is_set():
            self._up.clear()
            self._on_lost()


async def listen(url: str) -> AsyncGenerator[str]:
    """The payloads of the channel as they come, "" after every (re)connection. Ends only when it is closed."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with Beacon(url, on_notify=heard.put_nowait).open():
        while True:
            yield await heard.get()


def _ignore(*_: str) -> None:
    """For who does not want to be told."""


def worker_number() -> int:
    """A number no other worker has: 62 random bits, positive as the number of a worker that holds its lock must be."""
    return random.SystemRandom().getrandbits(62) + 1
