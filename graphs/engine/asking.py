"""What a run being driven asks for and waits for: timers, events, people and child runs, as rows and as its driver knows them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from graphs.definition import Json
from graphs.engine import children
from graphs.engine.events import EventType
from graphs.engine.outbox import Outbox
from graphs.engine.patience import patiently
from graphs.engine.step import Step
from graphs.nodetype import Wait
from store import waits
from store.ids import new_id
from store.postgres import Tenant
from store.runs import Claimed

if TYPE_CHECKING:
    from graphs.engine.dispatch import Engine


@dataclass(slots=True, kw_only=True)
class OpenWait:
    """A wait as its driver knows it."""

    position: str
    state: str
    due_at: datetime | None
    lasting: bool  # due_at ends a length of time; False: an instant that somebody named
    payload: Json = None
    event_name: str | None = None
    correlation: str | None = None


class Asking:
    """What Waiting is built on."""

    engine: Engine
    tenant: Tenant
    claimed: Claimed
    run_id: str
    outbox: Outbox

    def __init__(self, claimed: Claimed) -> None:
        self.waits: dict[str, OpenWait] = {}
        self.clock = (claimed.now, asyncio.get_running_loop().time())

    def now(self) -> datetime:
        """The database's time: what it said at the claim, plus what has passed since."""
        stamp, mark = self.clock
        return stamp + timedelta(seconds=asyncio.get_running_loop().time() - mark)

    async def begin_wait(self, step: Step, place: str, wait: Wait) -> OpenWait:
        """Records a wait, its task or child run, and the step as waiting, in one transition."""
        due = datetime.fromisoformat(wait.due_at) if wait.due_at else None
        if due is None and wait.due_in is not None:
            due = self.now() + timedelta(seconds=wait.due_in)
        child = await children.new_child(step, wait.child, place) if wait.child else None  # before the entry is touched
        known = self._new_wait(place, wait, due)
        entry, message = self.outbox.entry, f"{step.plan.id} waits" + (f" until {due:%Y-%m-%d %H:%M:%S} UTC" if due else "")
        if child and wait.child:
            entry.children.append(child)
            message = f"{step.plan.id} started {wait.child.workflow}"
        if wait.task:
            entry.tasks.append({**_task_row(place, wait, due.isoformat() if due else None), "told_at": self._told(wait)})
            message = _cut(wait.task.title, 300)
        if step.record and step.record.state != "ambiguous":
            step.record.state = "waiting"
            self.outbox.record(step.position, step.record)
        kinds: dict[str, EventType] = {"task": "task.created", "child": "child.started"}
        self.outbox.tell((kinds.get(wait.kind, "step.waiting"), message), position=place, level="business")
        await self.outbox.send()
        if wait.child:
            self.engine.wake()
        return known

    def _told(self, wait: Wait) -> str | None:
        """What counts as now for a wait whose length is given; None for one until an instant."""
        return self.now().isoformat() if wait.due_at is None else None

    async def begin_boundary(self, step: Step, place: str, wait: Wait) -> OpenWait:
        """Records what a boundary waits for; its step goes on."""
        known = self._new_wait(place, wait, None)
        await self.outbox.send()
        return known

    def _new_wait(self, place: str, wait: Wait, due: datetime | None) -> OpenWait:
        known = OpenWait(
            position=place, state="open", due_at=due, lasting=wait.due_at is None, event_name=wait.event_name, correlation=wait.correlation
        )
        row: dict[str, Any] = {
            "position": place,
            "kind": wait.kind,
            "due_at": due.isoformat() if due else None,
            "told_at": self._told(wait),
        }
        row.update(event_name=wait.event_name, correlation=wait.correlation)
        self.outbox.entry.waits.append(row)
        self.waits[place] = known  # before the commit: an answer may come the moment after
        return known

    async def look_back(self, known: OpenWait, since: datetime | None = None) -> OpenWait:
        """An event may have come a moment before the wait was recorded: since the run began, or the moment given."""
        name, correlation = known.event_name or "", known.correlation
        ended = await patiently(
            lambda: waits.missed(self.tenant, self.run_id, known.position, name=name, correlation=correlation, since=since)
        )
        if ended:
            known.state, known.payload = ended.state, ended.payload
        return known

    def drop_wait(self, place: str) -> None:
        """Nobody waits for this any longer; its task or child run is withdrawn once it is recorded why. A run that is put down or lost in
        this very moment still waits for it."""
        if place in self.waits and self.waits[place].state == "open":
            self.waits[place].state = "cancelled"
            self.outbox.then(lambda: self._withdraw(place))

    def _withdraw(self, place: str) -> None:
        self.engine.background(patiently(lambda: waits.drop(self.tenant, self.run_id, self.claimed.fence, [place])))
        self.engine.wake()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _task_row(place: str, wait: Wait, due_at: str | None) -> dict[str, Any]:
    task = wait.task
    assert task is not None  # noqa: S101 the caller has looked
    return {
        "id": new_id(),
        "position": place,
        "kind": task.kind,
        "title": _cut(task.title, 300),
        "description": _cut(task.description, 10_000),
        "form": task.form,
        "assign_to": task.assign_to,
        "priority": task.priority,
        "due_at": due_at,
    }
