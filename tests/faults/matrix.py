"""The crash matrix: a workflow is run once undisturbed, then once for every commit and every call of that run with a worker that dies there
and another that takes over. A person who knows the ledger answers what the run asks. At the end the ledger and the run are compared.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from graphs import authoring, runs, signals, steering, tasks
from graphs.models import ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.pinning import pinned
from memory import spaces
from memory.embedding import built_in
from store import chats
from store.chats import NewMessage
from store.errors import Conflict
from store.ids import new_id
from store.memories import in_space
from store.queries import Query
from store.runs import Run
from tests.engine.conftest import House
from tests.faults import workers
from tests.faults.furnishing import furnished
from tests.faults.ledger import Arrival, Ledger
from tests.faults.scenarios import Scenario
from tests.models.loopback import KEY, ModelServer

SECONDS = 120.0  # for the whole life of a run, on a busy machine
TOLD = 20  # deaths between two lines about how far it is
GIVEN = json.dumps({"status": 200, "ok": True, "headers": {}, "body": {}})  # what a person says that a call has answered
DOUBT = re.compile(r"(~[0-9]+)?#ambiguous$")  # behind the position of the step that a question is about
FAMILY = b"""WITH RECURSIVE family AS (
  SELECT r.id FROM weft.runs r WHERE r.org_id = %(org_id)s::uuid AND r.input ->> 'tag' = %(tag)s::text) """
INTENTS = Query(
    "intents",
    FAMILY
    + b"""SELECT n.effect_key FROM weft.node_runs n JOIN family f ON f.id = n.run_id
    WHERE n.org_id = %(org_id)s::uuid AND n.effect = 'write-once' AND n.state = 'running'""",
)
ASKED = Query(
    "asked",
    FAMILY
    + b"""SELECT n.effect_key FROM weft.tasks t JOIN family f ON f.id = t.run_id
    JOIN weft.node_runs n ON n.org_id = t.org_id AND n.run_id = t.run_id
      AND n.position = regexp_replace(t.position, '(~[0-9]+)?#ambiguous$', '')
    WHERE t.org_id = %(org_id)s::uuid AND t.kind = 'resolution'""",
)
STATES = Query(
    "states",
    FAMILY
    + b"""SELECT DISTINCT ON (r.parent_position, n.position) concat_ws('>', r.parent_position, n.position) || ' ' || n.state
    FROM weft.node_runs n JOIN family f ON f.id = n.run_id JOIN weft.runs r ON r.org_id = n.org_id AND r.id = n.run_id
    WHERE n.org_id = %(org_id)s::uuid ORDER BY r.parent_position, n.position, n.attempt DESC""",
)
CHILDREN = Query("children", FAMILY + b"SELECT count(*)::int FROM family")
REMEMBERED = Query(
    "remembered",
    b"""SELECT concat_ws(' ', m.kind, m.seq, m.trust, m.retracted_at IS NULL, m.body,
      (SELECT count(*) FROM weft.memory_lineage l WHERE l.org_id = m.org_id AND l.child = m.id),
      (SELECT count(*) FROM weft.memory_mentions x WHERE x.org_id = m.org_id AND x.memory_id = m.id),
      m.retracted_at IS NOT NULL OR EXISTS (SELECT FROM weft.memory_vectors_0 v WHERE v.org_id = m.org_id AND v.memory_id = m.id)) AS told
    FROM weft.memories m JOIN weft.memory_scopes s ON s.org_id = m.org_id AND s.id = m.scope_id
    WHERE m.org_id = %(org_id)s::uuid AND s.name = %(tag)s::text ORDER BY 1""",
)

UNDONE = re.compile(r"~undo\d+")  # names the attempt that is undone, and a person may have asked for another one


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the matrix has found, over all lives."""

    kills: Counter[str] = field(default_factory=Counter[str])  # by when: before, after, calling
    boundaries: int = 0
    lost: list[str] = field(default_factory=list[str])
    silent: list[str] = field(default_factory=list[str])
    repeats: int = 0  # of effects that may be repeated, always with their own key
    reported: int = 0
    real: int = 0
    arrived: int = 0  # of the ambiguous ones, those whose call had taken effect
    wrong: list[str] = field(default_factory=list[str])

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.silent, *self.wrong]

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        for name in ("boundaries", "repeats", "reported", "real", "arrived"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("lost", "silent", "wrong"):
            getattr(self, name).extend(getattr(other, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Where the worker dies: at its n-th commit, or while its n-th call is under way."""

    at: int = 0
    when: workers.When | Literal["calling"] = "before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is left of a life and must not depend on deaths."""

    run: tuple[str, Any, Any]
    beside: tuple[str, Any, Any] | None
    states: frozenset[str]
    family: int
    remembered: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Lane:
    """A house with a database of its own, in which one life goes on at a time. Its engine drives only as the heir."""

    house: House
    url: str
    book: Ledger
    models: ModelServer | None = None
    lives: int = 0

    def orders(self, **more: Any) -> workers.Orders:
        model_url = self.models.url if self.models else ""
        return workers.Orders(url=self.url, locked=True, lease=15.0, model_url=model_url, model_key=KEY, **more)

    async def publish(self, name: str, scenario: Scenario) -> None:
        """The definitions of a scenario, checked and published."""
        for suffix, make in ((None, scenario.child), ("", scenario.make), ("-beside", scenario.beside)):
            if make:
                definition = make(self.book.port)
                definition = definition if suffix is None else {**definition, "name": name + suffix}
                made, report = await authoring.create(self.house.runtime, self.house.actor, definition)
                assert made is not None, (name, report)
                await authoring.publish(self.house.runtime, self.house.actor, made.name)


@asynccontextmanager
async def opened(house: House, models: ModelSettings) -> AsyncGenerator[None]:
    """The house with an engine that drives nothing yet."""
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",))))
        house.runtime = await stack.enter_async_context(furnished(house.database, house.evaluator, outbound, models))
        await stack.enter_async_context(house.runtime.engine)
        yield


class Life:
    """One run of a scenario from its start to its end."""

    def __init__(self, lane: Lane, name: str, scenario: Scenario) -> None:
        self.lane, self.name, self.scenario = lane, name, scenario
        lane.lives += 1
        self.tag = f"{name}-{lane.lives}"
        self.runtime, self.actor = lane.house.runtime, lane.house.actor
        self.intents: set[str] = set()  # of calls that must not be repeated, under way at the death
        self.arrived = 0  # of them, those that had taken effect
        self.died = False
        self.talk: tuple[str, str] | None = None  # a chat, and the answer that is written in it

    async def undisturbed(self) -> tuple[Ending, int]:
        """How the scenario ends, and how many commits its worker makes."""
        count = workers.counter()
        worker = workers.start(self.lane.orders(count=count))
        try:
            ending = await self.whole()
        finally:
            workers.end(worker)
        return ending, count.value

    async def disturbed(self, fate: Fate) -> Ending:
        commit = fate.when != "calling"
        doomed = workers.start(self.lane.orders(at=fate.at, when=fate.when) if commit else self.lane.orders())
        if not commit:
            self.lane.book.watched[self.tag] = _trap(doomed, fate.at)
        finishing = asyncio.create_task(self.whole())
        try:
            while doomed.exitcode is None and not finishing.done():
                await asyncio.sleep(0.005)
            self.died = doomed.exitcode is not None
            if not self.died:
                return await finishing
            await self.seen_dead()
            async with self.runtime.engine.serving(grace=2.0):
                return await finishing
        finally:
            workers.end(doomed)
            finishing.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([finishing])

    async def seen_dead(self) -> None:
        """What there is at the death, before anybody goes on."""
        self.intents = {key.lower() for key in await self.actor.tenant.all(INTENTS, str, tag=self.tag)}
        self.arrived = sum(self.lane.book.has(key) for key in self.intents)

    async def whole(self) -> Ending:
        return await self.lived(await self.started())

    async def started(self) -> tuple[Run, Run | None]:
        """Starts what the scenario needs; nothing is driven by this process."""
        beside = await self._start(f"{self.name}-beside") if self.scenario.beside else None
        if beside:
            await self._until(beside.id, _waits)
        return await self._start(self.name), beside

    async def _start(self, name: str) -> Run:
        if not self.scenario.talks:
            return await runs.start(self.runtime, self.actor, workflow=name, input={"tag": self.tag})
        turn = {"tag": self.tag, **await self._talked()}
        found = (await pinned(self.actor.tenant, name, None)).body
        return await runs.start_definition(
            self.runtime, self.actor, definition=found, input=turn, mode="production", mocks=None, name=name, private=True
        )

    async def _talked(self) -> dict[str, str]:
        """A chat of the person with a message and the answer that is to be written."""
        chat, message, answer = new_id(), new_id(), new_id()
        asked = NewMessage(id=message, parent_id=None, role="user", content=[{"type": "text", "text": "Hi"}], text="Hi")
        async with self.actor.tenant.transaction() as transaction:
            await chats.create(transaction, chat, user_id=self.actor.user_id, title=self.tag)
            await chats.add(transaction, chat, asked)
            blank = NewMessage(id=answer, parent_id=message, role="assistant", content=[], text="", run_id=new_id())
            await chats.add(transaction, chat, blank)
            await chats.move(transaction, chat, answer)
        self.talk = chat, answer
        return {"chat": chat, "message": message, "answer": answer}

    async def lived(self, started: tuple[Run, Run | None]) -> Ending:
        async with asyncio.timeout(SECONDS):
            done = [await self._carried(run) for run in started if run]
        states = await self.actor.tenant.all(STATES, str, tag=self.tag)
        (family,) = await self.actor.tenant.all(CHILDREN, int, tag=self.tag)
        return Ending(
            run=done[0],
            beside=done[1] if len(done) > 1 else None,
            states=frozenset(UNDONE.sub("~undo", state) for state in states),
            family=family,
            remembered=await self._remembered(),
        )

    async def _remembered(self) -> tuple[str, ...]:
        """What is in the conversation of this life, with what it was made of, who it names, and whether it has its vector; or what was
        written in its chat."""
        if self.talk:
            written = await chats.message(self.actor.tenant, self.actor.user_id, *self.talk)
            return (f"{written.state}: {written.text}",) if written else ()
        space = await spaces.active(self.actor.tenant)
        return tuple(await self.actor.tenant.all(in_space(REMEMBERED, space.id), str, tag=self.tag)) if space else ()

    async def _carried(self, run: Run) -> tuple[str, Any, Any]:
        """The end of a run whose questions are answered as they come, and only when nothing else of it moves."""
        while (run := await runs.get(self.runtime, self.actor, run.id)).state not in runs.FINISHED:
            if run.state == "waiting":
                for other in [run, *await self._children(run)]:
                    await self._attend(other)
            await asyncio.sleep(0.01)
        code = run.error["code"] if run.error else None
        return run.state, run.output, code

    async def _children(self, run: Run) -> list[Run]:
        ids = [wait["child_run_id"] for wait in run.waiting_for if wait.get("child_run_id")]
        return [await runs.get(self.runtime, self.actor, id) for id in ids]

    async def _attend(self, run: Run) -> None:
        if run.state != "waiting":
            return
        for wait in run.waiting_for:
            if wait["kind"] == "event" and wait["event_name"] == "paid":
                key = f"{self.tag}-paid"
                await signals.send(self.runtime, self.actor, name="paid", correlation=self.tag, payload={"sum": 5}, idempotency_key=key)
                return
        if self.scenario.action and any(wait.get("event_name") == "never" for wait in run.waiting_for):
            await steering.control(self.runtime, self.actor, run.id, **self.scenario.action)
            return
        for wait in run.waiting_for:
            if "task_id" in wait:
                await self._answer(run, wait["task_id"])

    async def _answer(self, run: Run, task_id: str) -> None:
        task = await tasks.get(self.runtime, self.actor, task_id)
        with suppress(Conflict):  # the run was faster
            await tasks.answer(self.runtime, self.actor, task_id, self._said(run, task.kind, task.position))

    def _said(self, run: Run, kind: str, position: str) -> dict[str, Any]:
        """What the person says. Asked what has become of a call, they look at the ledger."""
        if kind != "resolution":
            return {"approved": True} if kind == "approval" else {"name": "Ada"}
        step = DOUBT.sub("", position)
        happened = self.lane.book.has(f"{run.id}/{step}".lower())
        return {"decision": "happened", "output": GIVEN} if happened else {"decision": "retry"}

    async def _until(self, run_id: str, condition: Callable[[Run], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition(await runs.get(self.runtime, self.actor, run_id)):
                await asyncio.sleep(0.01)

    def faults(self) -> list[str]:
        """What else was wrong with this life."""
        return []

    async def asked(self) -> set[str]:
        """Keys of the calls of which the run has said that it does not know."""
        return {key.lower() for key in await self.actor.tenant.all(ASKED, str, tag=self.tag)}


def _waits(run: Run) -> bool:
    return run.state == "waiting"


def _trap(doomed: BaseProcess, at: int) -> Any:
    """Kills the worker while its n-th call is under way: it has taken effect, and nobody hears so."""
    seen = 0

    def arrived(arrival: Arrival) -> bool:
        nonlocal seen
        seen += 1
        if seen == at:
            doomed.kill()
        return seen != at

    return arrived


Tell = Callable[[str], None]


async def matrix(
    lane: Lane, name: str, scenario: Scenario, tell: Tell, *, lived: type[Life] = Life, step: int = 1, first: int = 0
) -> Tally:
    """Every death of one scenario, or each `step`-th from the `first` on. `tell` hears how far it is."""
    await lane.publish(name, scenario)
    await spaces.register(lane.house.actor.tenant, built_in())  # or the first life alone has a commit for it
    calm = lived(lane, name, scenario)
    ending, commits = await calm.undisturbed()
    assert ending.run[0] == scenario.ends, (name, ending)
    wanted = Counter(seen.name for seen in lane.book.of(calm.tag))
    once = {seen.name for seen in lane.book.of(calm.tag) if seen.method == "POST"}
    calls = sum(seen.tag == calm.tag for seen in lane.book.arrivals)
    tally = Tally(boundaries=commits)
    fates = [Fate(at=at, when=when) for at in range(1, commits + 1) for when in ("before", "after")]
    fates = [*(Fate(at=at, when="calling") for at in range(1, calls + 1)), *fates][first::step]
    for number, fate in enumerate(fates, 1):
        one = await _death(lived(lane, name, scenario), fate, ending, wanted, once)
        for line in one.faults:
            tell(f"  {line}")
        tally.add(one)
        if number % TOLD == 0:
            tell(f"{name}: {number} of {len(fates)} deaths, {len(tally.faults)} faults")
    return tally


async def _death(life: Life, fate: Fate, ending: Ending, wanted: Counter[str], once: set[str]) -> Tally:
    """What one life has come to."""
    tally = Tally()
    try:
        found = await life.disturbed(fate)
    except TimeoutError:
        tally.lost.append(f"{life.name} {fate}: not done within {SECONDS:.0f} s")
        return tally
    if life.died:
        tally.kills[fate.when] += 1
        await _judge(tally, life, fate, wanted, once)
        tally.wrong += life.faults()
        if found != ending:
            tally.wrong.append(f"{life.name} {fate}: {_difference(found, ending)}")
    return tally


async def _judge(tally: Tally, life: Life, fate: Fate, wanted: Counter[str], once: set[str]) -> None:
    """Compares what really happened with what had to, and what the run said with what it could know."""
    place = f"{life.name} {fate.when} {fate.at}: "
    done = life.lane.book.of(life.tag)
    counted = Counter(seen.name for seen in done)
    tally.lost += [place + name for name in wanted if not counted[name]]
    tally.wrong += [place + f"{name} was not to be done" for name in counted if name not in wanted]
    tally.silent += [place + name for name in once if counted[name] > wanted[name]]
    tally.repeats += sum(max(counted[name] - wanted[name], 0) for name in wanted if name not in once)
    tally.wrong += [place + f"{name} has several keys" for name in counted if len({seen.key for seen in done if seen.name == name}) > 1]
    asked = await life.asked()
    tally.reported += len(asked)
    tally.real += len(life.intents)
    tally.arrived += life.arrived
    if asked != life.intents:
        tally.wrong.append(place + f"said ambiguous of {sorted(asked)}, was {sorted(life.intents)}")


def _difference(found: Ending, wanted: Ending) -> str:
    told = [f"{name} {getattr(found, name)} and not {getattr(wanted, name)}" for name in ("run", "beside", "family", "remembered")]
    told = [
        line
        for line, name in zip(told, ("run", "beside", "family", "remembered"), strict=True)
        if getattr(found, name) != getattr(wanted, name)
    ]
    more, less = sorted(found.states - wanted.states), sorted(wanted.states - found.states)
    return "; ".join([*told, *([f"has {more}, lacks {less}"] if more or less else [])])
