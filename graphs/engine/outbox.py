"""The outbox of a run: gathers what its next entry in the journal says, and sends it, in order; no opened secret passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from graphs.definition import Json
from graphs.engine.events import Happening
from graphs.engine.record import Record, row_of
from graphs.redaction import Redactor
from store.errors import LeaseLost, Unavailable
from store.journal import Entry, Journal
from store.runs import Claimed

RECORDED = ("node_runs", "events", "waits", "tasks", "children", "ending", "settle")


class Outbox:
    """`on_lost` is called when the journal fails us: then the run is no longer ours to change."""

    def __init__(self, journal: Journal, claimed: Claimed, redactor: Redactor | None = None, *, on_lost: Callable[[], None]) -> None:
        self._journal, self._claimed, self._on_lost = journal, claimed, on_lost
        self._redactor = Redactor() if redactor is None else redactor
        self.entry = self._new()
        self.seq = 0
        self.touched: list[str] = []  # positions recorded since somebody took this list
        self._held: list[asyncio.Future[bool]] | None = None  # while parking: transitions that came meanwhile
        self._then: list[Callable[[], None]] = []

    def record(self, position: str, record: Record, *, finished_at: datetime | None = None, vars: Json = None) -> None:
        """Puts a step's row into the next entry."""
        self.seq += 1
        record.seq = self.seq
        self.touched.append(position)
        self.entry.node_runs.append(row_of(position, record, finished_at=finished_at, vars=vars))

    def tell(self, event: Happening, *, position: str | None = None, level: str = "technical", data: Json = None) -> None:
        """Puts an event into the next entry."""
        type, message = event
        self.entry.events.append({"type": type, "message": message, "position": position, "level": level, "data": data})

    def send(self) -> asyncio.Future[bool]:
        """Sends the entry. Await the future to know it durable; it raises LeaseLost when another worker drives this run by now."""
        if self._held is not None:  # it must be known first whether the run is still ours
            self._held.append(asyncio.get_running_loop().create_future())
            return self._held[-1]
        entry, self.entry = self._cleaned(self.entry), self._new()
        then, self._then = self._then, []
        future = self._journal.submit(entry)
        future.add_done_callback(lambda done: self._written(done, then))
        return future

    def then(self, act: Callable[[], None]) -> None:
        """Does something as soon as the next entry is durable, and not at all when it never is."""
        self._then.append(act)

    async def park(self) -> bool:
        """Sends an entry that puts the run down; False when news came first and the run stays. Transitions made meanwhile are held back:
        they go on if the run is still ours, and are void if it is not."""
        parked = self.send()
        self._held = []
        gone = False
        try:
            gone = await parked
        finally:
            held, self._held = self._held or [], None
            self._release(held, gone)
        return gone

    def _release(self, held: list[asyncio.Future[bool]], gone: bool) -> None:
        if gone:
            for future in held:
                if not future.done():  # its step may have been cancelled meanwhile
                    future.set_exception(LeaseLost())
                    future.exception()
        elif held:
            self.send().add_done_callback(lambda done: [_pass_on(done, future) for future in held])

    def _written(self, future: asyncio.Future[bool], then: list[Callable[[], None]]) -> None:
        if future.cancelled():  # who waited for it has gone: whether it is durable, the next entry tells
            self._then = then + self._then
        elif error := future.exception():
            if isinstance(error, LeaseLost | Unavailable):
                self._on_lost()
        else:
            for act in then:
                act()

    def _cleaned(self, entry: Entry) -> Entry:
        """Everything that the run records passes here: what its steps have opened is blotted out of it."""
        for part in RECORDED if self._redactor.holds else ():
            setattr(entry, part, self._redactor.clean(getattr(entry, part)))
        return entry

    def _new(self) -> Entry:
        return Entry(org_id=self._claimed.org_id, run_id=self._claimed.id, fence=self._claimed.fence)


def _pass_on(done: asyncio.Future[bool], waiting: asyncio.Future[bool]) -> None:
    if waiting.done():
        return
    if error := done.exception():
        waiting.set_exception(error)
        waiting.exception()
    else:
        waiting.set_result(done.result())
