"""Histories of starts, claims, crashes, zombies, answers, events, requests and jumps of the clock, on two workers and one Postgres, held
against a small model after every one of them. Faults planted on purpose must be found."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from graphs import compiler
from graphs.engine import conduct
from graphs.engine import step as stepping
from store import journal
from store.queries import Query
from tests.conftest import Server
from tests.engine.model import LEASE, Event, ModelRun, Moment, Step
from tests.engine.world import TWICE, World, world

pytestmark = [pytest.mark.promise("P1"), pytest.mark.promise("P7")]
PATIENCE = 10.0  # seconds in which what must happen has happened
LOADED = (compiler, conduct)  # LangGraph, which an engine imports when it first drives a run: that takes a second
KIND = st.sampled_from(["work", "work", "ask", "hear", "time"])
BRANCHES = st.lists(st.lists(KIND, min_size=1, max_size=3), min_size=1, max_size=3)
JUMPS = st.sampled_from([25, 25, 130, 7200, -25, -130])
PLACE = st.integers(0, 1)
PICK = st.integers(0, 7)


@dataclass(slots=True)
class House:
    """What all histories of a test share."""

    runner: asyncio.Runner
    world: World
    patience: float = PATIENCE
    counts: Counter[str] = field(default_factory=Counter[str])
    divergences: list[int] = field(default_factory=list[int])  # histories in which one was found, by number
    phases: tuple[Phase, ...] = (Phase.generate,)  # shrinking costs `patience` for every attempt


class Histories(RuleBasedStateMachine):
    house: House  # set by the test

    def __init__(self) -> None:
        super().__init__()
        self.now = self.moments = 0
        self.events: list[Event] = []
        self.models: dict[str, ModelRun] = {}
        self.diverged = False
        self.house.counts["histories"] += 1

    def run(self, work: Any) -> Any:
        return self.house.runner.run(work)

    @property
    def world(self) -> World:
        return self.house.world

    def pick(self, number: int, allowed: Callable[[ModelRun], object]) -> tuple[str, ModelRun]:
        fitting = [(id, model) for id, model in self.models.items() if allowed(model)]
        return fitting[number % len(fitting)]

    def some(self, allowed: Callable[[ModelRun], object]) -> bool:
        return any(allowed(model) for model in self.models.values())

    def moment(self) -> Moment:
        self.moments += 1
        return (self.now, self.moments)

    def driven(self) -> bool:
        return self.some(lambda model: model.state == "running")

    def worn_out(self) -> bool:
        """One more worker that dies without progress, and recovery might give a run up."""
        return self.some(lambda model: model.claims > 3)

    # -- the house ---------------------------------------------------------------------------------------------------------------

    @initialize(locked=st.tuples(st.booleans(), st.booleans()))
    def open(self, locked: tuple[bool, bool]) -> None:
        for place, one in enumerate(locked):
            self.run(self.world.hire(place, locked=one))

    @precondition(lambda self: len(self.models) < 3)
    @rule(branches=BRANCHES, nested=st.booleans())
    def start(self, branches: list[list[str]], nested: bool) -> None:
        prefix = "par/" if nested else ""
        steps = [[Step(kind, f"{prefix}b{b}s{s}") for s, kind in enumerate(branch)] for b, branch in enumerate(branches)]
        id = self.run(self.world.start(steps, nested))
        self.models[id] = ModelRun(steps, wake=self.now, born=self.moment())

    @precondition(lambda self: self.models and not self.worn_out())
    @rule(place=PLACE)
    def claim(self, place: int) -> None:
        living = {worker.number for worker in self.world.workers if worker.lock} if self.world.settled_in() else None
        for model in self.models.values():
            if model.claimable(self.now, living):
                model.claim(self.world.workers[place].number, self.now, self.events)
        self.run(self.world.claim(place))

    @precondition(lambda self: self.driven() and not self.worn_out())
    @rule(place=PLACE)
    def take_over(self, place: int) -> None:
        """The leases have run out, though their workers live."""
        self.clock(130)
        self.claim(place)

    @rule(place=PLACE, locked=st.booleans())
    def crash(self, place: int, locked: bool) -> None:
        self.run(self.world.kill(place))
        self.forget(self.world.workers[place].number)
        self.run(self.world.hire(place, locked=locked))

    def forget(self, worker: int) -> None:
        for model in self.models.values():
            if model.worker == worker:
                model.driver = None

    @rule(place=PLACE)
    def renew(self, place: int) -> None:
        """The worker's leases, and what it hears by that."""
        number = self.world.workers[place].number
        for model in self.models.values():
            if model.worker == number and model.driver:
                model.lease = self.now + LEASE
                if model.signal > model.driver.signal:
                    model.hear(self.events)
        self.run(self.world.renew(place))

    def under_way(self, *, zombie: bool | None = None) -> list[tuple[int, str, str]]:
        """Work under way: worker, run and step; only with those who drive the run, or only with those who did once."""
        found = [(worker.number, *key) for worker in self.world.workers for key in sorted(worker.gates.open)]
        return [each for each in found if zombie is None or zombie is (self.models[each[1]].worker != each[0])]

    @precondition(lambda self: self.under_way(zombie=False))
    @rule(number=PICK, ok=st.sampled_from([True, True, True, False]))
    def work_ends(self, number: int, ok: bool) -> None:
        under_way = self.under_way(zombie=False)
        worker, run_id, id = under_way[number % len(under_way)]
        model = self.models[run_id]
        model.work_ends(next(step.position for step in model.steps if step.id == id), ok, self.events)
        self.run(let_go(self.gate(worker, run_id, id), ok))

    @precondition(lambda self: self.under_way(zombie=True))
    @rule(number=PICK, ok=st.booleans())
    def zombie_ends_work(self, number: int, ok: bool) -> None:
        """Its run is driven by another worker by now: nothing comes of it."""
        under_way = self.under_way(zombie=True)
        self.house.counts["zombies that went on"] += 1
        self.run(let_go(self.gate(*under_way[number % len(under_way)]), ok))

    def gate(self, worker: int, run_id: str, id: str) -> asyncio.Future[bool]:
        return next(each.gates.open[run_id, id] for each in self.world.workers if each.number == worker)

    @rule(seconds=JUMPS)
    def clock(self, seconds: int) -> None:
        self.now += seconds
        self.world.jump(seconds)

    # -- people and events -------------------------------------------------------------------------------------------------------

    def open_tasks(self) -> list[tuple[str, str]]:
        return [
            (id, place)
            for id, model in self.models.items()
            for step in model.steps
            if step.kind == "ask" and not model.finished and not model.torn and model.waits.get(place := model.last_place(step)) == "open"
        ]

    @precondition(lambda self: self.open_tasks())
    @rule(number=PICK)
    def answer(self, number: int) -> None:
        tasks = self.open_tasks()
        id, place = tasks[number % len(tasks)]
        self.models[id].answer(place, self.now)
        self.run(self.world.answer(id, place))

    def hearing(self, *, now: bool = False) -> list[str]:
        """Names of events that steps wait for, or would when they come to it."""
        steps = [(model, step) for model in self.models.values() for step in model.steps if step.kind == "hear"]
        awaited = [(model, step.id) for model, step in steps if model.waits.get(model.last_place(step)) == "open"]
        torn = {id for model, id in awaited if model.torn}
        return sorted({id for _, id in awaited} - torn if now else {step.id for _, step in steps} - torn)

    @precondition(lambda self: self.hearing())
    @rule(number=PICK)
    def event(self, number: int) -> None:
        names = self.hearing()
        self.send(names[number % len(names)])

    def send(self, name: str) -> None:
        for model in self.models.values():
            model.event(len(self.events), name, self.now)
        self.events.append((self.moment(), name))
        self.run(self.world.send(name))

    @precondition(lambda self: self.models)
    @rule(action=st.sampled_from(["cancel", "pause", "resume", "resume", "retry"]), number=PICK)
    def request(self, action: str, number: int) -> None:
        def allowed(model: ModelRun) -> bool:
            return model.may(action) and not (action == "cancel" and model.has_news())

        if self.some(allowed):
            id, model = self.pick(number, allowed)
            model.ask(action, self.now)
            self.run(self.world.control(id, action))

    # -- what must be true -------------------------------------------------------------------------------------------------------

    @invariant()
    def model_and_database_agree(self) -> None:
        self.house.counts["rules"] += 1
        problems = self.run(self.world.settles(self.models, self.house.patience))
        problems += [f"done twice: {row}" for row in self.world.admin.execute(TWICE).fetchall()]
        if problems:
            self.diverged = True
            self.house.divergences.append(self.house.counts["histories"])
        assert not problems, "; ".join(problems)

    @invariant()
    def no_wake_up_is_lost(self) -> None:
        """What nobody drives and has news, or should look at the clock, wakes somebody; what waits has something to wait for."""
        for model in self.models.values():
            if model.state == "waiting" and model.wake is None:
                assert any(state == "open" for state in model.waits.values())
            assert model.state != "queued" or model.wake is not None

    def teardown(self) -> None:
        """Whatever has happened: once workers live, time passes and people answer, every run comes to its end."""
        try:
            if not self.diverged:
                self.recover()
        finally:
            self.run(self.world.close())

    def recover(self) -> None:
        self.clock(14_400)
        for _ in range(150):
            for id, model in self.models.items():
                if model.state == "paused":
                    model.ask("resume", self.now)
                    self.run(self.world.control(id, "resume"))
            self.claim(0)
            self.model_and_database_agree()
            if all(model.finished for model in self.models.values()):
                return
            self.help_on()
            self.model_and_database_agree()
            self.renew(0)
            self.model_and_database_agree()
        raise AssertionError(f"not finished: {self.world.told()}")

    def help_on(self) -> None:
        if self.under_way(zombie=False):
            self.work_ends(0, True)
        elif self.open_tasks():
            self.answer(0)
        elif names := self.hearing(now=True):
            self.send(names[0])
        else:
            self.clock(7200)


async def let_go(gate: asyncio.Future[bool], ok: bool) -> None:
    gate.set_result(ok)


@pytest.fixture
def house(server: Server, monkeypatch: pytest.MonkeyPatch) -> Generator[House]:
    monkeypatch.setattr(stepping, "SHOW_AFTER", 1e6)  # that a step is slow must not show: how slow this machine is, is no matter here
    with server.clone() as name, asyncio.Runner() as runner:
        context = world(server, name)
        made = House(runner, runner.run(context.__aenter__()))
        yield made
        runner.run(context.__aexit__(None, None, None))


def histories(house: House, number: int, *, length: int = 25) -> None:
    machine = type("Machine", (Histories,), {"house": house})
    options = settings(
        max_examples=number,
        stateful_step_count=length,
        deadline=None,
        database=None,
        phases=house.phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        print_blob=False,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=options)


def test_histories_agree_with_the_model(house: House) -> None:
    histories(house, 60)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_histories_agree_with_the_model(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    histories(house, 1000)
    with capsys.disabled():
        print("\n" + ", ".join(f"{number:,} {what}" for what, number in house.counts.items()) + ": 0 divergences")


# -- faults planted on purpose -------------------------------------------------------------------------------------------------------


def no_fence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has driven a run once goes on writing."""
    everywhere = {
        b"r.fence = (%(fences)s::bigint[])[array_position(%(run_ids)s::uuid[], r.id)]": b"%(fences)s::bigint[] IS NOT NULL",
        b".fence = x.fence": b".fence IS NOT NULL",
    }
    for name, query in list(journal.SQL.by_name.items()):
        swap(monkeypatch, name, query, everywhere)


def lost_wake_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is put down although it was signalled a moment before."""
    swap(monkeypatch, "settle", journal.SQL.settle, {b"(x.signal IS NULL OR r.signal = x.signal)": b"true"})


def stale_lease(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that has run out is not taken over."""
    planted(house, "r.lease_until < clock", "false")


def lease_of_the_future(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the clock was set back, leases last longer than any worker."""
    planted(house, "r.lease_until > clock + 2 * lease", "false")


def swap(monkeypatch: pytest.MonkeyPatch, name: str, query: Query, parts: dict[bytes, bytes]) -> None:
    text = query.text
    for old, new in parts.items():
        text = text.replace(old, new)
    monkeypatch.setitem(journal.SQL.by_name, name, Query(name, text))


def planted(house: House, old: str, new: str) -> None:
    """Changes the function that claims runs; the house puts it right again."""
    text = claim_function(house.world)
    assert old in text
    house.world.admin.execute(text.replace(old, new).encode())


def claim_function(world: World) -> str:
    found = world.admin.execute("SELECT pg_get_functiondef('weft.claim_runs(int, bigint, interval, timestamptz)'::regprocedure)").fetchone()
    assert found is not None
    return found[0]


@pytest.mark.parametrize("fault", [no_fence, lost_wake_up, stale_lease, lease_of_the_future])
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_planted_fault_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: Callable[[House, pytest.MonkeyPatch], None]
) -> None:
    right = claim_function(house.world)
    house.phases, house.patience = (Phase.generate,), 5.0
    try:
        fault(house, monkeypatch)
        with pytest.raises((AssertionError, Flaky)):  # what goes wrong may go otherwise when it is tried again
            histories(house, 1000)
    finally:
        house.world.admin.execute(right.encode())
    assert house.divergences
    with capsys.disabled():
        print(f"\n{fault.__name__}: found in history {house.divergences[0]}")
