"""One step of a run: rendered, tried, retried, and brought to an end that is recorded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from graphs.definition import Json, seconds
from graphs.engine import doubt, endings
from graphs.engine.boundaries import Interrupted, Watch, lead_on_again
from graphs.engine.configs import explain, fitted, rendered
from graphs.engine.context import StepContext
from graphs.engine.events import Happening
from graphs.engine.record import Record, RunFailed, StepFailed, error_of, gravest
from graphs.expressions import ExpressionError
from graphs.nodetype import BodyFailed, Effect, Failure, Stopped
from store.errors import LeaseLost, Unavailable

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.plan import NodePlan

SHORT_DELAY = 3.0  # seconds that a retry may sleep in the process; longer ones are timers
EXPECTED = (asyncio.CancelledError, StepFailed, RunFailed)
WRITES = (Effect.WRITE_ONCE, Effect.WRITE_IDEMPOTENT)
DOOMED = 2.0  # seconds that a step cancelled with its siblings waits for that to be repeated
SHOW_AFTER = 0.1  # seconds after which a step still under way is shown as running


class Step:
    """A node being run at a position."""

    def __init__(self, body: BodyRun, plan: NodePlan) -> None:
        self.within = body
        self.drive = body.drive
        self.plan = plan
        self.position = body.position(plan.id)
        self.record = self.drive.records.get(self.position)
        self.context = StepContext(self)
        self.waiting = 0  # answers and times it waits for itself
        self.acting = 0  # boundaries that have fired and are being seen to
        self.bodies: set[BodyRun] = set()
        self.strands = 0  # what of it is under way outside of its inner steps
        self.config: Any = None
        self.effect = Effect.PURE
        self.fired: list[int] = []  # edges that boundaries have led to while it was under way
        self.live = False  # of a replay: its call is made all the same
        self.turned = 0  # of a replay: the attempt that has had its turn

    @property
    def parked(self) -> bool:
        """Whether it only waits: for answers or times of its own, or for bodies that all do."""
        return not (self.acting or self.strands) and (self.waiting > 0 or bool(self.bodies)) and all(body.parked for body in self.bodies)

    @property
    def hurried(self) -> bool:
        """Whether it tidies up after a cancellation: nobody would wake it."""
        return self.drive.closing or self.within.cleaning

    # -- the life of a step ------------------------------------------------------------------------------------------------------

    async def perform(self) -> Record:
        """Brings the step to its end, or finds that it had ended before a restart. Raises StepFailed when its failure stops the body."""
        record = self.record
        skipped = record is not None and record.taken is None  # a step that would end the run, done by a person's word
        if record and record.final and (skipped or not self.plan.kind.ends):
            if record.taken is None and self.plan.outgoing and record.state == "succeeded":
                await endings.decide_again(self, record)
            return record
        if record:
            if record.state != "compensated":
                lead_on_again(self)
            await self._resume(record)
        if record and record.state == "ambiguous" and (ended := await doubt.resolve(self, record)):
            return ended
        while True:
            await self.drive.gate(self.position, self)
            try:
                if ended := await self._attempt(self._begin()):
                    return ended
            except (StepFailed, Stopped) as ended:
                if self.drive.player:
                    await self.drive.player.spread(self, ended)
                raise

    async def _attempt(self, record: Record) -> Record | None:
        """One attempt; None when another is due. What may come out of it is a closed set, mapped here."""
        try:
            tried = self._tried(record)
            output = self.drive.redactor.clean(await (self.drive.player.paced(self, tried) if self.drive.player else tried))
        except Failure as failure:
            self.drive.redactor.clean_failure(failure)
            if failure.code == "in_doubt" and self.effect is Effect.WRITE_ONCE:
                return await doubt.begin(self, record, failure)
            return None if await self._retries(record, failure) else await endings.failed(self, record, failure)
        except Interrupted as fired:
            return await endings.interrupted(self, record, fired)
        except Stopped as stopped:
            if self.plan.kind.ends:  # its row goes with the end of the run, in one commit
                record.state, record.output, record.taken = "succeeded", stopped.output, []
                self.note(record, ("step.succeeded", f"{self.plan.id} stopped the run"), finished=True)
            raise
        except (LeaseLost, Unavailable):
            self.drive.unloading = True  # the run is put down as it is, and what is beside this with it
            raise
        except BaseException as error:
            if not isinstance(error, EXPECTED):  # a fault of ours: the trace says where, the log says what
                record.state = "failed"
                record.error = {"code": "internal", "message": "an error in Weft itself", "position": self.position}
                self.note(record, ("step.failed", f"{self.plan.id} failed: an error in Weft itself"), finished=True)
            raise
        return await endings.succeeded(self, record, output)

    async def _resume(self, record: Record) -> None:
        """Goes on from an attempt that an earlier driver of the run left. A failure stands until somebody asks for a retry: the worker
        may have died after recording it and before the run ended. What was cancelled beside it is about to be cancelled again."""
        if record.retry_at and record.state in ("retrying", "failed", "cancelled"):
            await self.until(record.retry_at)
        elif record.state == "failed" and record.error:
            raise StepFailed(record.error)
        elif record.state == "cancelled":
            await asyncio.sleep(DOOMED)

    def _begin(self) -> Record:
        """The attempt to make: the one that a crash interrupted, or a new one."""
        old = self.record
        again = old is not None and old.state in ("running", "waiting")
        attempt = old.attempt + (0 if again else 1) if old else 1
        record = Record(
            node_id=self.plan.id,
            node_type=self.plan.kind.name,
            attempt=attempt,
            state=old.state if old and again else "running",
            started_at=old.started_at if old and again else self.drive.now(),
            key=f"{self.drive.run_id}/{self.position}",
            effect=old.effect if old and again else None,
        )
        record.series = attempt if old is None or old.state in ("failed", "cancelled", "compensated") else old.series
        if old and old.state != "compensated":
            record.key = old.key or record.key
            record.input = old.input if self.plan.compound or (again and old.effect) else None  # one key, one request
        elif old:  # what was undone is done anew, under a key that no receiver has seen
            record.key = f"{record.key}~{attempt}"
        self.record = self.drive.records[self.position] = record
        if not again:
            self.drive.count_step()
        return record

    async def _tried(self, record: Record) -> Json:
        if self.plan.node.disabled:
            return None
        if self.plan.incoming and self.within.arrived[self.plan.id] < (self.plan.arrivals or 0):
            raise Failure("join_unsatisfied", f"only {self.within.arrived[self.plan.id]} of {self.plan.arrivals} branches were taken")
        if record.effect == Effect.WRITE_ONCE and self.drive.interrupted(self.position):  # whatever its config may be by now
            self.effect = Effect.WRITE_ONCE
            raise Failure("in_doubt", doubt.UNKNOWN)
        config = await self.configure(record)
        if self.drive.mode == "test" and (simulated := await self.drive.simulate(self, record, config)) is not None:
            return simulated.value
        settle = self.plan.kind.settle
        self.effect = await settle(config, self.context) if settle else self.plan.kind.effect(config)
        record.effect = str(self.effect) if self.effect in WRITES else None
        if self.effect is Effect.WRITE_ONCE and self.drive.interrupted(self.position):
            raise Failure("in_doubt", doubt.UNKNOWN)
        shown = await self._announce(record)
        try:
            return await self._called(config, record)
        except asyncio.CancelledError:
            endings.cancelled(self, record)
            raise
        finally:
            if shown:
                shown.cancel()

    async def configure(self, record: Record) -> Any:
        """The config with its templates rendered; for compound steps the one recorded when they began."""
        if self.plan.fixed is not None:
            self.config = self.plan.fixed
            return self.config
        try:
            if record.input is None and self.drive.player:
                record.input = self.drive.player.rendered(self)
            if record.input is None:
                kept = self.plan.inner.recorded if self.plan.inner else None
                record.input = dict(kept) if kept is not None else await self.drive.render(self.plan.template, self.within.scope)
            given = self.plan.template.value if self.plan.inner and self.plan.inner.recorded is not None else rendered(record.input)
            self.config = fitted(self.plan.kind.config, {**given, **self.plan.raw})
        except ExpressionError as error:
            raise Failure("expression", str(error)) from error
        except ValidationError as error:
            raise Failure("bad_config", explain(error)) from error
        return self.config

    async def _announce(self, record: Record) -> asyncio.TimerHandle | None:
        """Records the beginning: durably before a write (its intent), in order before inner steps, and after a moment for slow ones."""
        started: Happening = ("step.started", f"{self.plan.id} started")
        if record.effect:
            await self.write(record, started)
        elif self.plan.compound:
            if record.state == "running":
                self.note(record, started)
        else:
            return asyncio.get_running_loop().call_later(SHOW_AFTER, self._show, record, started)
        return None

    def _show(self, record: Record, started: Happening) -> None:
        self.note(record, started)
        self.drive.outbox.send()

    # -- the call ----------------------------------------------------------------------------------------------------------------

    async def _called(self, config: Any, record: Record) -> Json:
        run = self.plan.kind.run(config, self.context)
        run = self._stranded(run) if self.plan.kind.inner else run
        player = self.drive.player
        call = player.timed(self, run) if player and self.plan.compound else self._limited(run, record)
        try:
            return await (Watch(self, record).over(call) if self.plan.node.boundary else call)
        except BodyFailed as failed:
            raise _failure_of(failed) from failed
        except ExpressionError as error:
            if self.effect is Effect.WRITE_ONCE:  # what follows a boundary could not be told, and the call was cut off for it
                raise Failure("in_doubt", doubt.UNKNOWN) from error
            raise Failure("expression", str(error)) from error
        except BaseExceptionGroup as group:
            raise speaker(group) from group

    async def _stranded(self, run: Coroutine[Any, Any, Json]) -> Json:
        """A run that makes steps of its own. Between them it is not parked; when it has failed, nothing of them is left under way."""
        self.strands = 1
        try:
            return await run
        except (Failure, BodyFailed, asyncio.CancelledError):
            if not self.drive.unloading:
                self.drive.abandon_inner(self.position)
            raise
        finally:
            self.strands = 0

    async def _limited(self, call: Coroutine[Any, Any, Json], record: Record) -> Json:
        """The call within its time-out, which for a group or a waiting step counts from its beginning and wakes a parked run."""
        if self.plan.timeout is None:
            return await call
        end = record.started_at + timedelta(seconds=self.plan.timeout) if self.plan.compound else None
        left = self.plan.timeout if end is None else self.drive.seconds_until(end)
        try:
            with self.drive.deadline(end):
                async with asyncio.timeout(left):
                    return await call
        except TimeoutError as error:
            if endings.in_a_call(self, record):
                raise Failure("in_doubt", doubt.UNKNOWN) from error
            raise Failure("timeout", f"not done within {self.plan.node.timeout}", retryable=True) from error

    # -- retries -----------------------------------------------------------------------------------------------------------------

    async def _retries(self, record: Record, failure: Failure) -> bool:
        """Whether there is another attempt; if so, returns when it is due."""
        policy = self.plan.retry
        tried = record.attempt - record.series + 1
        if failure.code == "rate_limited":  # its turn has not come and nothing was called: the series of attempts begins with the next one
            record.series += 1
            delay, again = failure.retry_after or 1.0, "again"
        elif not failure.retryable or policy is None or tried >= policy.max_attempts:
            return False
        else:
            delay, again = max(self.delay(tried), failure.retry_after or 0.0), f"attempt {tried + 1} of {policy.max_attempts}"
        record.state, record.error = "retrying", error_of(failure, self.position)
        record.retry_at = self.drive.now() + timedelta(seconds=delay)
        message = f"{self.plan.id} failed ({failure.message[:300]}); {again} in {delay:.1f} s"
        if self.plan.bodies or self.plan.kind.inner:
            inside = (f"{self.position}/", f"{self.position}[")
            self.drive.reopen(lambda place: place.startswith(inside), record.retry_at)
        await self.write(record, ("step.retrying", message), finished=True, data=failure.details)
        await self.until(record.retry_at)
        return True

    def delay(self, tried: int) -> float:
        """Seconds before the attempt that follows the `tried`-th."""
        policy = self.plan.retry
        if policy is None:
            return 0.0
        delay = min(seconds(policy.initial) * policy.factor ** min(tried - 1, 60), seconds(policy.max_delay))
        return delay * random.uniform(0.5, 1.0) if policy.jitter else delay  # noqa: S311 spreading load is not cryptography

    async def until(self, moment: datetime, place: str | None = None) -> None:
        """Waits for a time: a moment in the process, in which the run is not put down, and longer as a timer."""
        if self.drive.player:
            return  # what happened meanwhile is in the recording
        left = self.drive.seconds_until(moment)
        if left > SHORT_DELAY and not self.hurried:
            await self.drive.hold(place or f"{self.position}#retry", moment, self)
            return
        self.acting += 1
        try:
            await asyncio.sleep(max(left, 0.0))
        finally:
            self.acting -= 1

    # -- what is recorded --------------------------------------------------------------------------------------------------------

    def note(self, record: Record, event: Happening, *, finished: bool = False, vars: Json = None, data: Json = None) -> None:
        """Puts the step as it is now into the run's next entry: it will be there before whatever follows."""
        self.drive.outbox.record(self.position, record, finished_at=self.drive.now() if finished else None, vars=vars)
        self.drive.outbox.tell(event, position=self.position, data=data)

    async def write(self, record: Record, event: Happening, *, finished: bool = False, vars: Json = None, data: Json = None) -> None:
        """The same, durably. Raises LeaseLost when another worker drives this run by now."""
        self.note(record, event, finished=finished, vars=vars, data=data)
        await self.drive.outbox.send()


def speaker(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what several bodies raised at once."""
    inside = (
        speaker(cast("BaseExceptionGroup[BaseException]", one)) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions
    )
    return gravest(_failure_of(one) if isinstance(one, BodyFailed) else one for one in inside)


def _failure_of(failed: BodyFailed) -> Failure:
    """What has failed inside, as a failure of this step; whose money was not enough, the agents around it must know."""
    error = failed.error
    details: dict[str, Any] = {**(error.get("details") or {})} if error["code"] == "budget_exceeded" else {}
    if "position" in error:
        details["position"] = error["position"]
    return Failure(error["code"], error["message"], details=details or None)
