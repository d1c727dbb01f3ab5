"""Sessions with MCP servers: opened when a call needs one, shared by the calls of one connection, closed after a while without any.

The SDK's client must be entered and left by the same task, so each session has a task of its own; calls come from anywhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from mcp.client.client import Client
from mcp.client.session import IncomingMessage
from mcp.types import Implementation, PaginatedRequestParams, Tool, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.remote.definitions import MAX_TOOLS, gathered
from graphs.remote.faults import RAISED, explained
from graphs.remote.opening import IDLE_SECONDS
from graphs.remote.wire import EXCHANGE, Exchange
from store.remote_tools import Offered

CONNECT_SECONDS = 20.0
LIST_SECONDS = 20.0
CLOSE_SECONDS = 5.0
MAX_PAGES = 20

Clean = Callable[[Json], Json]
Transport = Callable[[], AbstractAsyncContextManager[Any]]

log = logging.getLogger(__name__)


def _as_is(value: Json) -> Json:
    return value


class Listed:
    """What a server offered when it was asked at `asked` (monotonic seconds)."""

    __slots__ = ("asked", "by_name", "refused", "seconds", "tools")

    def __init__(self, asked: float, tools: list[Offered], refused: list[dict[str, str]]) -> None:
        self.asked, self.seconds, self.tools, self.refused = asked, time.monotonic() - asked, tools, refused
        self.by_name = {tool.name: tool for tool in tools}


class Session:
    """One server, for one organization. `transport` opens the streams; `fresh`: seconds for which a listing may serve calls; `local`:
    it is reached by the pipes of a child process; `clean` blots out what it must not repeat."""

    def __init__(
        self,
        where: str,
        transport: Transport,
        *,
        fresh: float = 0.0,
        idle: float = IDLE_SECONDS,
        local: bool = False,
        clean: Clean = _as_is,
    ) -> None:
        self.where, self.fresh, self.local = where, fresh, local
        self._clean = clean
        self._transport, self._idle = transport, idle
        self._client: Client | None = None
        self._listed: Listed | None = None
        self._listing = asyncio.Lock()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()  # somebody came, somebody left, or it is to end
        self._users, self._ending = 0, False
        self.opening = Exchange()
        self.owner = asyncio.create_task(self._own())

    @property
    def over(self) -> bool:
        return self._ending or self.owner.done()

    @property
    def client(self) -> Client:
        if self._client is None:
            raise Failure("remote_closed", f"the session with {self.where} is closed", retryable=True)
        return self._client

    async def opened(self) -> None:
        """Waits for the handshake. Raises Failure."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.owner.cancel()
            raise Failure(
                "remote_timeout", f"{self.where} did not answer the handshake within {CONNECT_SECONDS:g} s", retryable=True
            ) from None

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[Client]:
        """While used it is not idle."""
        self._users += 1
        self._moved.set()
        try:
            yield self.client
        finally:
            self._users -= 1
            self._moved.set()

    async def close(self) -> None:
        self._ending = True
        self._moved.set()
        done, _ = await asyncio.wait([self.owner], timeout=CLOSE_SECONDS)
        if not done:
            self.owner.cancel()
            await asyncio.wait([self.owner], timeout=CLOSE_SECONDS)

    # -- its task ----------------------------------------------------------------------------------------------------------------

    async def _own(self) -> None:
        EXCHANGE.set(self.opening)
        try:
            async with self._connected() as client:
                self._client = client
                if not self._ready.done():
                    self._ready.set_result(None)
                async with self._told(client):
                    await self._needed()
        except asyncio.CancelledError:
            if not self._ready.done():
                self._ready.set_exception(Failure("remote_closed", f"the session with {self.where} was closed", retryable=True))
        except BaseException as wrong:  # noqa: BLE001  # whoever waits for the handshake hears of it; later nobody needs the session any more
            failure = explained(wrong, self.opening, self.where)
            if self._ready.done():
                log.info("the session with %s ended: %s", self.where, failure.message)
            else:
                self._ready.set_exception(failure)
        finally:
            self._client, self._ending = None, True
            if self._ready.done() and not self._ready.cancelled():
                self._ready.exception()  # looked at, whether or not anybody still waits

    def _connected(self) -> Client:
        return Client(
            self._transport(),
            mode="auto",
            cache=None,  # what a tool is must be asked, not remembered
            read_timeout_seconds=CONNECT_SECONDS,
            message_handler=self._heard,
            client_info=Implementation(name="weft", version=version("weft")),
        )

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._listed = None

    @asynccontextmanager
    async def _told(self, client: Client) -> AsyncGenerator[None]:
        """Listens for changed tools where a listing may serve several calls, and the revision has no stream of its own for it."""
        if not self.fresh or client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            yield
            return
        listening = asyncio.create_task(self._listen(client))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, client: Client) -> None:
        with suppress(Exception):  # a server without such a stream is asked again in time
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._listed = None
        self._listed = None

    async def _needed(self) -> None:
        """Returns when it is to end, or nobody has used it for so long."""
        while not self._ending:
            self._moved.clear()
            try:
                async with asyncio.timeout(None if self._users else self._idle):
                    await self._moved.wait()
            except TimeoutError:
                return

    # -- its tools ---------------------------------------------------------------------------------------------------------------

    async def listing(self, *, fresh: float | None = None) -> Listed:
        """What the server offers: asked for after this was called, unless a listing not older than `fresh` seconds is known and the
        server has not said since that it changed. Calls at the same time share one. Raises Failure."""
        since = time.monotonic() - (self.fresh if fresh is None else fresh)
        async with self._listing:
            if self._listed is None or self._listed.asked < since:
                self._listed = None
                asked = time.monotonic()
                tools, refused = gathered([self._clean(definition(tool)) for tool in await self._tools()])
                self._listed = Listed(asked, tools, refused)
            return self._listed

    async def _tools(self) -> list[Tool]:
        exchange = Exchange()
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await in_exchange(exchange, self._pages())
        except Failure:
            raise
        except RAISED as wrong:
            raise explained(wrong, exchange, self.where) from None

    async def _pages(self) -> list[Tool]:
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) > MAX_TOOLS:
                return found
        raise Failure("bad_listing", f"{self.where} lists its tools on more than {MAX_PAGES} pages")


async def in_exchange(exchange: Exchange, call: Coroutine[Any, Any, Any]) -> Any:
    """Awaits it so that the requests it makes are noted there."""
    token = EXCHANGE.set(exchange)
    try:
        return await call
    finally:
        EXCHANGE.reset(token)


def definition(tool: Tool) -> dict[str, Any]:
    """What is pinned of a tool: everything that an author, a model or a person is told about it."""
    whole = tool.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {
        "name": tool.name,
        "title": whole.get("title"),
        "description": whole.get("description"),
        "input_schema": whole["inputSchema"],
        "output_schema": whole.get("outputSchema"),
        "annotations": whole.get("annotations") or {},
    }
