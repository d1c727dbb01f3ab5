"""A small model of a run and of who drives it, to hold the real engine against: plain data, and no clock but the one it is given.

A run is branches of steps side by side: `work` (lasts until the test lets it end), `ask` (a person), `hear` (an event), `time` (a timer).
What its driver does after each happening is `go`: everything it can do without news, up to work under way, waiting, or the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

LEASE = 57  # seconds; the jumps of the clock are multiples of five, so nothing ever depends on the moment itself
TIMER = 3601
ENDS = {"ask": "resolved", "hear": "resolved", "time": "expired"}  # how the wait of a step ends when it comes to what it waits for
Moment = tuple[int, int]  # by the clock, and which of several at one time
Event = tuple[Moment, str]  # when it was sent, and its name


@dataclass(slots=True)
class Step:
    kind: str
    position: str
    row: tuple[int, str] | None = None  # attempt and state of its last row
    attempt: int = 0  # of the present drive; 0: not begun in it

    @property
    def done(self) -> bool:
        return self.row is not None and self.row[1] == "succeeded"

    @property
    def id(self) -> str:
        """Also the name of the event that it hears."""
        return self.position.rpartition("/")[2]

    @property
    def place(self) -> str:
        return self.position + (f"~{self.attempt}" if self.attempt > 1 else "")


@dataclass(slots=True)
class Driver:
    """What the one who drives a run knows."""

    worker: int
    now: int
    signal: int
    request: str | None
    known: dict[str, str]  # waits as it has seen them


@dataclass(slots=True)
class ModelRun:
    branches: list[list[Step]]
    wake: int | None
    born: Moment = (0, 0)
    state: str = "queued"
    request: str | None = None
    fence: int = 0
    signal: int = 0
    worker: int | None = None
    lease: int = 0
    claims: int = 0
    waits: dict[str, str] = field(default_factory=dict[str, str])
    due: dict[str, int] = field(default_factory=dict[str, int])
    had: set[int] = field(default_factory=set[int])  # events that answered a wait of it
    driver: Driver | None = None

    # -- what anybody may see ----------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> Iterator[Step]:
        return (step for branch in self.branches for step in branch)

    @property
    def finished(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    def working(self) -> set[str]:
        """Ids of the work under way with its driver."""
        return {step.id for step in self.steps if step.kind == "work" and step.attempt and not step.done} if self.driver else set()

    @property
    def torn(self) -> bool:
        """Its driver is about to hear of a cancel: an answer that it hears of at the same time may still end its step, or not."""
        return self.driver is not None and self.request == "cancel"

    def has_news(self) -> bool:
        """An answer or event that its driver has not heard of."""
        return self.driver is not None and any(self.waits[place] != state for place, state in self.driver.known.items())

    def told(self) -> dict[str, object]:
        rows = {step.position: step.row for step in self.steps if step.row}
        seen = {"state": self.state, "request": self.request, "fence": self.fence, "signal": self.signal, "worker": self.worker}
        return {**seen, "wakes": self.wake is not None, "steps": rows, "waits": dict(self.waits)}

    def claimable(self, now: int, living: set[int] | None) -> bool:
        """`living`: workers whose lock stands; None: Postgres has just been started, and nobody's lock says anything yet."""
        if self.state == "running":
            gone = self.worker is not None and self.worker > 0 and living is not None and self.worker not in living
            return gone or not 0 <= self.lease - now <= 2 * LEASE
        return self.state in ("queued", "waiting") and self.wake is not None and self.wake <= now

    # -- driving -----------------------------------------------------------------------------------------------------------------

    def claim(self, worker: int, now: int, events: list[Event]) -> None:
        self.claims += self.state == "running"
        self.state, self.worker, self.lease, self.wake = "running", worker, now + LEASE, None
        self.fence += 1
        for step in self.steps:
            step.attempt = 0
        self.driver = Driver(worker, now, self.signal, self.request, dict(self.waits))
        self.go(events)

    def hear(self, events: list[Event]) -> None:
        assert self.driver is not None
        self.driver.signal, self.driver.request, self.driver.known = self.signal, self.request, dict(self.waits)
        self.go(events)

    def go(self, events: list[Event]) -> None:
        driver = self.driver
        assert driver is not None
        if driver.request == "cancel":
            self.end("cancelled")
            return
        for branch in self.branches:
            for step in branch:
                if not step.done and not self.advance(step, driver, events):
                    break
        if all(step.done for step in self.steps):
            self.end("succeeded")
        elif not self.working() and driver.signal != self.signal:
            self.hear(events)
        elif not self.working():
            self.park(driver)

    def advance(self, step: Step, driver: Driver, events: list[Event]) -> bool:
        """One step as far as it comes; whether it is done."""
        if not step.attempt:
            if driver.request == "pause":
                return False
            again = step.row is not None and step.row[1] == "waiting"
            step.attempt = (step.row[0] if step.row else 0) + (not again)
            if step.kind != "work":
                self.begin_wait(step, driver, events)
        elif step.kind == "hear" and driver.known.get(step.place) == "open":
            pass  # it has looked back when it began to wait
        if step.kind == "work" or driver.known[step.place] == "open":
            return False
        step.row = (step.attempt, "succeeded")
        return True

    def begin_wait(self, step: Step, driver: Driver, events: list[Event]) -> None:
        if step.place not in self.waits:
            self.waits[step.place], step.row = "open", (step.attempt, "waiting")
            if step.kind == "time":
                self.due[step.place] = driver.now + TIMER
        missed = [n for n, (sent, name) in enumerate(events) if name == step.id and sent >= self.born and n not in self.had]
        if step.kind == "hear" and self.waits[step.place] == "open" and missed:
            self.waits[step.place] = "resolved"
            self.had.add(missed[0])
        if step.kind == "time" and self.waits[step.place] == "open" and self.due[step.place] <= driver.now:
            self.waits[step.place] = "expired"
        driver.known[step.place] = self.waits[step.place]

    def park(self, driver: Driver) -> None:
        if driver.request == "pause":
            self.state, self.request = "paused", None
        else:
            dues = [self.due[step.place] for step in self.steps if step.kind == "time" and step.attempt and not step.done]
            self.state, self.wake = "waiting", min(dues, default=None)
        self.put_down()

    def put_down(self) -> None:
        self.worker, self.driver, self.claims = None, None, 0

    def end(self, state: str) -> None:
        """What was under way is cancelled."""
        for step in self.steps:
            if (
                step.attempt
                and not step.done
                and state != "succeeded"
                and (step.row is None or step.row[1] != "failed" or step.row[0] < step.attempt)
            ):
                step.row = (step.attempt, "cancelled")
            elif step.row and step.row[1] == "waiting":
                step.row = (step.row[0], "cancelled")
        self.waits = {place: "cancelled" if there == "open" else there for place, there in self.waits.items()}
        self.state, self.request, self.wake = state, None, None
        self.put_down()

    def work_ends(self, position: str, ok: bool, events: list[Event]) -> None:
        step = next(step for step in self.steps if step.position == position)
        step.row = (step.attempt, "succeeded" if ok else "failed")
        if ok:
            self.go(events)
        else:
            self.end("failed")

    # -- what people and the world do --------------------------------------------------------------------------------------------

    def answer(self, place: str, now: int) -> None:
        self.waits[place] = "resolved"
        self.signal += 1
        if self.state in ("waiting", "queued"):
            self.wake = now

    def event(self, number: int, name: str, now: int) -> None:
        """It answers the step that waits for it; otherwise it is kept."""
        for step in self.steps:
            if step.kind == "hear" and step.id == name and self.waits.get(place := self.last_place(step)) == "open":
                self.answer(place, now)
                self.had.add(number)

    def last_place(self, step: Step) -> str:
        attempt = step.row[0] if step.row else 1
        return step.position + (f"~{attempt}" if attempt > 1 else "")

    def may(self, action: str) -> bool:
        if action == "resume":
            return self.state == "paused" or (self.state == "running" and self.request == "pause")
        if action == "retry":
            return self.state in ("failed", "cancelled")
        return not self.finished and (action == "cancel" or (self.state != "paused" and self.request != "cancel"))

    def ask(self, action: str, now: int) -> None:
        self.signal += 1
        if action == "cancel":
            self.request = "cancel"
            if self.state != "running":
                self.state, self.wake = "queued", now
        elif action == "pause" and self.state == "running":
            self.request = "pause"
        elif action == "pause":
            self.state, self.request, self.wake = "paused", None, None
        else:
            self.request = None
            if self.state != "running":
                self.state, self.wake, self.claims = "queued", now, 0 if action == "retry" else self.claims
