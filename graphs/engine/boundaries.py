"""Boundaries of a step: timers and events that may fire while it is under way, and what that does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from graphs.definition import Boundary, Json, seconds
from graphs.engine.edges import boundary_edges
from graphs.nodetype import Wait
from graphs.quiet import settle_down

if TYPE_CHECKING:
    from graphs.engine.record import Record
    from graphs.engine.step import Step


class Interrupted(Exception):
    """A boundary has cancelled the step it belongs to."""

    def __init__(self, boundary: Boundary) -> None:
        super().__init__(boundary.name)
        self.boundary = boundary


class Watch:
    """Watches over one attempt of a step. Which boundaries have fired without interrupting is kept with the step."""

    def __init__(self, step: Step, record: Record) -> None:
        self._step, self._record = step, record
        self._boundaries = [one for one in step.plan.node.boundary if one.error is None]

    async def over(self, call: Coroutine[Any, Any, Json]) -> Json:
        """The value of the call. Raises Interrupted when a boundary came first."""
        fired: dict[str, list[int]] = self._step.context.known("boundary") or {}
        main = asyncio.create_task(call)
        watchers = {asyncio.create_task(self._until(one)): one for one in self._boundaries if one.name not in fired}
        try:
            while True:
                await asyncio.wait([main, *watchers], return_when=asyncio.FIRST_COMPLETED)
                if main.done():  # what fired in the same moment without interrupting counts beside it
                    for task in [task for task, one in watchers.items() if task.done() and not one.interrupting]:
                        await self._fire(watchers.pop(task))
                    return main.result()
                for task in [task for task in watchers if task.done()]:
                    boundary = watchers.pop(task)
                    task.result()
                    if boundary.interrupting:
                        raise Interrupted(boundary)
                    await self._fire(boundary)
                    self._step.acting -= 1
        finally:
            await settle_down([main, *watchers])
            self._step.acting = 0  # what has fired in the same moment is not seen to any more
            self._withdraw()

    async def _until(self, boundary: Boundary) -> None:
        step = self._step
        place = self._place(boundary)
        if step.drive.player:
            await step.drive.player.boundary(step, boundary, place)
            return
        if boundary.timer is not None:
            await step.drive.hold(place, self._record.started_at + timedelta(seconds=seconds(boundary.timer)), step, passive=True)
            return
        known = step.drive.waits.get(place)
        if known is None:
            template = step.plan.correlations.get(boundary.name)
            correlation = None if template is None else str(await step.drive.render(template, step.within.scope))
            wait = Wait(kind="event", event_name=boundary.event, correlation=correlation)
            known = await step.drive.begin_boundary(step, place, wait)
            known = await step.drive.look_back(known, self._record.started_at)
        if known.state == "open":
            await step.drive.hold(place, None, step, passive=True)
        else:
            step.acting += 1

    async def _fire(self, boundary: Boundary) -> None:
        """The step goes on; beside it the boundary's edges lead on. Recorded first, so that a crash repeats neither."""
        step = self._step
        edges = await boundary_edges(step, boundary)
        step.context.keep("boundary", {**(step.context.known("boundary") or {}), boundary.name: edges})
        step.drive.outbox.tell(("boundary.fired", f"{step.plan.id}: the boundary {boundary.name!r} fired"), position=step.position)
        await step.drive.outbox.send()
        _lead_on(step, edges)

    def _withdraw(self) -> None:
        if not self._step.drive.unloading:
            for boundary in self._boundaries:
                self._step.drive.drop_wait(self._place(boundary))

    def _place(self, boundary: Boundary) -> str:
        attempt = f"~{self._record.attempt}" if self._record.attempt > 1 else ""
        return f"{self._step.position}{attempt}#boundary:{boundary.name}"


def lead_on_again(step: Step) -> None:
    """What boundaries had led to before a crash goes on, whatever becomes of the step itself."""
    fired: dict[str, list[int]] = step.context.known("boundary") or {}
    for edges in fired.values():
        _lead_on(step, edges)


def _lead_on(step: Step, edges: list[int]) -> None:
    step.fired += edges
    step.within.follow_early(step.plan, edges)
    step.drive.look()
