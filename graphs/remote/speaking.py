"""Speaks MCP with the servers: their sessions, one for a connection of an organization, and the calls within them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult, InputRequiredResult
from pydantic import TypeAdapter

from graphs.definition import Json
from graphs.nodetype import Effect, Failure
from graphs.outbound import Outbound
from graphs.remote import answers
from graphs.remote.definitions import shown
from graphs.remote.doubt import doubted
from graphs.remote.faults import RAISED, explained
from graphs.remote.opening import Place
from graphs.remote.route import Route
from graphs.remote.sessions import Listed, Session, in_exchange
from graphs.remote.steps import Progress
from graphs.remote.wire import Exchange
from store.postgres import Tenant
from store.remote_tools import Pin

MAX_SESSIONS = 200
LONGEST_PAUSE = 60.0  # seconds until a local server that keeps dying is started again
IDEMPOTENCY_KEY = "weft/idempotency-key"
RESULT: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(CallToolResult | InputRequiredResult)


@dataclass(slots=True)
class _Pause:
    """A local server that could not be started is left alone for longer each time."""

    failures: int = 0
    until: float = 0.0


class Speaker:
    """The sessions of a process. `idle`: seconds without a call, after which one is closed."""

    def __init__(self, outbound: Outbound, idle: float) -> None:
        self._outbound, self._idle = outbound, idle
        self.sessions: dict[tuple[str, str], tuple[Route, Session]] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._pauses: dict[tuple[str, str], _Pause] = {}

    @property
    def live(self) -> list[Session]:
        return [session for _, session in self.sessions.values()]

    async def close(self) -> None:
        sessions = self.live
        self.sessions.clear()
        await asyncio.gather(*(session.close() for session in sessions))

    async def listed(self, tenant: Tenant, name: str, place: Place, *, fresh: float | None = None) -> tuple[Session, Listed]:
        """A session and its listing that a call may rely on. A session that the server has given up is opened anew, once."""
        for again in (True, False):
            session = await self._session(tenant, name, place)
            try:
                async with session.used():
                    return session, await session.listing(fresh=fresh)
            except Failure as wrong:
                if wrong.code != "remote_closed" or not again:
                    raise
                await self._drop(tenant, name, session)
        raise AssertionError("unreachable")

    async def _session(self, tenant: Tenant, name: str, place: Place) -> Session:
        key = (tenant.org_id, name)
        async with self._opening.setdefault(key, asyncio.Lock()):
            if known := self.sessions.get(key):
                route, session = known
                if not session.over and route.place.target == place.target and route.place.server == place.server:
                    route.place = place  # credentials as they are now
                    return session
                del self.sessions[key]
                await session.close()
            self._patient(key, place)
            self._sweep()
            route = Route(place, self._outbound.of(tenant))
            session = Session(
                place.where, route.transport, fresh=place.fresh, idle=self._idle, local=place.server is not None, clean=route.clean
            )
            self.sessions[key] = route, session
            try:
                await session.opened()
            except BaseException:
                del self.sessions[key]
                self._pause(key, place)
                await session.close()
                raise
            self._pauses.pop(key, None)
            return session

    async def _drop(self, tenant: Tenant, name: str, session: Session) -> None:
        known = self.sessions.get((tenant.org_id, name))
        if known and known[1] is session:
            del self.sessions[tenant.org_id, name]
        await session.close()

    def _sweep(self) -> None:
        for key in [key for key, (_, session) in self.sessions.items() if session.over]:
            del self.sessions[key]
        if len(self.sessions) >= MAX_SESSIONS:
            raise Failure(
                "remote_busy", f"this process already has {MAX_SESSIONS} sessions with MCP servers", retryable=True, retry_after=5.0
            )

    def _patient(self, key: tuple[str, str], place: Place) -> None:
        pause = self._pauses.get(key)
        left = pause.until - time.monotonic() if pause and place.server else 0.0
        if left > 0:
            message = f"{place.where} has failed to start {pause.failures if pause else 0} times; it is tried again in {left:.0f} s"
            raise Failure("remote_start", message, retryable=True, retry_after=left)

    def _pause(self, key: tuple[str, str], place: Place) -> None:
        if place.server is None:
            return
        pause = self._pauses.setdefault(key, _Pause())
        pause.failures += 1
        pause.until = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2**pause.failures)

    async def called(
        self, session: Session, pin: Pin, arguments: Mapping[str, Json], key: str, seconds: float, show: Progress | None
    ) -> dict[str, Json]:
        exchange = Exchange(sent=session.local)  # a pipe does not tell what has gone through
        effect = Effect(pin.effect or Effect.WRITE_ONCE)
        params = CallToolRequestParams(name=pin.name, arguments=dict(arguments), _meta={IDEMPOTENCY_KEY: key} if key else None)  # pyright: ignore[reportArgumentType]

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            if show is not None:
                await show(shown(message or "", 300), progress, total)

        try:
            async with session.used() as client, asyncio.timeout(seconds):
                request = client.session.send_request(
                    CallToolRequest(params=params), RESULT, request_read_timeout_seconds=seconds + 1, progress_callback=heard
                )
                result: CallToolResult | InputRequiredResult = await in_exchange(exchange, request)
            if isinstance(result, InputRequiredResult):
                message = f"{session.where} asks for something in the middle of the call, which a step cannot answer"
                raise Failure("remote_asks", message)
            return answers.output(result, (pin.definition or {}).get("output_schema"), session.where)
        except RAISED as wrong:
            raise doubted(explained(wrong, exchange, session.where), effect, sent=exchange.sent, what=f"the call of {pin.name}") from None
        except Failure as wrong:
            raise doubted(wrong, effect, sent=exchange.sent, what=f"the call of {pin.name}") from None
