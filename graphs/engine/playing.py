"""Playing a cassette to a drive: nothing reaches outside and nothing waits; every step ends when it is its turn, in the recorded order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphs.definition import Boundary, Json
from graphs.documents import is_object
from graphs.engine import endings
from graphs.engine.boundaries import Watch
from graphs.engine.cassette import CLOCK, Cassette, Entry, asked, digest, reaches, reads_clock
from graphs.engine.configs import DECIDED, REFUSED
from graphs.engine.pacing import DIVERGED, Pace, Policy, code_of
from graphs.engine.record import Record, RunFailed, error_of
from graphs.nodetype import Failure, Resolution, Wait
from graphs.samples import sample
from store.replays import SIMULATED

if TYPE_CHECKING:
    from graphs.engine.drive import Drive
    from graphs.engine.step import Step

REPLAY = "#replay"
"""The key among the mocks of a test run under which the order for its replay stands: no node can have it as its id."""
LOOKED_UP = (DECIDED + "profile", DECIDED + "tools")


@dataclass(frozen=True, slots=True)
class Answer:
    value: Json


class Player(Pace):
    """One per replay."""

    def __init__(
        self, drive: Drive, cassette: Cassette, policy: Policy, *, live: str | None = None, answers: Mapping[str, Json] | None = None
    ) -> None:
        super().__init__(drive, cassette, policy)
        self.live = live  # the position whose call may be made, when it only reads
        self._answers: Mapping[str, Json] = answers or {}  # by node: where nothing is recorded, and only there
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
        return entry.tried.given or self._clocked(step) or code_of(entry.tried.error) == "timeout"

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
        if entry.tried.unended:
            return self._simulated(step)
        if entry.tried.error is not None:
            raise self._failure(step, entry)
        return entry.tried.output

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
                return self._resolved(step, wait)
        await self.drive.hold(place, None, step)
        if self.policy == "simulate":
            return self._resolved(step, wait)
        raise RunFailed(DIVERGED, "a wait for which nothing is recorded")

    def _resolved(self, step: Step, wait: Wait) -> Resolution:
        self._tell(step)
        return Resolution(state="resolved", payload={"answer": sample(wait.task.form) if wait.task else None, "by": None})

    # -- what is not in the recording --------------------------------------------------------------------------------------------

    async def _divergence(self, step: Step, record: Record, config: Any, entry: Entry | None) -> Answer | None:
        await self._turn(step, None if entry and entry.tried.unended else entry)  # perhaps it is cut off before
        self.diverged = True
        if self.live == step.position and step.plan.kind.effect(config) == "read":
            step.live = True
            return None
        if self.policy == "simulate":
            return await self._held(step, record, None, Answer(self._simulated(step)))
        message = "nothing is recorded for this call" if entry is None else "the recording has another call here"
        record.state, record.error = "failed", error_of(Failure(DIVERGED, message), step.position)
        await step.write(record, ("step.failed", f"{step.plan.id}: {message}"), finished=True)
        with suppress(Failure):
            await self.drive.hold(f"{step.position}#never", None, step)
        raise RunFailed(DIVERGED, message)

    def _simulated(self, step: Step) -> Json:
        """What a step came to of which nothing is recorded: what somebody gave for it, its pin, or something that fits."""
        self._tell(step)
        if step.plan.id in self._answers and step.plan.inner is None:
            return self._answers[step.plan.id]
        pinned = "pin" in step.plan.node.model_fields_set
        return step.plan.node.pin if pinned else sample(step.plan.kind.output(step.config))

    def _tell(self, step: Step) -> None:
        self.drive.outbox.tell(("step.progress", SIMULATED), position=step.position)


def _mocks(given: Any) -> Mapping[str, Json]:
    mocks: dict[str, Json] = given or {}
    return {name: value for name, value in mocks.items() if name != REPLAY}


def _looked_up(entry: Entry) -> dict[str, Json]:
    """What an agent found: its profile, its tools and what it was not permitted are what they were, whatever has been made of them."""
    given: dict[str, Json] = entry.tried.input if is_object(entry.tried.input) else {}
    return {name: value for name, value in given.items() if name in LOOKED_UP or name.startswith(DECIDED + REFUSED)}


def _shown(ask: dict[str, Json], digest: str, entry: Entry | None) -> Json:
    """What a person is asked about a call. Of the same call it is what they were shown: what it changes may be another thing now."""
    then: dict[str, Json] = entry.tried.input if entry and is_object(entry.tried.input) else {}
    words = str(then.get("description", ""))
    return {**ask, "description": words} if words.endswith(digest) else ask
