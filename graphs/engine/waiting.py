"""The waiting side of a run being driven: what it waits for, the news that ends it, and when to put the run down."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from graphs.definition import Json
from graphs.engine.asking import Asking
from graphs.engine.body import BodyRun
from graphs.engine.events import Happening
from graphs.engine.patience import patiently
from graphs.engine.record import Record, RunCancelled, RunTimedOut
from graphs.engine.step import Step
from graphs.nodetype import Failure
from graphs.quiet import settle_down
from store import waits
from store.errors import LeaseLost, Unavailable
from store.runs import Claimed, Loaded

if TYPE_CHECKING:
    from graphs.engine.playing import Player

JUMP = 2.0  # seconds from which on a difference to the database's clock means that it was set
KEPT = 0.5  # seconds that a run waits in the process rather than as rows


@dataclass(frozen=True, slots=True)
class Hold:
    """A step held in the process until its future is set, its time comes, or the run is parked. A passive one is a boundary's: the step
    is not waiting for it."""

    future: asyncio.Future[None]
    due: datetime | None
    step: Step
    passive: bool


class Waiting(Asking):
    """What Drive is built on."""

    loaded: Loaded
    root: BodyRun
    records: dict[str, Record]
    compensate: bool
    player: Player | None

    def __init__(self, request: str | None, claimed: Claimed) -> None:
        super().__init__(claimed)
        self.holds: dict[str, Hold] = {}
        self.deadlines: dict[int, datetime] = {}
        self._numbers = count()
        self.poked = asyncio.Event()
        self.signal = claimed.signal
        self.request = request
        self.news = False  # somebody signalled; look at the database
        self.halting = False  # start no more steps
        self.unloading = False
        self.settled = False
        self.closing = False  # all steps are being cancelled, and nobody attends to what they wait for
        self.ending = False  # the main body is over: only its compensation is under way

    # -- time --------------------------------------------------------------------------------------------------------------------

    def set_clock(self, now: datetime) -> None:
        """What the database's clock says now. Where it has been set, a length of time that is waited for here still takes as long as it
        would have; an instant that somebody named stays."""
        jump = now - self.now()
        self.clock = (now, asyncio.get_running_loop().time())
        if abs(jump.total_seconds()) > JUMP:
            named = {place for place, wait in self.waits.items() if not wait.lasting}
            for place, hold in self.holds.items():
                if hold.due and place not in named:
                    self.holds[place] = replace(hold, due=hold.due + jump)
            for wait in self.waits.values():
                wait.due_at = wait.due_at + jump if wait.due_at and wait.lasting else wait.due_at
            for record in self.records.values():
                record.retry_at = record.retry_at and record.retry_at + jump
            self.deadlines = {number: moment + jump for number, moment in self.deadlines.items()}
            self.poked.set()

    def seconds_until(self, moment: datetime) -> float:
        return max((moment - self.now()).total_seconds(), 0.0)

    @contextmanager
    def deadline(self, moment: datetime | None) -> Generator[None]:
        """While inside, a parked run is woken at `moment`."""
        if moment is None:
            yield
            return
        number = next(self._numbers)
        self.deadlines[number] = moment
        try:
            yield
        finally:
            del self.deadlines[number]

    # -- pursuing ----------------------------------------------------------------------------------------------------------------

    async def pursue(self, work: Coroutine[Any, Any, None]) -> list[dict[str, Any]] | None:
        """Does some work of the run, and attends to what it waits for. None: done; a list: everything left waits, and for what."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self.poked.set())
        try:
            while not task.done():
                await self._until_news()
                if not task.done():
                    await self._attend()
                    if self.player and self.root.parked and not self.halting:
                        self.player.go_on()
                    elif self.root.parked and self._may_park() and await self._park():
                        return [{"position": place} for place in self.holds] or [{"position": "paused"}]
            task.result()
            return None
        except (LeaseLost, Unavailable):
            self.unloading = True  # put down as it is: what is under way is not cancelled, somebody goes on with it
            raise
        finally:
            if not task.done():
                self.unloading = self.unloading or self.settled
            self.closing = True
            await settle_down([task])
            self.closing = False

    async def _until_news(self) -> None:
        moments = [hold.due for hold in self.holds.values() if hold.due and not hold.future.done()]  # a step's time limit sees to itself
        if self.loaded.deadline_at and not self.ending:
            moments.append(self.loaded.deadline_at)
        timeout = self.seconds_until(min(moments)) if moments else None
        try:
            async with asyncio.timeout(timeout):
                await self.poked.wait()
        except TimeoutError:
            pass  # something is due
        self.poked.clear()

    async def _attend(self) -> None:
        """Takes in what came from outside and what the time has brought."""
        if self.news:
            self.news = False
            await self._read_news()
        self.check_end()
        now = self.now()
        for place, hold in list(self.holds.items()):
            if hold.due and hold.due <= now and not hold.future.done():
                if place in self.waits:
                    ended = await patiently(lambda place=place: waits.expire(self.tenant, self.run_id, place))
                    self._end(place, ended.state if ended else "expired", ended.payload if ended else None)
                else:
                    self._let_go(hold)

    def check_end(self) -> None:
        """Raises RunCancelled or RunTimedOut when the run is to end; not while it is being undone."""
        if self.ending:
            return
        if self.request == "cancel":
            raise RunCancelled
        if self.loaded.deadline_at and self.loaded.deadline_at <= self.now():
            raise RunTimedOut

    async def _read_news(self) -> None:
        awaited = [place for place, wait in self.waits.items() if wait.state == "open"]
        seen = await patiently(lambda: waits.attention(self.tenant, self.run_id, awaited))
        if seen is None:
            return
        self.signal, self.request, self.compensate = seen.signal, seen.request, seen.compensate
        for wait in seen.ended:
            self._end(wait["position"], wait["state"], wait["payload"])
        self.halting = seen.request == "pause" or self.engine.draining
        if not self.halting:
            for place, hold in list(self.holds.items()):
                if place.endswith("#gate"):
                    self._let_go(hold)

    def look(self) -> None:
        """Something changed that may matter for parking, where anything waits."""
        if self.holds:
            self.poked.set()

    def tell(self) -> None:
        """An answer, event or request for this run has come in."""
        self.news = True
        self.poked.set()

    def halt(self) -> None:
        """Starts no more steps, then hands the run back to the queue."""
        self.halting = True
        self.poked.set()

    # -- holding -----------------------------------------------------------------------------------------------------------------

    async def gate(self, position: str, step: Step) -> None:
        """Holds a step back that would begin while the run is being paused or handed back; not one that tidies up after a failure, for
        which everything else is waiting."""
        while self.halting and not (self.closing or step.within.cleaning):
            await self.hold(f"{position}#gate", None, step)

    async def hold(
        self, place: str, due: datetime | None, step: Step, *, passive: bool = False, beside: Mapping[str, datetime | None] | None = None
    ) -> None:
        """Holds a step until news or its time comes, as long as something else of the run is active; then the run is parked and this
        never returns. While it is held the step counts as waiting, and not a moment longer: a step that looks parked while it acts
        would let the run be put down under it. `beside`: other places whose news or time let it go as well."""
        places = {place: due, **(beside or {})}
        if not passive and (self.unloading or (self.closing and not step.within.cleaning)):
            await asyncio.get_running_loop().create_future()  # its cancellation is on the way, and nothing of it is to be recorded
        if not passive and step.within.cleaning:
            raise Failure("cancelled", "what tidies up after a cancellation cannot wait")
        step.waiting += not passive
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.holds.update((name, Hold(future, moment, step, passive)) for name, moment in places.items())
        self.poked.set()
        try:
            await future
        finally:
            if future.cancelled():
                step.waiting -= not passive
            if not self.unloading:
                for name in places:
                    self.holds.pop(name, None)

    def _end(self, place: str, state: str, payload: Json) -> None:
        known = self.waits[place]
        known.state, known.payload = state, payload
        if hold := self.holds.get(place):
            self._let_go(hold)

    def release(self, place: str) -> None:
        """What is held there goes on."""
        self._let_go(self.holds[place])

    def _let_go(self, hold: Hold) -> None:
        if not hold.future.done():
            if hold.passive:
                hold.step.acting += 1
            else:
                hold.step.waiting -= 1  # before the step runs on, so that it never looks parked meanwhile
            hold.future.set_result(None)

    # -- parking -----------------------------------------------------------------------------------------------------------------

    def _may_park(self) -> bool:
        """Not for a moment: what is due at once is waited for here."""
        return self.halting or not (moments := self._moments()) or self.seconds_until(min(moments)) > KEPT

    def _moments(self) -> list[datetime]:
        return [moment for moment in (*self.deadlines.values(), *(hold.due for hold in self.holds.values())) if moment]

    async def _park(self) -> bool:
        """Puts the run down, unless a signal came that has not been seen yet: then it must look again."""
        moments = self._moments()
        waiting_for = list(dict.fromkeys(_reason(place) for place, hold in self.holds.items() if not hold.passive))
        state, event = "waiting", cast("Happening", ("run.waiting", "Waiting for " + ", ".join(waiting_for[:5])))
        if self.request == "pause":
            state, event = "paused", cast("Happening", ("run.paused", "Paused"))
        elif any(place.endswith("#gate") for place in self.holds):
            state, event = "queued", cast("Happening", ("run.handed_back", "Handed back by a worker that shuts down"))
        self.outbox.tell(event, level="business" if state == "paused" else "technical")
        settle: dict[str, Any] = {"state": state, "signal": self.signal, "wake_now": state == "queued"}
        settle["wake_at"] = min(moments).isoformat() if moments and state == "waiting" else None
        settle["told_at"] = self.now().isoformat()
        self.outbox.entry.settle = settle
        self.settled = self.unloading = await self.outbox.park()
        if not self.settled:
            self.tell()
        return self.settled


def _reason(place: str) -> str:
    return place.split("#")[0].split("~")[0]
