"""One step of a run: rendered, tried, retried, recorded. It is also the context that its node type's `run` gets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError

from graphs.definition import Json, seconds
from graphs.engine.configs import DECIDED, explain, fitted, rendered
from graphs.engine.record import Record, RunFailed, StepFailed, Unloaded, error_of
from graphs.expressions import ExpressionError
from graphs.nodetype import Effect, Failure, Resolution, Stopped, Wait
from store import jsontext
from store.errors import Invalid, LeaseLost, Unavailable

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.plan import NodePlan
    from graphs.models import Models
    from graphs.outbound import Outbound

MAX_OUTPUT = 1_000_000  # characters of JSON
SHORT_DELAY = 3.0  # seconds that a retry may sleep in the process; longer ones are timers
EXPECTED = (asyncio.CancelledError, StepFailed, RunFailed, LeaseLost, Unavailable)
DOOMED = 2.0  # seconds that a step cancelled with its siblings waits for that to be repeated
SHOW_AFTER = 0.1  # seconds after which a step still under way is shown as running


class Step:
    """A node being run at a position. Its methods are the Context of graphs/nodetype.py."""

    def __init__(self, body: BodyRun, plan: NodePlan) -> None:
        self.within = body
        self.drive = body.drive
        self.plan = plan
        self.position = body.prefix + plan.id
        self.record = self.drive.records.get(self.position)
        self.waiting = 0
        self.bodies: set[BodyRun] = set()
        self.config: Any = None

    @property
    def parked(self) -> bool:
        """Whether it only waits: for answers or times of its own, or for bodies that all do."""
        return (self.waiting > 0 or bool(self.bodies)) and all(body.parked for body in self.bodies)

    # -- the life of a step ------------------------------------------------------------------------------------------------------

    async def perform(self) -> Record:
        """Brings the step to its end, or finds that it had ended before a restart. Raises StepFailed when its failure stops the body."""
        record = self.record
        if record and record.final and not self.plan.kind.ends:
            if record.taken is None and self.plan.outgoing and record.state == "succeeded":
                await self._decide_again(record)
            return record
        if record:
            await self._resume(record)
        while True:
            await self.drive.gate(self.position, self)
            record = self._begin()
            try:
                output = await self._tried(record)
            except Failure as failure:
                if await self._retries(record, failure):
                    continue
                return await self._failed(record, failure)
            except Stopped as stopped:
                if self.plan.kind.ends:  # its row goes with the end of the run, in one commit
                    record.state, record.output, record.taken = "succeeded", stopped.output, []
                    self.drive.note(self._row(record, finished=True), event=("step.succeeded", f"{self.plan.id} stopped the run"))
                raise
            except BaseException as error:
                if not isinstance(error, EXPECTED):  # a fault of ours: the trace says where, the log says what
                    record.state, record.error = (
                        "failed",
                        {"code": "internal", "message": "an error in Weft itself", "position": self.position},
                    )
                    self.drive.note(
                        self._row(record, finished=True), event=("step.failed", f"{self.plan.id} failed: an error in Weft itself")
                    )
                raise
            return await self._succeeded(record, output)

    async def _resume(self, record: Record) -> None:
        """Goes on from an attempt that an earlier driver of the run left. A failure stands until somebody asks for a retry: the worker
        may have died after recording it and before the run ended. What was cancelled beside it is about to be cancelled again."""
        if record.state == "retrying" and record.retry_at:
            await self._until(record.retry_at)
        elif record.state == "failed" and record.retry_at is None and record.error:
            raise StepFailed(record.error)
        elif record.state == "cancelled" and record.retry_at is None:
            await asyncio.sleep(DOOMED)

    def _begin(self) -> Record:
        """The attempt to make: the one that a crash interrupted, or a new one."""
        old = self.record
        again = old is not None and old.state in ("running", "waiting")
        attempt = old.attempt + (0 if again else 1) if old else 1
        started = old.started_at if old and again else self.drive.now()
        record = Record(attempt=attempt, state="running", started_at=started, input=old.input if old and self.plan.compound else None)
        record.first = attempt if old is None or old.state in ("failed", "cancelled") else old.first
        record.state = old.state if old and again else "running"
        self.record = self.drive.records[self.position] = record
        if not again:
            self.drive.count_step()
        return record

    async def _tried(self, record: Record) -> Json:
        if self.plan.node.disabled:
            return None
        if self.plan.incoming and self.within.arrived[self.plan.id] < (self.plan.arrivals or 0):
            raise Failure("join_unsatisfied", f"only {self.within.arrived[self.plan.id]} of {self.plan.arrivals} branches were taken")
        config = await self._configure(record)
        if (simulated := self.drive.simulate(self.plan, config)) is not None:
            return simulated.value
        effect = self.plan.kind.effect(config)
        if effect is Effect.WRITE_ONCE and self.drive.interrupted(self.position):
            raise Failure("in_doubt", _IN_DOUBT)
        shown = await self._announce(record, effect)
        try:
            return await self._called(config, record, effect)
        finally:
            if shown:
                shown.cancel()

    async def _configure(self, record: Record) -> Any:
        """The config with its templates rendered; for compound steps the one recorded when they began."""
        if self.plan.fixed is not None:
            self.config = self.plan.fixed
            return self.config
        try:
            if record.input is None:
                record.input = await self.drive.render(self.plan.template, self.within.scope)
            self.config = fitted(self.plan.kind.config, {**rendered(record.input), **self.plan.raw})
        except ExpressionError as error:
            raise Failure("expression", str(error)) from error
        except ValidationError as error:
            raise Failure("bad_config", explain(error)) from error
        return self.config

    async def _announce(self, record: Record, effect: Effect) -> asyncio.TimerHandle | None:
        """Records the beginning: durably before a write (its intent), in order before inner steps, and after a moment for slow ones."""
        if effect in (Effect.WRITE_ONCE, Effect.WRITE_IDEMPOTENT):
            await self.drive.write(self._row(record), event=("step.started", f"{self.plan.id} started"))
        elif self.plan.compound:
            if record.state == "running":
                self.drive.note(self._row(record), event=("step.started", f"{self.plan.id} started"))
        else:
            return asyncio.get_running_loop().call_later(
                SHOW_AFTER, lambda: self.drive.submit(self._row(record), event=("step.started", f"{self.plan.id} started"))
            )
        return None

    async def _called(self, config: Any, record: Record, effect: Effect) -> Json:
        call = self.plan.kind.run(config, self)
        try:
            if self.plan.timeout is None:
                return await call
            left = self.plan.timeout
            if self.plan.compound:
                left = self.drive.seconds_until(record.started_at + timedelta(seconds=self.plan.timeout))
            with self.drive.deadline(record.started_at + timedelta(seconds=self.plan.timeout) if self.plan.compound else None):
                async with asyncio.timeout(left):
                    return await call
        except TimeoutError as error:
            if effect is Effect.WRITE_ONCE:
                raise Failure("in_doubt", _IN_DOUBT) from error
            raise Failure("timeout", f"not done within {self.plan.node.timeout}", retryable=True) from error
        except StepFailed as failed:
            raise Failure(failed.error["code"], failed.error["message"], details={"position": failed.error["position"]}) from failed
        except ExpressionError as error:
            raise Failure("expression", str(error)) from error
        except BaseExceptionGroup as group:
            raise self._first(group) from group
        except asyncio.CancelledError:
            await self._cancelled(record, effect)
            raise

    def _first(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """Of several bodies that failed at once, the first speaks."""
        for error in group.exceptions:
            if isinstance(error, BaseExceptionGroup):
                return self._first(cast("BaseExceptionGroup[BaseException]", error))
            if isinstance(error, StepFailed):
                return Failure(error.error["code"], error.error["message"], details={"position": error.error["position"]})
            return error
        return group

    # -- how it ends -------------------------------------------------------------------------------------------------------------

    async def _succeeded(self, record: Record, output: Json) -> Record:
        try:
            size = len(jsontext.text(output))
        except (Invalid, TypeError) as error:
            return await self._failed(record, Failure("bad_output", f"the output is not JSON: {error}"))
        if size > MAX_OUTPUT:
            return await self._failed(
                record, Failure("output_too_large", f"the output is {size:,} characters of JSON; at most {MAX_OUTPUT:,} are kept")
            )
        record.state, record.output, record.error = "succeeded", output, None
        assigned = self._assigned()
        if assigned:
            self.drive.assign(assigned)
        problem = await self._decide(record)
        row = self._row(record, finished=True, vars=assigned or None)
        await self.drive.write(row, event=("step.succeeded", f"{self.plan.id} succeeded"))
        if problem:
            raise StepFailed(problem)
        return record

    def _assigned(self) -> dict[str, Json]:
        return dict(getattr(self.config, "vars", None) or {}) if self.plan.kind.name == "set" and not self.plan.node.disabled else {}

    async def _decide(self, record: Record) -> dict[str, Any] | None:
        """Which outgoing edges are taken. They are decided once and recorded, so that a replay only looks them up."""
        failed = record.state == "failed"
        branch = None
        if not failed and self.plan.kind.taken and record.output is not None:
            branch = self.plan.kind.taken(self.config, record.output)
        scope = {**self.within.scope, "nodes": {**self.within.scope["nodes"], self.plan.id: None if failed else record.output}}
        scope["errors"] = {**self.within.scope["errors"], self.plan.id: record.error}
        routed = failed and self.plan.node.on_error == "route"
        taken: list[int] = []
        for edge in self.plan.outgoing:
            if (edge.branch == "error") != routed or (edge.branch not in (None, "error") and edge.branch != branch):
                continue
            try:
                if edge.when is None or await self.drive.evaluate(edge.when, scope):
                    taken.append(edge.index)
            except ExpressionError as error:
                return {
                    "code": "expression",
                    "message": f"the condition of the edge to {edge.target!r}: {error}",
                    "position": self.position,
                }
        record.taken = taken
        return None

    async def _decide_again(self, record: Record) -> None:
        """A retried run whose edge condition failed: the step's effect stands, only the decision is made anew."""
        if self.plan.kind.taken:
            await self._configure(record)
        if problem := await self._decide(record):
            raise StepFailed(problem)
        await self.drive.write(self._row(record, finished=True))

    async def _retries(self, record: Record, failure: Failure) -> bool:
        """Whether there is another attempt; if so, returns when it is due."""
        policy = self.plan.retry
        if not failure.retryable or policy is None or record.attempt - record.first + 1 >= policy.max_attempts:
            return False
        tried = record.attempt - record.first + 1
        delay = min(seconds(policy.initial) * policy.factor ** (tried - 1), seconds(policy.max_delay))
        if policy.jitter:
            delay *= random.uniform(0.5, 1.0)  # noqa: S311 spreading load is not cryptography
        delay = max(delay, failure.retry_after or 0.0)
        record.state, record.error = "retrying", error_of(failure, self.position)
        record.retry_at = self.drive.now() + timedelta(seconds=delay)
        message = f"{self.plan.id} failed ({failure.message[:300]}); attempt {tried + 1} of {policy.max_attempts} in {delay:.1f} s"
        await self.drive.write(self._row(record, finished=True), event=("step.retrying", message))
        await self._until(record.retry_at)
        return True

    async def _until(self, moment: datetime) -> None:
        left = self.drive.seconds_until(moment)
        if left <= SHORT_DELAY:
            await asyncio.sleep(max(left, 0.0))
        else:
            await self._hold(f"{self.position}#retry", moment)

    async def _failed(self, record: Record, failure: Failure) -> Record:
        details: Json = failure.details
        error = error_of(failure, str(details.get("position", self.position)) if isinstance(details, dict) else self.position)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        record.state, record.error, record.output = "failed", error, None
        problem: dict[str, Any] | None = error
        if self.plan.node.on_error != "stop":
            problem = await self._decide(record)
        row = self._row(record, finished=True)
        await self.drive.write(row, event=("step.failed", f"{self.plan.id} failed: {failure.message[:500]}"))
        if problem:
            raise StepFailed(problem)
        return record

    async def _cancelled(self, record: Record, effect: Effect) -> None:
        """A sibling failed or the run was cancelled while this was under way. When the run is only put down, nothing is recorded."""
        if self.drive.unloading:
            return
        doubtful = effect is Effect.WRITE_ONCE
        record.state = "failed" if doubtful else "cancelled"
        record.error = {"code": "in_doubt", "message": _IN_DOUBT, "position": self.position} if doubtful else None
        self.drive.submit(self._row(record, finished=True), event=("step.cancelled", f"{self.plan.id} cancelled"))

    def _row(self, record: Record, *, finished: bool = False, vars: Json = None) -> dict[str, Any]:
        return {
            "position": self.position,
            "attempt": record.attempt,
            "node_id": self.plan.id,
            "node_type": self.plan.kind.name,
            "state": record.state,
            "seq": self.drive.next_seq(),
            "input": record.input,
            "output": record.output,
            "error": record.error,
            "taken": record.taken,
            "vars": vars,
            "started_at": record.started_at.isoformat(),
            "finished_at": self.drive.now().isoformat() if finished else None,
            "retry_at": record.retry_at.isoformat() if record.retry_at and record.state == "retrying" else None,
        }

    # -- Context -----------------------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        return self.drive.run_id

    @property
    def mode(self) -> Literal["production", "test"]:
        return self.drive.mode

    @property
    def node_id(self) -> str:
        return self.plan.id

    @property
    def attempt(self) -> int:
        return self.record.attempt if self.record else 1

    @property
    def idempotency_key(self) -> str:
        return f"{self.drive.run_id}/{self.position}"

    @property
    def outbound(self) -> Outbound:
        return self.drive.engine.outbound

    @property
    def models(self) -> Models:
        return self.drive.engine.models

    async def evaluate(self, expression: str, local: Mapping[str, Json] | None = None) -> Json:
        return await self.drive.evaluate(expression, {**self.within.scope, **(local or {})})

    async def decide(self, name: str, expression: str) -> Json:
        record = self.record
        known: dict[str, Json] = record.input if record and record.input else {}
        if DECIDED + name not in known:
            value = await self.evaluate(expression)
            if record is None or not self.plan.compound:
                return value
            record.input = known = {**known, DECIDED + name: value}
            self.drive.note(self._row(record), event=("step.decided", f"{self.plan.id}: {name} is {value!r:.80}"))
        return known[DECIDED + name]

    async def script(self, code: str, values: Mapping[str, Json] | None = None) -> Json:
        return await self.drive.engine.evaluator.script(code, {**self.within.scope, **(values or {})})

    async def body(self, key: str, *, index: int | None = None, local: Mapping[str, Json] | None = None) -> Json:
        from graphs.engine.body import BodyRun

        prefix = f"{self.position}[{index}]/" if index is not None else f"{self.position}/"
        inner = BodyRun(self.drive, self.plan.bodies[key], prefix, self.within.scope, local)
        self.bodies.add(inner)
        self.drive.look()
        await inner.run()  # one that fails stays: it is not parked, and neither is this step until its failure has arrived here
        self.bodies.discard(inner)
        self.drive.look()  # what is left may be waiting only
        return inner.output

    async def wait(self, wait: Wait, *, key: str = "") -> Resolution:
        attempt = f"~{self.attempt}" if self.attempt > 1 else ""
        place = f"{self.position}{attempt}" + (f"#{key}" if key else "")
        known = self.drive.waits.get(place)
        if known is None:
            known = await self.drive.begin_wait(self, place, wait)
        if known.state == "open" and wait.kind == "event":
            known = await self.drive.look_back(known)
        if known.state == "open":
            await self._hold(place, known.due_at)
            known = self.drive.waits[place]
        if self.record:
            self.record.state = "running"
        if known.state == "cancelled":
            raise Failure("wait_cancelled", "the wait was cancelled")
        return Resolution(state="resolved" if known.state == "resolved" or wait.kind == "timer" else "expired", payload=known.payload)

    async def progress(self, message: str, *, current: int | None = None, total: int | None = None) -> None:
        self.drive.submit(None, event=("step.progress", message[:500]), position=self.position, data={"current": current, "total": total})

    def waiting_row(self) -> dict[str, Any]:
        """The step's row as it begins to wait."""
        if self.record is None:
            raise Unloaded
        self.record.state = "waiting"
        return self._row(self.record)

    async def _hold(self, place: str, due: datetime | None) -> None:
        try:
            await self.drive.hold(place, due, self)
        except asyncio.CancelledError:
            if not self.drive.unloading:
                self.drive.drop_wait(place)
            raise


_IN_DOUBT = (
    "it is not known whether this call took effect: it was under way when its process ended or its time ran out. "
    "Check at the receiver; then retry the run to do it again, or cancel it"
)
