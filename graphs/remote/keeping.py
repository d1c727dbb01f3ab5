"""The sessions of one process with MCP servers: one per connection of an organization, opened anew where the server has given it up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from graphs.nodetype import Failure
from graphs.outbound import Outbound
from graphs.remote.opening import Line, Place
from graphs.remote.sessions import Listed, Session
from store.postgres import Tenant

MAX_SESSIONS = 200
LONGEST_PAUSE = 60.0  # seconds until a local server that keeps dying is started again


@dataclass(slots=True)
class _Pause:
    """A local server that could not be started is left alone for longer each time."""

    failures: int = 0
    until: float = 0.0


class Sessions:
    """`idle`: seconds without a call after which one ends."""

    def __init__(self, outbound: Outbound, idle: float) -> None:
        self._outbound, self._idle = outbound, idle
        self._sessions: dict[tuple[str, str], tuple[Line, Session]] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}
        self._pauses: dict[tuple[str, str], _Pause] = {}

    @property
    def live(self) -> list[Session]:
        return [session for _, session in self._sessions.values()]

    async def close(self) -> None:
        sessions = self.live
        self._sessions.clear()
        await asyncio.gather(*(session.close() for session in sessions))

    async def listed(self, tenant: Tenant, name: str, place: Place, *, fresh: float | None = None) -> tuple[Session, Listed]:
        """(session, listing) that a call may rely on. A session that the server has given up is opened anew, once."""
        for again in (True, False):
            session = await self._open(tenant, name, place)
            try:
                async with session.used():
                    return session, await session.listing(fresh=fresh)
            except Failure as wrong:
                if wrong.code != "remote_closed" or not again:
                    raise
                await self._drop(tenant, name, session)
        raise AssertionError("unreachable")

    async def _open(self, tenant: Tenant, name: str, place: Place) -> Session:
        key = (tenant.org_id, name)
        async with self._opening.setdefault(key, asyncio.Lock()):
            if known := self._sessions.get(key):
                line, session = known
                if not session.over and line.place.target == place.target and line.place.server == place.server:
                    line.place = place  # credentials as they are now
                    return session
                del self._sessions[key]
                await session.close()
            self._patient(key, place)
            self._sweep()
            line = Line(place, self._outbound.of(tenant))
            session = Session(
                place.where, line.transport, fresh=place.fresh, idle=self._idle, local=place.server is not None, clean=line.clean
            )
            self._sessions[key] = line, session
            try:
                await session.opened()
            except BaseException:
                del self._sessions[key]
                self._pause(key, place)
                await session.close()
                raise
            self._pauses.pop(key, None)
            return session

    async def _drop(self, tenant: Tenant, name: str, session: Session) -> None:
        known = self._sessions.get((tenant.org_id, name))
        if known and known[1] is session:
            del self._sessions[tenant.org_id, name]
        await session.close()

    def _sweep(self) -> None:
        for key in [key for key, (_, session) in self._sessions.items() if session.over]:
            del self._sessions[key]
        if len(self._sessions) >= MAX_SESSIONS:
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
