"""Playing a cassette to a drive: nothing reaches outside and nothing waits; every step ends when it is its turn, in the recorded order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from graphs.definition import Boundary, Json
from graphs.documents import is_object
from graphs.engine import endings
from graphs.engine.boundaries import Watch
from graphs.engine.cassette import CLOCK, Cassette, Entry, asked, digest, reaches, reads_clock
from graphs.engine.configs import DECIDED
from graphs.engine.record import Record, RunCancelled, RunFailed, RunTimedOut, StepFailed, error_of
from graphs.nodetype import Failure, Resolution, Stopped, Wait
from graphs.quiet import settle_down
from graphs.samples import sample

if TYPE_CHECKING:
    from graphs.engine.body import BodyRun
    from graphs.engine.drive import Drive
    from graphs.engine.step import Step

Policy = Literal["stop", "simulate"]
REPLAY = "#replay"
"""The key among the mocks of a test run under which the order for its replay stands: no node can have it as its id."""
Turn = tuple[float, float]  # when it settled; of several at once, which is older
LAST: Turn = (float("inf"), 0.0)
LOOKED_UP = (DECIDED + "profile", DECIDED + "tools")
DIVERGED = "diverged"  # code of a step that asked something else, and of the run that stopped for it


@dataclass(frozen=True, slots=True)
class Answer:
    value: Json


class Player:
    """One per replay. Steps hold until it is their turn; when nothing else moves, the one that settled first in the recording goes on."""

    def __init__(self, drive: Drive, cassette: Cassette, policy: Policy, *, live: str | None = None) -> None:
        self.drive, self.cassette, self.policy = drive, cassette, policy
        self.live = live  # the position whose call may be made, when it only reads
        self.diverged = False
        self._turns: dict[str, Turn] = {}
        self._mocks: Mapping[str, Json] = _mocks(drive.loaded.mocks)
        head = cassette.recording.head
        self._then: Mapping[str, Json] = _mocks(head.mocks)
        self._tested = head.mode == "test"

    # -- what the run sees -------------------------------------------------------------------------------------------------------

    def scope(self, scope: dict[str, Json]) -> dict[str, Json]:
        """The names of the recorded run instead of this one's."""
        head = self.cassette.recording.head
        run = {"id": head.id, "workflow": head.workflow, "version": head.version, "mode": head.mode, "started_at": head.started_at}
        return {**scope, "run": run, "env": head.env if head.env is not None else scope["env"]}

    def rendered(self, step: Step) -> Json:
        """The recorded input of a step that looks at the clock, if it still is what it was; else None, and it is rendered."""
        entry = self._entry(step)
        if step.plan.inner and step.plan.inner.digest:
            return _shown(step.plan.template.value, step.plan.inner.digest, entry)
        return entry.tried.input if entry and self._clocked(step) and not step.plan.undoes else None

    def taken(self, step: Step, record: Record) -> list[int] | None:
        """The recorded edges of a step where a condition looks at the clock and the edges are what they were; else None."""
        entry, then = self._entry(step), self.cassette.node(step.position)
        if entry is None or then is None or entry.tried.state != record.state or then.outgoing != step.plan.outgoing:
            return None
        return entry.tried.taken if any(edge.when and CLOCK.search(edge.when) for edge in step.plan.outgoing) else None

    def _clocked(self, step: Step) -> bool:
        then = self.cassette.node(step.position)
        return then is not None and reads_clock(step.plan) and then.node == step.plan.node

    def _entry(self, step: Step) -> Entry | None:
        return self.cassette.entry(step.position, step.context.attempt)

    # -- one step ----------------------------------------------------------------------------------------------------------------

    async def play(self, step: Step, record: Record, config: Any) -> Answer | None:
        """What a step comes to without being done: what a mock, the cassette or a sample says. None: it is computed here."""
        entry, inside = self._entry(step), step.plan.kind.inner or step.position in self.cassette.groups
        if step.plan.id in self._mocks and step.plan.inner is None:
            return await self._held(step, record, entry, Answer(self._mocks[step.plan.id]))
        if self._tested and step.plan.id in self._then and step.plan.inner is None:
            return await self._held(step, record, entry, Answer(self._then[step.plan.id]))
        if self._tested and "pin" in step.plan.node.model_fields_set:
            return await self._held(step, record, entry, Answer(step.plan.node.pin))
        if entry and step.plan.kind.inner and self._agrees(step, entry):
            if entry.tried.given or not _looked_up(entry):
                return await self._held(step, record, entry, None)
            record.input = {**(record.input or {}), **_looked_up(entry)}
            return None
        if not reaches(step.plan, config) or (inside and self._agrees(step, entry)):
            if entry is None or inside or step.plan.bodies or not self._told(step, entry):
                return None
            return await self._held(step, record, entry, None)
        if self._agrees(step, entry):
            return await self._held(step, record, entry, None)
        return await self._divergence(step, record, config, entry)

    def _agrees(self, step: Step, entry: Entry | None) -> bool:
        """Whether the recording has an answer to what is asked."""
        if entry is None or entry.tried.state == "skipped":
            return False
        return (
            entry.tried.given or digest({step.plan.kind.name: asked(step.plan, step.record.input if step.record else None)}) == entry.asked
        )

    def _told(self, step: Step, entry: Entry) -> bool:
        """Whether the outcome of something computed is taken as recorded: a person gave it, it looked at the clock, or its time ran out."""
        return entry.tried.given or self._clocked(step) or _code(entry.tried.error) == "timeout"

    async def _held(self, step: Step, record: Record, entry: Entry | None, answer: Answer | None) -> Answer:
        call = self._answered(step, entry, answer)
        try:
            value = await (Watch(step, record).over(call) if step.plan.node.boundary else call)
        except asyncio.CancelledError:
            if entry and entry.tried.unended:
                endings.cancelled(step, record)
            raise
        return Answer(value)

    async def _answered(self, step: Step, entry: Entry | None, answer: Answer | None) -> Json:
        await self._turn(step, entry)
        if answer:
            return answer.value
        assert entry is not None  # noqa: S101 the caller has looked
        if entry.tried.error is not None:
            raise self._failure(step, entry)
        return entry.tried.output

    def _failure(self, step: Step, entry: Entry) -> Failure:
        """As it was; whether another attempt may follow the recorded ones is what the earlier ones say."""
        error: dict[str, Any] = entry.tried.error
        earlier = (self.cassette.entry(step.position, number) for number in range(1, entry.number + 1))
        again = any(one and one.tried.state == "retrying" for one in earlier)
        return Failure(error["code"], error["message"], retryable=again, details=error.get("details"))

    # -- turns -------------------------------------------------------------------------------------------------------------------

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
        if not self.diverged and _code(head.error) == "run_timeout":
            raise RunTimedOut
        raise RunFailed(DIVERGED, "the replay stops here: what would follow depends on a step for which nothing is recorded")

    # -- boundaries and waits ----------------------------------------------------------------------------------------------------

    async def boundary(self, step: Step, boundary: Boundary, place: str) -> None:
        """Returns when the boundary fires as it did; never when it did not."""
        await self.alarm(step, place, self._fires(step, boundary))

    def _fires(self, step: Step, boundary: Boundary) -> float | None:
        entry = self._entry(step)
        if entry is None:
            return None
        if entry.tried.boundary == boundary.name:
            return entry.tried.seq
        if boundary.name not in entry.tried.fired():
            return None
        message = f"the boundary {boundary.name!r} fired"
        recording = self.cassette.recording
        after = next((one.after for one in recording.fired if one.position == step.position and message in one.message), 0)
        ended = sorted(tried.seq for tried in recording.tried if tried.state != "skipped" and not tried.position.startswith("#"))
        return ended[min(after, len(ended)) - 1] + 0.5 if after else 0.0

    async def wait(self, step: Step, place: str, wait: Wait) -> Resolution:
        """How a wait of a step that is done anew ended."""
        entry, own = self._entry(step), step.position
        key = place[len(own) :].partition("#")[2]
        attempt = f"~{entry.tried.attempt}" if entry and entry.tried.attempt > 1 else ""
        known = self.cassette.wait(f"{own}{attempt}" + (f"#{key}" if key else ""))
        if known and known.state in ("resolved", "expired"):
            resolved = known.state == "resolved" or wait.kind == "timer"
            return Resolution(state="resolved" if resolved else "expired", payload=known.payload)
        if known is None:
            self.diverged = True
            if self.policy == "simulate":
                return Resolution(state="resolved", payload={"answer": sample(wait.task.form) if wait.task else None, "by": None})
        await self.drive.hold(place, None, step)
        raise RunFailed(DIVERGED, "a wait for which nothing is recorded")

    # -- what is not in the recording --------------------------------------------------------------------------------------------

    async def _divergence(self, step: Step, record: Record, config: Any, entry: Entry | None) -> Answer | None:
        await self._turn(step, None if entry and entry.tried.unended else entry)  # perhaps it is cut off before
        self.diverged = True
        if self.live == step.position and step.plan.kind.effect(config) == "read":
            step.live = True
            return None
        if self.policy == "simulate":
            pinned = "pin" in step.plan.node.model_fields_set
            value = step.plan.node.pin if pinned else sample(step.plan.kind.output(config))
            return await self._held(step, record, None, Answer(value))
        message = "nothing is recorded for this call" if entry is None else "the recording has another call here"
        record.state, record.error = "failed", error_of(Failure(DIVERGED, message), step.position)
        await step.write(record, ("step.failed", f"{step.plan.id}: {message}"), finished=True)
        with suppress(Failure):
            await self.drive.hold(f"{step.position}#never", None, step)
        raise RunFailed(DIVERGED, message)


def _mocks(given: Any) -> Mapping[str, Json]:
    mocks: dict[str, Json] = given or {}
    return {name: value for name, value in mocks.items() if name != REPLAY}


def _looked_up(entry: Entry) -> dict[str, Json]:
    """What an agent found when it began: its profile and its tools are what they were, whatever has been made of them since."""
    given: dict[str, Json] = entry.tried.input if is_object(entry.tried.input) else {}
    return {name: given[name] for name in LOOKED_UP if name in given}


def _shown(ask: dict[str, Json], digest: str, entry: Entry | None) -> Json:
    """What a person is asked about a call. Of the same call it is what they were shown: what it changes may be another thing now."""
    then: dict[str, Json] = entry.tried.input if entry and is_object(entry.tried.input) else {}
    words = str(then.get("description", ""))
    return {**ask, "description": words} if words.endswith(digest) else ask


def _code(error: Any) -> str | None:
    return error.get("code") if is_object(error) else None
