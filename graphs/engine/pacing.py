"""When the steps of a replay go on: each ends when it is its turn, in the recorded order, and whoever had no turn goes on last."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal

from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.cassette import Cassette, Entry
from graphs.engine.configs import DECIDED
from graphs.engine.record import RunCancelled, RunFailed, RunTimedOut, StepFailed
from graphs.nodetype import Effect, Failure, Stopped
from graphs.quiet import settle_down

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.drive import Drive
    from graphs.engine.step import Step

Policy = Literal["stop", "simulate"]
Turn = tuple[float, float]  # when it settled; of several at once, which is older
LAST: Turn = (float("inf"), 0.0)
DIVERGED = "diverged"  # code of a step that asked something else, and of the run that stopped for it
PASSING = frozenset({"timeout", "connect", "cut", "circuit_open", "model_timeout", "model_cut", "model_unavailable", "model_rate_limited"})
"""Codes of failures that may not come again."""


class Pace:
    """What Player is built on. Steps hold until it is their turn; when nothing else moves, the one that settled first goes on."""

    def __init__(self, drive: Drive, cassette: Cassette, policy: Policy) -> None:
        self.drive, self.cassette, self.policy = drive, cassette, policy
        self.diverged = False
        self._turns: dict[str, Turn] = {}

    def _entry(self, step: Step) -> Entry | None:
        return self.cassette.entry(step.position, step.context.attempt)

    def _failure(self, step: Step, entry: Entry) -> Failure:
        """As it was; whether another attempt may follow the recorded ones is what the earlier ones say, or else its kind."""
        error: dict[str, Any] = entry.tried.error
        earlier = (self.cassette.entry(step.position, number) for number in range(1, entry.number + 1))
        again = any(one and one.tried.state == "retrying" for one in earlier) or self._passing(step, entry)
        return Failure(error["code"], error["message"], retryable=again, details=error.get("details"))

    def _passing(self, step: Step, entry: Entry) -> bool:
        """Whether one more would have followed the last attempt that was allowed: some failures pass, of what may be repeated."""
        then = self.cassette.node(step.position)
        if then is None or entry.number < (then.retry.max_attempts if then.retry else 1):
            return False
        if step.config is None or step.plan.kind.effect(step.config) is Effect.WRITE_ONCE:
            return False
        error: dict[str, Any] = entry.tried.error
        details: Any = error.get("details")
        status: Any = details.get("status") if is_object(details) else None
        return error["code"] in PASSING or (isinstance(status, int) and (status >= 500 or status in (408, 425, 429)))

    async def paced(self, step: Step, tried: Coroutine[Any, Any, Json]) -> Json:
        """An attempt, ended when it is its turn."""
        try:
            if step.plan.bodies and not step.hurried:
                await self._begin(step, self._entry(step))
        except BaseException:
            tried.close()
            raise
        try:
            value = await tried
        except (Failure, Stopped) as ended:
            if isinstance(ended, Failure) or step.plan.kind.ends:
                await self._turn(step, self._entry(step))
            raise
        await self._turn(step, self._entry(step))
        return value

    async def _begin(self, step: Step, entry: Entry | None) -> None:
        """A group of which the recording has nothing, or nothing inside before it was cancelled, had not begun when it was cut off."""
        place = f"{step.position}#begin"
        if entry is None:
            self._turns[place] = LAST
        if entry is None or (entry.tried.unended and step.position not in self.cassette.groups):
            await self.drive.hold(place, None, step)

    async def spread(self, step: Step, ended: StepFailed | Stopped) -> None:
        """A failure is heard of beside the step when it was: not before what has settled there all the same; and where another one was
        heard of instead, only if that does not come. What stops the run is heard of everywhere."""
        entry = self._entry(step)
        if entry is None or step.hurried or (isinstance(ended, Stopped) and not step.plan.kind.ends):
            return
        if isinstance(ended, Stopped):
            head = self.cassette.recording.head
            other = (ended.state, ended.output) != (head.state, head.output)
            last = max(tried.seq for tried in self.cassette.recording.tried)
        else:
            spoke, last = self.cassette.spoke(entry), self.cassette.heard(entry)
            other = spoke is not None and spoke != ended.error.get("position")
        if other or last > entry.tried.seq:
            step.bodies.clear()
            self._turns[place := f"{step.position}#spread"] = LAST if other else (last + 0.5, entry.tried.seq)
            await self.drive.hold(place, None, step)

    async def arrived(self, step: Step, key: str, body: BodyRun) -> None:
        """A body of a race is done: the one that won goes on when all that settled beside it has, others only if it never does."""
        entry = self._entry(step)
        given: dict[str, Json] = (entry.tried.input if entry else None) or {}
        winner = given.get(DECIDED + "winner")
        if entry is None or step.hurried:
            return
        step.bodies.discard(body)
        last = self.cassette.last_inside(entry)
        self._turns[place := f"{step.position}#arrived:{key}"] = (last + 0.5, last) if key == winner else LAST
        await self.drive.hold(place, None, step)

    async def timed(self, step: Step, call: Coroutine[Any, Any, Json]) -> Json:
        """The call of a group or a waiting step; where its time ran out in the recording, it does so in its turn."""
        entry = self._entry(step)
        error = entry.tried.error if entry else None
        if not (entry and error and error["code"] == "timeout" and error.get("position") == step.position):
            return await call
        main, end = asyncio.create_task(call), asyncio.create_task(self.alarm(step, f"{step.position}#timeout", entry.tried.seq))
        try:
            await asyncio.wait([main, end], return_when=asyncio.FIRST_COMPLETED)
            if main.done():
                return main.result()
            raise self._failure(step, entry)
        finally:
            await settle_down([main, end])
            step.acting = 0

    async def alarm(self, step: Step, place: str, turn: float | None) -> None:
        """Something beside a step that comes at its turn, or never."""
        if turn is not None:
            self._turns[place] = (turn, turn)
        await self.drive.hold(place, None, step, passive=True)

    async def _turn(self, step: Step, entry: Entry | None) -> None:
        """Returns when everything that settled before has settled, or nothing else moves."""
        if step.hurried or step.turned == step.context.attempt:
            return
        step.turned = step.context.attempt
        step.bodies.clear()
        place = f"{step.position}#turn"
        if entry is None:
            self._turns[place] = LAST
        elif not entry.tried.unended:
            self._turns[place] = (entry.tried.seq, entry.tried.seq)
        else:
            self._turns.pop(place, None)  # it was cancelled: by what, the others know
        await self.drive.hold(place, None, step)

    def go_on(self) -> None:
        """Nothing moves: whose turn it is goes on. Raises what ends the run where nobody's is."""
        held = [(self._turns[place], place) for place, hold in self.drive.holds.items() if place in self._turns and not hold.future.done()]
        if held:
            self.drive.release(min(held)[1])
            return
        head = self.cassette.recording.head
        if not self.diverged and head.state == "cancelled":
            raise RunCancelled
        if not self.diverged and code_of(head.error) == "run_timeout":
            raise RunTimedOut
        if self.policy == "simulate" and (stuck := self._stuck()):
            self.drive.release(stuck)
            return
        raise RunFailed(DIVERGED, "the replay stops here: what would follow depends on a step for which nothing is recorded")

    def _stuck(self) -> str | None:
        """A step that was cut off in the recording, and now by nothing: it goes on without one."""
        return next((place for place, hold in self.drive.holds.items() if not (hold.passive or hold.future.done())), None)


def code_of(error: Any) -> str | None:
    return error.get("code") if is_object(error) else None
