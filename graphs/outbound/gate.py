"""One organization's gate to the outside: asks circuit and rate limit before a call, and tells them afterwards how it went.

What the processes share is in Postgres (store/circuits.py). Here it is remembered for a second, so that a call to a target in good health
costs no round trip. Whatever goes wrong with Postgres never turns a call that was made into one that failed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from graphs.nodetype import Failure
from graphs.outbound.breaker import Abandoned, Answered, Event, Failed, Probing, after, blocked, held
from graphs.outbound.delays import retry_after
from store import circuits as rows
from store.circuits import Circuit
from store.errors import Unavailable, WeftError
from store.postgres import Tenant

REFUSED = frozenset({"circuit_open", "rate_limited"})
"""Codes of a Failure by which the gate says that nothing has been sent."""

REMEMBERED = 1.0  # seconds that what Postgres said is taken for granted
PATIENCE = 1.0  # seconds that a call waits here for its token; longer ones are timers of the engine
PROBED = 5.0  # seconds after which to ask again while somebody else's probe is under way
MARGIN = 5.0  # seconds that a probe's lease outlasts the probe
LONGEST_PROBE = 3600.0
FAILED = frozenset({"connect", "timeout", "cut"})  # of Failures that may pass; a name or certificate that is wrong stays wrong
ANSWERS = frozenset({"too_large", "bad_answer", "redirects"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    circuit: Circuit
    at: float

    @property
    def now(self) -> datetime:
        """The database's time."""
        return self.circuit.now + timedelta(seconds=time.monotonic() - self.at)


class Gate:
    """Of one organization in one process; safe for any number of calls at once."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._known: dict[str, _Known] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._unwritten: dict[str, list[Event]] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}

    async def enter(self, target: str, seconds: float) -> Passage:
        """A passage for one call that ends within `seconds`. Raises Failure("circuit_open") or Failure("rate_limited"), both saying
        when to come again; then nothing has been sent."""
        await self._look(target)
        known = self._known.get(target)
        if known is None:
            return Passage(self, target, secrets.token_hex(8))
        if (until := blocked(known.circuit, known.now)) is not None:
            raise _shut(known, until)
        await self._hold(known)
        if known.circuit.limit_calls is not None:
            await self._take(known)
        return await self._through(target, seconds)

    def forget(self) -> None:
        """What is known is asked anew before the next call: somebody has changed it by hand."""
        self._read_at = float("-inf")
        self._known.clear()

    async def settled(self) -> None:
        """Returns when everything told so far is written."""
        while self._writing:
            await asyncio.wait(list(self._writing.values()))

    def tell(self, target: str, event: Event) -> None:
        """Writes down what happened, beside the call: its answer must not wait for Postgres, nor be lost with it."""
        if not self._is_news(target, event):
            return
        self._unwritten.setdefault(target, []).append(event)
        if target not in self._writing:
            self._writing[target] = asyncio.create_task(self._write(target))

    # -- before a call -----------------------------------------------------------------------------------------------------------

    async def _look(self, target: str) -> None:
        """Makes sure that what is known is at most a second old, and that this process knows what it has seen itself."""
        if target in self._writing:
            await asyncio.wait([self._writing[target]])
        if time.monotonic() - self._read_at <= REMEMBERED:
            return
        async with self._reading:
            if time.monotonic() - self._read_at > REMEMBERED:
                await self._read()

    async def _read(self) -> None:
        begun = time.monotonic()
        try:
            found = await rows.news(self._tenant)
        except Unavailable as error:  # the engine has more to say about that; circuits stay as they were
            log.warning("circuits are not up to date: %s", error.message)
            return
        at = time.monotonic()
        newer = {target: known for target, known in self._known.items() if known.at >= begun}
        self._known = {circuit.target: _Known(circuit=circuit, at=at) for circuit in found} | newer
        self._read_at = at

    async def _hold(self, known: _Known) -> None:
        until = held(known.circuit, known.now)
        if until is None:
            return
        rest = (until - known.now).total_seconds()
        if rest > PATIENCE:
            message = f"{known.circuit.target} has asked for no more calls until {_instant(until)}; nothing was sent"
            raise _refusal("rate_limited", known.circuit.target, message, until, rest + random.uniform(0.0, 1.0))  # noqa: S311
        await asyncio.sleep(rest)

    async def _take(self, known: _Known) -> None:
        circuit = known.circuit
        try:
            grant = await rows.take(self._tenant, circuit.target, patience=PATIENCE)
        except Unavailable:
            grant = rows.Grant(granted=False, wait=1.0)
        if not grant.granted:
            limit = f"{circuit.limit_calls:,} calls in {circuit.limit_seconds:,} s"
            message = f"the rate limit of {circuit.target} ({limit}) leaves no call for now; nothing was sent"
            raise _refusal("rate_limited", circuit.target, message, known.now + timedelta(seconds=grant.wait), grant.wait)
        await asyncio.sleep(grant.wait)

    async def _through(self, target: str, seconds: float) -> Passage:
        """The passage, as the probe where the circuit is not closed. Exactly one call of all processes becomes the probe."""
        call = secrets.token_hex(8)
        known = self._known.get(target)
        if known is None or known.circuit.state == "closed":
            return Passage(self, target, call)
        probing = Probing(call=call, lease=min(seconds, LONGEST_PROBE) + MARGIN)
        try:
            known = await self._change(target, [probing])
        except Unavailable:
            raise _shut(known, known.now + timedelta(seconds=1)) from None
        if known is None or known.circuit.state == "closed" or known.circuit.probe == call:
            return Passage(self, target, call)
        raise _shut(known, blocked(known.circuit, known.now) or known.now)

    # -- after a call ------------------------------------------------------------------------------------------------------------

    def _is_news(self, target: str, event: Event) -> bool:
        circuit = known.circuit if (known := self._known.get(target)) else None
        match event:
            case Failed():
                return circuit is None or circuit.state != "open" or event.wait > 0
            case Answered():
                return event.wait > 0 or (circuit is not None and (circuit.state != "closed" or bool(circuit.failed_at)))
            case Abandoned():
                return circuit is not None and circuit.probe == event.call
            case _:
                return True

    async def _write(self, target: str) -> None:
        """In one go what has gathered: of a hundred calls that fail together few have to wait for the row."""
        try:
            while events := self._unwritten.pop(target, None):
                try:
                    await self._change(target, events)
                except WeftError as error:
                    log.warning("what happened at %s could not be written down: %s", target, error.message)
        finally:
            del self._writing[target]

    async def _change(self, target: str, events: list[Event]) -> _Known | None:
        opened = False

        def step(circuit: Circuit) -> Circuit:
            nonlocal opened
            found = circuit
            for event in events:
                found = after(found, event, circuit.now)
            opened = found.times_opened > circuit.times_opened
            return found

        make = any(isinstance(event, Failed) or (isinstance(event, Answered) and event.wait > 0) for event in events)
        circuit = await rows.change(self._tenant, target, step, make=make)
        if circuit is None:
            self._known.pop(target, None)
            return None
        if opened:
            log.warning("the circuit of %s is open for organization %s: %s", target, self._tenant.org_id, circuit.last_error)
        self._known[target] = known = _Known(circuit=circuit, at=time.monotonic())
        return known


class Passage:
    """One call that was let through. As a context manager it tells how the call went, unless `answered` has said so before."""

    def __init__(self, gate: Gate | None = None, target: str = "", call: str = "") -> None:
        self._gate, self._target, self._call = gate, target, call
        self._deadline: asyncio.Timeout | None = None

    def until(self, deadline: asyncio.Timeout) -> Self:
        """The time limit of the call: a cancellation by it is the target's doing."""
        self._deadline = deadline
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.finished()
        elif self._deadline is not None and self._deadline.expired():
            self.failed(Failure("timeout", f"{self._target} did not finish its answer in time", retryable=True))
        else:
            self.failed(error)

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer with this status has come; below 500 its body is still to be read."""
        wait = (retry_after(headers) or 0.0) if status in (429, 503) else 0.0
        if status >= 500:
            self._tell(Failed(call=self._call, error=f"answered with {status}", wait=wait))
        elif wait:
            self._tell(Answered(call=self._call, wait=wait))

    def failed(self, error: BaseException) -> None:
        """Trouble on the way counts; an answer that we do not like was an answer all the same; a cancellation or a refusal of ours
        says nothing."""
        code = error.code if isinstance(error, Failure) else ""
        if code in FAILED and isinstance(error, Failure) and error.retryable:
            self._tell(Failed(call=self._call, error=error.message))
        elif code in ANSWERS:
            self.finished()
        else:
            self._tell(Abandoned(call=self._call))

    def finished(self) -> None:
        """The answer was read to its end."""
        self._tell(Answered(call=self._call))

    def _tell(self, event: Event) -> None:
        gate, self._gate = self._gate, None  # the first word about a call is the last
        if gate is not None:
            gate.tell(self._target, event)


def _shut(known: _Known, until: datetime) -> Failure:
    """Everybody would come at the same moment and one may pass: the others are spread, and wait for the probe a little at a time."""
    circuit = known.circuit
    rest = max((until - known.now).total_seconds(), 0.0)
    if circuit.state == "half_open":
        again, what = min(rest, PROBED), "one call is trying whether it is well again"
    else:
        again, what = rest, f"closed to calls until {_instant(until)}"
    said = f" ({circuit.last_error})" if circuit.last_error else ""
    message = f"the circuit of {circuit.target} is open after it failed several times in a row{said}; {what}; nothing was sent"
    return _refusal("circuit_open", circuit.target, message, until, again + random.uniform(0.0, min(1.0 + rest / 10, 5.0)))  # noqa: S311


def _refusal(code: str, target: str, message: str, until: datetime, wait: float) -> Failure:
    return Failure(code, message, retryable=True, retry_after=wait, details={"circuit": target, "until": until.isoformat()})


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
