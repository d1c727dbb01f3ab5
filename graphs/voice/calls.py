"""Calls as a step makes them: each is a row before anybody is rung up, and is rung up once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphs.engine.patience import patiently
from graphs.nodetype import Failure
from graphs.voice import BEFORE, Order, masked, provider
from graphs.voice.dialogue import Script
from store import voice_calls as rows
from store.errors import NotFound
from store.postgres import Tenant
from store.voice_calls import Call

if TYPE_CHECKING:
    from graphs.connections import Connection
    from graphs.outbound import Outbound

UNKNOWN = (
    "it is not known whether the telephone rang: the process that called ended before the provider had answered. "
    "Ask the person, or look at the provider's list of calls"
)


def digest(ticket: str) -> bytes:
    """What is kept of a ticket."""
    return hashlib.sha256(ticket.encode()).digest()


def transcript(call: Call) -> list[dict[str, str]]:
    """What was said on both sides. What a call that asks nothing has said is known from its script."""
    if call.script["form"] is None and call.answered_at:
        return [{"who": "weft", "text": call.script["say"], "at": call.answered_at.isoformat(timespec="seconds")}]
    return call.transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Of one attempt of a step. `wait`: position of the wait that they are a channel to."""

    tenant: Tenant
    run_id: str
    position: str
    attempt: int
    wait: str
    outbound: Outbound
    connect: Callable[[str], Awaitable[Connection]]
    public_url: str | None
    progress: Callable[[str], Awaitable[None]]

    async def ring(self, number: int, *, connection: str, recipient: str, script: Script, ring: float, longest: float) -> str:
        """Makes the call of this number, or finds it made before a restart; its id. Raises Failure where it was not made: as the provider
        says why, "in_doubt" where nobody knows."""
        asked: dict[str, Any] = {"connection": connection, "recipient": recipient, "script": script.to_json()}
        place: dict[str, Any] = {"position": self.position, "attempt": self.attempt, "wait": self.wait}
        begun = await patiently(lambda: rows.begin(self.tenant, run_id=self.run_id, number=number, **place, **asked))
        if begun.state == "queued" and (await self.get(begun.id)).wanted:  # it may have been answered elsewhere since the last call
            await self._dial(begun.id, await self._opened(begun.id, connection), recipient, ring, longest)
        elif begun.state == "dialing" and begun.provider_id is None:
            raise Failure("in_doubt", UNKNOWN)
        return begun.id

    async def get(self, id: str) -> Call:
        call = await patiently(lambda: rows.get(self.tenant, id))
        if call is None:
            raise NotFound("the record of this call is gone")
        return call

    async def unanswered(self, id: str) -> None:
        """The time to answer is up: nobody has, unless the provider has told otherwise."""
        await patiently(lambda: rows.move(self.tenant, id, "no_answer", before=BEFORE["no_answer"], hang_up=True))

    async def let_go(self, id: str, *, late: bool) -> None:
        """Nobody waits for this call any longer; where it is not over it is hung up. `late`: the time for an answer is up."""
        if late:
            await self.unanswered(id)
        await patiently(lambda: rows.move(self.tenant, id, "cancelled", before=BEFORE["cancelled"], hang_up=True))

    async def _opened(self, id: str, name: str) -> Connection:
        try:
            if not self.public_url:
                raise Failure("voice_unreachable", "the provider could not reach this server: set WEFT_PUBLIC_URL to its public address")
            return await self.connect(name)
        except Failure as failure:
            await self._failed(id, failure)
            raise

    async def _dial(self, id: str, connection: Connection, recipient: str, ring: float, longest: float) -> None:
        ticket = secrets.token_urlsafe(32)
        if not await patiently(lambda: rows.dial(self.tenant, id, kind=connection.kind, ticket=digest(ticket))):
            raise Failure("in_doubt", UNKNOWN)  # another process has begun to
        address = f"{self.public_url}/hooks/voice/{ticket}"
        order = Order(
            recipient=recipient, answer_url=f"{address}/answer", status_url=f"{address}/status", ring=round(ring), longest=round(longest)
        )
        await self.progress(f"Calls {masked(recipient)}")
        try:
            name = await provider(connection.kind).dial(connection, self.outbound, order)
        except Failure as failure:
            if failure.code != "in_doubt":
                await self._failed(id, failure)
            raise
        await patiently(lambda: rows.name_it(self.tenant, id, name))

    async def _failed(self, id: str, failure: Failure) -> None:
        await patiently(lambda: rows.move(self.tenant, id, "failed", before=BEFORE["failed"], error=failure.message[:500]))
