"""Property: random definitions run as a naive reading of the rules says, for every outcome of their conditions, fused or not."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from graphs import runs, tasks
from server.views import runs as views
from store import node_runs, waits
from store.errors import Conflict
from store.runs import Run
from tests.engine.conftest import House
from tests.engine.generated import graph, vectors
from tests.engine.reference import CUT_OFF, Reading, readings

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P7")]
AT_ONCE = 12
MOST = 200
PATIENCE = 60  # seconds that a run may take, with all its questions
BY_THE_CLOCK = frozenset(
    {"created_at", "started_at", "finished_at", "resolved_at", "due_at", "retry_at", "duration", "seconds", "after", "at"}
)
NAMES = frozenset({"run_id", "id", "task_id", "effect_key"})  # differ from run to run


@dataclass(frozen=True, slots=True)
class Case:
    """A definition with an input."""

    seed: int
    number: int
    definition: dict[str, Any]
    given: dict[str, Any]
    told: list[Reading]

    @property
    def sure(self) -> frozenset[str]:
        """Positions of which the rules leave nothing open, where they leave open nothing that these depend on."""
        return frozenset(p for p, states in self.told[0].states.items() if len(states) == 1) if len(self.told) == 1 else frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a user can see of a finished run, without times and ids; by position where it belongs to one."""

    run: Run
    states: dict[str, str]
    by_position: dict[str, dict[str, list[Any]]]
    whole: dict[str, Any]


def cases(seeds: Iterator[int], graphs: int) -> list[Case]:
    """That many graphs with each of their outcomes. A graph is passed over when the rules leave open more than `MOST` ways for one of
    them (a few races in a loop do): who lists only some of the ways cannot say that a run is wrong."""
    found: list[Case] = []
    while graphs:
        seed = next(seeds)
        definition, flags = graph(seed)
        own = [Case(seed, n, definition, given, readings(definition, given, most=MOST)) for n, given in enumerate(vectors(flags))]
        if all(len(case.told) < MOST for case in own):
            found += own
            graphs -= 1
    return found


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in BY_THE_CLOCK | NAMES}  # pyright: ignore[reportUnknownVariableType]
    return [timeless(part) for part in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


async def finished(house: House, case: Case) -> Run:
    """Starts a run and answers whatever it asks."""
    run = await house.start(case.definition, case.given)
    async with asyncio.timeout(PATIENCE):
        while True:
            run = await runs.wait(house.runtime, house.actor, run.id, seconds=2)
            if run.state not in ("queued", "running", "waiting"):
                return run
            for task in (await tasks.page(house.runtime, house.actor, run_id=run.id)).items:
                with suppress(Conflict):  # withdrawn meanwhile: a sibling has failed or won
                    await tasks.answer(house.runtime, house.actor, task.id, {"approved": True})


async def seen(house: House, run: Run) -> Seen:
    trace = await node_runs.trace(house.actor.tenant, run.id, limit=100_000, after=None)
    parts: defaultdict[str, dict[str, list[Any]]] = defaultdict(lambda: {"steps": [], "events": [], "waits": []})
    for step in trace:
        row = {name: getattr(step, name) for name in ("attempt", "state", "input", "output", "error", "taken")}
        parts[step.position]["steps"] += [row, timeless(views.step_view(step)), timeless(views.step_line(step))]
    for event in await runs.events(house.runtime, house.actor, run.id, limit=100_000):
        if event.type != "step.started":  # told of quick steps only when they turn out to be slow
            parts[event.position or ""]["events"].append((event.type, event.level, event.message))
    for wait in await waits.of_run(house.actor.tenant, run.id):
        parts[wait.position.split("#")[0]]["waits"].append((wait.position, wait.kind, wait.state, wait.event_name, wait.payload))
    parts[""]["events"] = [
        event for event in parts[""]["events"] if event[0] != "run.waiting"
    ]  # how often it is put down is a matter of speed
    return Seen(run, {step.position: step.state for step in trace}, dict(parts), timeless(views.run_view(run)))


def wrong(case: Case, found: Seen) -> str | None:
    """How the run fits none of the readings; those of the nearest are told."""
    run = found.run
    error: dict[str, Any] = run.error or {}
    lists = [told.differences(run.state, run.output, error.get("position"), found.states) for told in case.told]
    return None if [] in lists else f"seed {case.seed}/{case.number}: {min(lists, key=len)} {error}"


def unlike(case: Case, one: Seen, other: Seen) -> str | None:
    """What a user sees differently in two runs of the same, as far as the rules determine it."""
    if len(case.told) > 1:
        return None
    places = [p for p in sorted(case.sure) if one.by_position.get(p) != other.by_position.get(p)]
    if not any(states & CUT_OFF for states in case.told[0].states.values()):
        places += [p for p in ("", *one.by_position, *other.by_position) if one.by_position.get(p) != other.by_position.get(p)]
        places += ["the run"] if one.whole != other.whole else []
    return f"seed {case.seed}/{case.number}: fused and unfused differ at {places}" if places else None


async def run_all(house: House, listed: list[Case], *, fused: bool) -> list[Seen]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Seen:
        async with limit:
            return await seen(house, await finished(house, case))

    async with house.opened(fused=fused) as house.runtime:
        return await asyncio.gather(*(one(case) for case in listed))


async def differences(house: House, listed: list[Case]) -> list[str]:
    fused = await run_all(house, listed, fused=True)
    unfused = await run_all(house, listed, fused=False)
    told = [wrong(case, found) for ways in (fused, unfused) for case, found in zip(listed, ways, strict=True)]
    told += [unlike(case, one, other) for case, one, other in zip(listed, fused, unfused, strict=True)]
    return [text for text in told if text]


async def test_random_graphs_run_as_the_rules_say_fused_or_not(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(10**6)
    listed = cases(itertools.count(seed), 150)
    found = await differences(house, [random.choice(some) for some in by_seed(listed)])
    with capsys.disabled():
        print(f"\n150 random graphs from seed {seed}: {len(found)} differences")
    assert found == []


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_two_thousand_random_graphs_with_every_branch_outcome(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[str] = []
    total = sure = positions = 0
    seeds = itertools.count()
    for _ in range(20):
        listed = cases(seeds, 100)
        found += await differences(house, listed)
        total, sure = total + len(listed), sure + sum(len(case.told) == 1 for case in listed)
        positions += sum(len(case.told[0].states) for case in listed)
    with capsys.disabled():
        print(
            f"\n2,000 random graphs, {total:,} branch outcomes ({positions:,} steps), each fused and unfused: {len(found)} differences"
            f" ({sure / total:.0%} of the outcomes are determined by the rules in every detail)"
        )
    assert found == []


def by_seed(listed: list[Case]) -> list[list[Case]]:
    found: defaultdict[int, list[Case]] = defaultdict(list)
    for case in listed:
        found[case.seed].append(case)
    return list(found.values())
