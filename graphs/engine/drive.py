"""A run being driven: its journal, its waits, and when to put it down."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from graphs.definition import Json, Schema
from graphs.engine import children
from graphs.engine.body import BodyRun
from graphs.engine.plan import NodePlan, Plan
from graphs.engine.record import Record, RunCancelled, RunFailed, RunTimedOut, restored
from graphs.engine.step import MAX_OUTPUT, Step
from graphs.expressions import Template
from graphs.nodetype import Effect, Wait
from graphs.samples import sample
from store import jsontext, node_runs, waits
from store.errors import LeaseLost, Unavailable
from store.ids import new_id
from store.journal import Entry
from store.node_runs import NodeRun
from store.postgres import Tenant
from store.runs import Claimed, Loaded

if TYPE_CHECKING:
    from graphs.engine.dispatch import Engine

KEPT = 0.5  # seconds that a run waits in the process rather than as rows
Happening = tuple[str, str]  # type and message of an event


@dataclass(slots=True, kw_only=True)
class OpenWait:
    """A wait as its driver knows it."""

    position: str
    state: str
    due_at: datetime | None
    payload: Json = None
    event_name: str | None = None
    correlation: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A step held in the process until its future is set, its time comes, or the run is parked."""

    future: asyncio.Future[None]
    due: datetime | None
    step: Step


@dataclass(frozen=True, slots=True)
class Simulated:
    value: Json


class Drive:
    """Drives one claimed run. All it writes goes through the journal under its fence."""

    def __init__(self, engine: Engine, tenant: Tenant, claimed: Claimed, loaded: Loaded, plan: Plan) -> None:
        self.engine, self.tenant, self.claimed, self.loaded, self.plan = engine, tenant, claimed, loaded, plan
        self.run_id = claimed.id
        self.mode: Literal["production", "test"] = "test" if loaded.mode == "test" else "production"
        self.records: dict[str, Record] = {}
        self.waits: dict[str, OpenWait] = {}
        self.holds: dict[str, Hold] = {}
        self.deadlines: list[datetime] = []
        self.vars: dict[str, Json] = {}
        self.poked = asyncio.Event()
        self.signal = claimed.signal
        self.request = loaded.request
        self.news = False  # somebody signalled; look at the database
        self.halting = False  # start no more steps
        self.unloading = False
        self.settled = False
        self._doubtful: set[str] = set()
        self._buffer = self._entry()
        self._parking: list[asyncio.Future[bool]] | None = None  # while parking: transitions that came meanwhile
        self._seq = 0
        self._steps = 0
        self._clock = (claimed.now, asyncio.get_running_loop().time())

    async def restore(self) -> None:
        """Reads what earlier drives left. A run that was never driven has nothing to read."""
        if self.claimed.fence > 1:
            for row in await node_runs.latest(self.tenant, self.run_id):
                self._restore(row)
            for wait in await waits.of_run(self.tenant, self.run_id):
                self.waits[wait.position] = OpenWait(
                    position=wait.position,
                    state=wait.state,
                    due_at=wait.due_at,
                    payload=wait.payload,
                    event_name=wait.event_name,
                    correlation=wait.correlation,
                )
        else:
            self._buffer.events.append(_event("run.started", f"{self.loaded.name} started", level="business"))
        self.root = BodyRun(self, self.plan.body, "", await self._root_scope())
        self.halting = self.request == "pause"
        self._check_end()

    def _restore(self, row: NodeRun) -> None:
        self.records[row.position] = restored(row)
        self._seq = max(self._seq, row.seq)
        self._steps += row.attempt if row.state != "skipped" else 0
        if row.vars:
            self.vars.update(row.vars)
        if row.state == "running":
            self._doubtful.add(row.position)

    async def _root_scope(self) -> dict[str, Json]:
        declared: Schema = self.plan.definition.input.get("properties") or {}
        given: Json = self.loaded.input
        run = {
            "id": self.run_id,
            "workflow": self.loaded.name,
            "version": self.loaded.version,
            "mode": self.mode,
            "started_at": self.loaded.started_at.isoformat() if self.loaded.started_at else None,
        }
        scope: dict[str, Json] = {
            "input": {**dict.fromkeys(declared), **given} if isinstance(given, dict) else given,
            "nodes": {},
            "errors": {},
            "vars": {},
            "run": run,
            "env": dict(self.engine.variables),
        }
        first = await self.render(self.plan.variables, scope)
        self.vars = scope["vars"] = {**first, **self.vars}
        return scope

    # -- LangGraph's side --------------------------------------------------------------------------------------------------------

    async def advance(self, allowed: frozenset[str]) -> list[dict[str, Any]] | None:
        """Runs the top-level steps `allowed`; None when all are resolved, the open waits when the run was parked."""
        task = asyncio.create_task(self.root.run(allowed))
        task.add_done_callback(lambda _: self.poked.set())
        try:
            while not task.done():
                await self._until_news()
                if not task.done():
                    await self._attend()
                    if self.root.parked and self._may_park() and await self._park():
                        return [{"position": place} for place in self.holds] or [{"position": "paused"}]
            task.result()
            return None
        finally:
            if not task.done():
                self.unloading = self.unloading or self.settled
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    def checkpoint(self, row: dict[str, Any]) -> None:
        """Takes a checkpoint into the next journal entry."""
        if not self.settled:
            self._buffer.checkpoints.append(row)

    # -- the journal -------------------------------------------------------------------------------------------------------------

    def note(self, row: dict[str, Any], *, event: Happening) -> None:
        """Keeps a row for the next entry: it must be there before what follows, but nobody waits for it."""
        self._buffer.node_runs.append(row)
        self._buffer.events.append(_event(*event, position=row["position"]))

    def submit(
        self, row: dict[str, Any] | None, *, event: Happening, position: str | None = None, data: Json = None
    ) -> asyncio.Future[bool]:
        """Sends a transition to the journal. Await the future to know it durable."""
        if row:
            self._buffer.node_runs.append(row)
        level = "business" if event[0] == "step.progress" else "technical"
        self._buffer.events.append(_event(*event, position=position or (row or {}).get("position"), data=data, level=level))
        return self._flush()

    async def write(self, row: dict[str, Any], *, event: Happening | None = None) -> None:
        """Records a transition durably. Raises LeaseLost when another worker drives this run by now."""
        self._buffer.node_runs.append(row)
        if event:
            self._buffer.events.append(_event(*event, position=row["position"]))
        await self._flush()

    async def settle(self, state: str, *, output: Json = None, error: Json = None, event: Happening) -> None:
        """Ends the run, durably, and gives up the lease."""
        if state == "succeeded" and (size := len(jsontext.text(output))) > MAX_OUTPUT:
            state, output, event = "failed", None, ("run.failed", "The output is too large")
            error = {"code": "output_too_large", "message": f"the output is {size:,} characters of JSON; at most {MAX_OUTPUT:,} are kept"}
        self._buffer.events.append(_event(*event, level="business", data=error))
        self._buffer.settle = {"state": state, "output": output, "error": error}
        await self._flush()
        self.settled = True

    def _flush(self) -> asyncio.Future[bool]:
        if self._parking is not None:  # it must be known first whether the run is still ours
            self._parking.append(asyncio.get_running_loop().create_future())
            return self._parking[-1]
        entry, self._buffer = self._buffer, self._entry()
        future = self.engine.journal.submit(entry)
        future.add_done_callback(self._written)
        return future

    def _written(self, future: asyncio.Future[bool]) -> None:
        """When the journal fails us, the run is no longer ours to change: what is under way is put down as it is, and nothing recorded."""
        if not future.cancelled() and isinstance(future.exception(), LeaseLost | Unavailable):
            self.unloading = True

    def _entry(self) -> Entry:
        return Entry(org_id=self.claimed.org_id, run_id=self.claimed.id, fence=self.claimed.fence)

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def count_step(self) -> None:
        self._steps += 1
        if self._steps > self.plan.definition.settings.max_steps:
            limit = self.plan.definition.settings.max_steps
            raise RunFailed("max_steps", f"the run has made more than {limit:,} steps (settings.max_steps)")

    def skip(self, position: str, node: NodePlan) -> None:
        """Notes that a node was not reached."""
        if position in self.records:
            return
        now = self.now()
        self.records[position] = Record(attempt=1, state="skipped", started_at=now, taken=[])
        row: dict[str, Any] = dict.fromkeys(("input", "output", "error", "vars", "retry_at"))
        row.update(position=position, attempt=1, node_id=node.id, node_type=node.kind.name, state="skipped", seq=self.next_seq(), taken=[])
        row.update(started_at=now.isoformat(), finished_at=now.isoformat())
        self._buffer.node_runs.append(row)

    def assign(self, values: Mapping[str, Json]) -> None:
        self.vars.update(values)

    def interrupted(self, position: str) -> bool:
        """Whether a call at this position was under way when an earlier driver of the run died."""
        return position in self._doubtful and self.records[position].state == "running"

    # -- values ------------------------------------------------------------------------------------------------------------------

    async def render(self, template: Template, scope: Mapping[str, Json]) -> Json:
        if template.constant:
            return template.value
        return template.resolve(scope) if template.plain else await self.engine.evaluator.render(template, scope)

    async def evaluate(self, expression: str, scope: Mapping[str, Json]) -> Json:
        return await self.engine.evaluator.evaluate(expression, scope)

    def simulate(self, node: NodePlan, config: Any) -> Simulated | None:
        """In a test run: the mock, the pin, or a sample of the output schema, instead of an effect or a wait."""
        if self.mode != "test":
            return None
        mocks: dict[str, Json] = self.loaded.mocks or {}
        if node.id in mocks:
            return Simulated(mocks[node.id])
        if "pin" in node.node.model_fields_set:
            return Simulated(node.node.pin)
        if node.kind.waits or node.kind.effect(config) is not Effect.PURE:
            return Simulated(sample(node.kind.output(config)))
        return None

    # -- time --------------------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The database's time: what it said at the claim, plus what has passed since."""
        stamp, mark = self._clock
        return stamp + timedelta(seconds=asyncio.get_running_loop().time() - mark)

    def seconds_until(self, moment: datetime) -> float:
        return max((moment - self.now()).total_seconds(), 0.0)

    @contextmanager
    def deadline(self, moment: datetime | None) -> Generator[None]:
        """While inside, a parked run is woken at `moment`."""
        if moment is None:
            yield
            return
        self.deadlines.append(moment)
        try:
            yield
        finally:
            self.deadlines.remove(moment)

    # -- waiting -----------------------------------------------------------------------------------------------------------------

    async def gate(self, position: str, step: Step) -> None:
        """Holds a step back that would begin while the run is being paused or handed back."""
        while self.halting:
            await self.hold(f"{position}#gate", None, step)

    async def begin_wait(self, step: Step, place: str, wait: Wait) -> OpenWait:
        """Records a wait, its task or child run, and the step as waiting, in one transition."""
        due = datetime.fromisoformat(wait.due_at) if wait.due_at else None
        if due is None and wait.due_in is not None:
            due = self.now() + timedelta(seconds=wait.due_in)
        known = OpenWait(position=place, state="open", due_at=due, event_name=wait.event_name, correlation=wait.correlation)
        row: dict[str, Any] = {"position": place, "kind": wait.kind, "due_at": due.isoformat() if due else None}
        row.update(event_name=wait.event_name, correlation=wait.correlation)
        message = f"{step.node_id} waits" + (f" until {due:%Y-%m-%d %H:%M:%S} UTC" if due else "")
        if wait.child:
            child = await children.new_child(self, wait.child, place)  # before the buffer is touched: it is another one after an await
            self._buffer.children.append(child)
            message = f"{step.node_id} started {wait.child.workflow}"
        if wait.task:
            self._buffer.tasks.append(_task_row(place, wait, row["due_at"]))
            message = _cut(wait.task.title, 300)
        self._buffer.waits.append(row)
        kind = {"task": "task.created", "child": "child.started"}.get(wait.kind, "step.waiting")
        self._buffer.node_runs.append(step.waiting_row())
        self._buffer.events.append(_event(kind, message, position=place, level="business"))
        self.waits[place] = known  # before the commit: an answer may come the moment after
        await self._flush()
        if wait.child:
            self.engine.wake()
        return known

    async def look_back(self, known: OpenWait) -> OpenWait:
        """An event may have come a moment before the wait was recorded."""
        ended = await waits.missed(self.tenant, self.run_id, known.position, name=known.event_name or "", correlation=known.correlation)
        if ended:
            known.state, known.payload = ended.state, ended.payload
        return known

    async def hold(self, place: str, due: datetime | None, step: Step) -> None:
        """Holds a step until news or its time comes, as long as something else of the run is active; then the run is parked and this
        never returns. While it is held the step counts as waiting, and not a moment longer: a step that looks parked while it acts
        would let the run be put down under it."""
        step.waiting += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.holds[place] = Hold(future, due, step)
        self.poked.set()
        try:
            await future
        finally:
            if future.cancelled():
                step.waiting -= 1
            if not self.unloading:
                self.holds.pop(place, None)

    def drop_wait(self, place: str) -> None:
        """A cancelled step waits no longer; its task is withdrawn."""
        if place in self.waits:
            self.waits[place].state = "cancelled"
            self.engine.background(waits.drop(self.tenant, self.run_id, self.claimed.fence, [place]))
            self.engine.wake()

    def look(self) -> None:
        """Something changed that may matter for parking."""
        self.poked.set()

    def tell(self) -> None:
        """An answer, event or request for this run has come in."""
        self.news = True
        self.poked.set()

    def halt(self) -> None:
        """Starts no more steps, then hands the run back to the queue."""
        self.halting = True
        self.poked.set()

    async def _until_news(self) -> None:
        moments = [*self._moments(), *([self.loaded.deadline_at] if self.loaded.deadline_at else [])]
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
        self._check_end()
        now = self.now()
        for place, hold in list(self.holds.items()):
            if hold.due and hold.due <= now and not hold.future.done():
                if place in self.waits:
                    ended = await waits.expire(self.tenant, self.run_id, place)
                    self._end(place, ended.state if ended else "expired", ended.payload if ended else None)
                else:
                    self._let_go(hold)

    def _check_end(self) -> None:
        if self.request == "cancel":
            raise RunCancelled
        if self.loaded.deadline_at and self.loaded.deadline_at <= self.now():
            raise RunTimedOut

    async def _read_news(self) -> None:
        awaited = [place for place, wait in self.waits.items() if wait.state == "open"]
        seen = await waits.attention(self.tenant, self.run_id, awaited)
        if seen is None:
            return
        self.signal, self.request = seen.signal, seen.request
        for wait in seen.ended:
            self._end(wait["position"], wait["state"], wait["payload"])
        self.halting = seen.request == "pause" or self.engine.draining
        if not self.halting:
            for place, hold in list(self.holds.items()):
                if place.endswith("#gate"):
                    self._let_go(hold)

    def _end(self, place: str, state: str, payload: Json) -> None:
        known = self.waits[place]
        known.state, known.payload = state, payload
        if hold := self.holds.get(place):
            self._let_go(hold)

    def _let_go(self, hold: Hold) -> None:
        if not hold.future.done():
            hold.step.waiting -= 1  # before the step runs on, so that it never looks parked meanwhile
            hold.future.set_result(None)

    def _may_park(self) -> bool:
        """Not for a moment: what is due at once is waited for here."""
        return self.halting or not (moments := self._moments()) or self.seconds_until(min(moments)) > KEPT

    def _moments(self) -> list[datetime]:
        return [moment for moment in (*self.deadlines, *(hold.due for hold in self.holds.values())) if moment]

    async def _park(self) -> bool:
        """Puts the run down, unless a signal came that has not been seen yet: then it must look again."""
        moments = self._moments()
        gated = any(place.endswith("#gate") for place in self.holds)
        state, event = "waiting", ("run.waiting", "Waiting for " + ", ".join(_reason(place) for place in list(self.holds)[:5]))
        if self.request == "pause":
            state, event = "paused", ("run.paused", "Paused")
        elif gated:
            state, event = "queued", ("run.handed_back", "Handed back by a worker that shuts down")
        self._buffer.events.append(_event(*event, level="business" if state == "paused" else "technical"))
        self._buffer.settle = {"state": state, "signal": self.signal, "wake_now": state == "queued"}
        self._buffer.settle["wake_at"] = min(moments).isoformat() if moments and state == "waiting" else None
        parked = self._flush()
        self._parking = []
        try:
            self.settled = self.unloading = await parked
        finally:
            held, self._parking = self._parking, None
            self._release_held(held)
        if not self.settled:
            self.tell()
        return self.settled

    def _release_held(self, held: list[asyncio.Future[bool]]) -> None:
        """Transitions that came while parking go on if the run is still ours, and are void if it is not."""
        if self.settled:
            for future in held:
                future.set_exception(LeaseLost())
                future.exception()
        elif held:
            sent = self._flush()
            sent.add_done_callback(lambda done: [_pass_on(done, future) for future in held])


def _pass_on(done: asyncio.Future[bool], waiting: asyncio.Future[bool]) -> None:
    if waiting.done():
        return
    if error := done.exception():
        waiting.set_exception(error)
        waiting.exception()
    else:
        waiting.set_result(done.result())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _reason(place: str) -> str:
    return place.split("#")[0].split("~")[0]


def _event(type: str, message: str, *, position: str | None = None, level: str = "technical", data: Json = None) -> dict[str, Any]:
    return {"type": type, "message": message, "position": position, "level": level, "data": data}


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
