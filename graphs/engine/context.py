"""What a running step may use: the Context of graphs/nodetype.py, on top of the drive of its run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine import approving, inner, offered, racing
from graphs.engine.compensation import undo_within, within
from graphs.engine.configs import DECIDED, REFUSED
from graphs.engine.patience import patiently
from graphs.engine.reach import Reach
from graphs.engine.record import StepFailed
from graphs.nodetype import BodyFailed, Failure, Resolution, Wait
from store import runs, waits

if TYPE_CHECKING:
    from graphs.engine.asking import OpenWait
    from graphs.engine.body import BodyRun

T = TypeVar("T")
NEVER_RETRIED = frozenset({"in_doubt", "loop_limit", "internal"})  # failures that another pass of a body cannot mend


class StepContext(Reach):
    """One per step."""

    @property
    def put_down(self) -> bool:
        return self._drive.unloading

    # -- values ------------------------------------------------------------------------------------------------------------------

    async def evaluate(self, expression: str, local: Mapping[str, Json] | None = None) -> Json:
        return await self._drive.evaluate(expression, {**self._step.within.scope, **(local or {})})

    async def script(self, code: str, values: Mapping[str, Json] | None = None) -> Json:
        return await self._drive.engine.evaluator.script(code, {**self._step.within.scope, **(values or {})})

    async def decide(self, name: str, expression: str) -> Json:
        known: dict[str, Json] = self._record.input or {}
        if DECIDED + name not in known:
            value = await self.evaluate(expression)
            if not self._step.plan.compound:
                return value
            self.keep(name, value)
            return value
        return known[DECIDED + name]

    def known(self, name: str) -> Json:
        kept: dict[str, Json] = (self._step.record and self._step.record.input) or {}
        return kept.get(DECIDED + name)

    def keep(self, name: str, value: Json) -> None:
        record = self._record
        record.input = {**(record.input or {}), DECIDED + name: value}
        self._step.note(record, ("step.decided", f"{self.node_id}: {name} is {value!r:.80}"))

    async def permit(self, key: str, node: Mapping[str, Json]) -> None:
        known = self.known(REFUSED + key)
        if is_object(known):
            raise Failure(str(known["code"]), str(known["message"]))
        if self._drive.player:  # what is not refused in the recording, was permitted
            return
        try:
            await super().permit(key, node)
        except Failure as refused:
            self.keep(REFUSED + key, {"code": refused.code, "message": refused.message})
            raise

    # -- bodies ------------------------------------------------------------------------------------------------------------------

    def prefix(self, index: int | None) -> str:
        return f"{self.position}[{index}]/" if index is not None else f"{self.position}/"

    def begun(self, key: str, *, index: int | None = None) -> bool:
        return self._drive.begun(self.prefix(index), self._step.plan.bodies[key])

    async def body(self, key: str, *, index: int | None = None, local: Mapping[str, Json] | None = None) -> Json:
        self._step.bodies = {body for body in self._step.bodies if not body.failing}  # their failures have been seen to
        while True:
            inner = self.enter(key, index=index, local=local)
            try:
                await inner.run()
            except StepFailed as failed:
                if await self.again(key, index, failed, inner):
                    continue
                raise BodyFailed(failed.error) from failed  # it stays among the bodies: not parked until its failure has arrived
            self._step.bodies.discard(inner)
            self._drive.look()  # what is left may be waiting only
            return inner.output

    def enter(self, key: str, *, index: int | None = None, local: Mapping[str, Json] | None = None) -> BodyRun:
        from graphs.engine.body import BodyRun

        inner = BodyRun(self._drive, self._step.plan.bodies[key], self.prefix(index), self._step.within.scope, local)
        current = asyncio.current_task()
        inner.cleaning = self._step.within.cleaning or (current is not None and current.cancelling() > 0)
        self._step.bodies.add(inner)
        self._drive.look()
        return inner

    async def again(self, key: str, index: int | None, failed: StepFailed, inner: BodyRun) -> bool:
        """Retries a body by the node's policy: what failed in it goes on, what succeeded stays, and its siblings hear nothing of it."""
        policy = self._step.plan.retry
        name = f"retries:{self.prefix(index).removeprefix(self.position)}{key}"
        name += f"~{self._record.series}" if self._record.series > 1 else ""  # a retry by hand begins a new series
        tried = (self.known(name) or 0) + 1
        if policy is None or tried >= policy.max_attempts or failed.error.get("code") in NEVER_RETRIED:
            return False
        self.keep(name, tried)
        due = self._drive.now() + timedelta(seconds=self._step.delay(tried))
        self._drive.reopen(lambda place: within(place, self.prefix(index), inner.plan), due)
        message = f"{self.position}: {failed.error['message'][:300]}; attempt {tried + 1} of {policy.max_attempts}"
        self._drive.outbox.tell(("step.retrying", message), position=self.position)
        await self._drive.outbox.send()
        self._step.bodies.discard(inner)
        await self._step.until(due, f"{self.position}#{name}")  # a place for each body
        return True

    async def first(self, keys: Sequence[str]) -> tuple[str, Json]:
        return await racing.first(self._step, keys)

    async def undo(self, key: str, *, index: int | None = None) -> None:
        await undo_within(self._step, self.prefix(index), self._step.plan.bodies[key])

    # -- steps of its own --------------------------------------------------------------------------------------------------------

    async def step(
        self,
        key: str,
        node: Mapping[str, Json],
        *,
        local: Mapping[str, Json] | None = None,
        recorded: Mapping[str, Json] | None = None,
        approval: str | None = None,
        limits: Sequence[Mapping[str, Json]] = (),
    ) -> Json:
        if approval is not None:
            approving.insist(self._step, approval, key, node)
        return await inner.run(self._step, key, node, local=local, recorded=recorded, limits=limits)

    async def profile(self, name: str) -> dict[str, Json]:
        return await offered.profile(self._drive, name)

    async def offered(self, kind: str, given: Mapping[str, Json]) -> list[dict[str, Json]]:
        return await offered.tools(self._drive, kind, given)

    async def approve(self, key: str, call: str, node: Mapping[str, Json], ask: Mapping[str, Json]) -> Json:
        return await approving.ask(self._step, key, call, node, ask)

    async def together(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        return await inner.together(self._step, work)

    # -- waiting and telling -----------------------------------------------------------------------------------------------------

    async def wait(self, wait: Wait, *, key: str = "") -> Resolution:
        return await self.wait_at(self._place(key), wait)

    async def open(self, wait: Wait, *, key: str = "") -> None:
        if self._place(key) not in self._drive.waits:
            await self._drive.begin_wait(self._step, self._place(key), wait)
            self._record.state = "running"

    async def first_wait(self, waits: Mapping[str, Wait]) -> tuple[str, Resolution]:
        places = {self._place(key): key for key in waits}
        for key, wait in waits.items():
            await self.open(wait, key=key)
        while (ended := self._ended(places)) is None:
            for place, key in places.items():
                if waits[key].kind == "event" and self._drive.waits[place].state == "open":
                    await self._drive.look_back(self._drive.waits[place])
            if self._ended(places) is None:
                first, *others = [self._drive.waits[place] for place in places]
                self._record.state = "waiting"
                await self._drive.hold(first.position, first.due_at, self._step, beside={one.position: one.due_at for one in others})
                self._record.state = "running"
        if ended.state == "cancelled":
            raise Failure("wait_cancelled", "the wait was cancelled")
        key = places[ended.position]
        good = ended.state == "resolved" or waits[key].kind == "timer"
        return key, Resolution(state="resolved" if good else "expired", payload=ended.payload)

    def _ended(self, places: Iterable[str]) -> OpenWait | None:
        return next((known for place in places if (known := self._drive.waits[place]).state != "open"), None)

    def withdraw(self) -> None:
        if self._drive.unloading:
            return
        own = self._place("")
        for place in list(self._drive.waits):
            if place == own or place.startswith(f"{own}#"):
                self._drive.drop_wait(place)

    async def wait_at(self, place: str, wait: Wait) -> Resolution:
        if self._drive.player:
            return await self._drive.player.wait(self._step, place, wait)
        if self._step.plan.inner and self._step.plan.inner.digest:
            wait = replace(wait, correlation=self._step.plan.inner.digest)
        try:
            known = await self._waited(place, wait)
        except asyncio.CancelledError:  # the step waits no longer, so what it asked for is withdrawn
            if not self._drive.unloading:
                self._drive.drop_wait(place)
            raise
        if self._record.state == "waiting":
            self._record.state = "running"
        if known.state == "cancelled":
            raise Failure("wait_cancelled", "the wait was cancelled")
        return Resolution(state="resolved" if known.state == "resolved" or wait.kind == "timer" else "expired", payload=known.payload)

    async def _waited(self, place: str, wait: Wait) -> OpenWait:
        known = self._drive.waits.get(place)
        if known is None:
            known = await self._drive.begin_wait(self._step, place, wait)
        if known.state == "open" and wait.kind == "event":
            known = await self._drive.look_back(known)
        if known.state == "open":
            await self._drive.hold(place, known.due_at, self._step)
            known = self._drive.waits[place]
        return known

    async def emit(self, name: str, *, correlation: str | None, payload: Json) -> None:
        if self._drive.player:
            return
        tenant, key = self._drive.tenant, f"step:{self.idempotency_key}"
        payload = self._drive.redactor.clean(payload)
        received = await patiently(lambda: waits.receive(tenant, name=name, correlation=correlation, payload=payload, idempotency_key=key))
        for run_id in received.woken if received else []:
            await patiently(lambda run_id=run_id: runs.notify(tenant, run_id))
            self._drive.engine.look(tenant.org_id, run_id)
