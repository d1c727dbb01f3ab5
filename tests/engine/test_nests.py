"""Ten nests of groups, loops and waits, whose worker dies whenever somebody is asked: each still runs as the rules say."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from graphs import runs, tasks
from graphs.engine import Engine
from store import runs as run_rows
from store.tasks import Task
from tests.engine.conftest import House, flow, put
from tests.engine.generated import FAR, Node
from tests.engine.reference import readings

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P1"), pytest.mark.promise("P7")]
FAILS = "{{ [1][5] }}"
MOMENT = "400ms"  # shorter than what a run is put down for: it waits in its process, and dies with it


def ask(id: str) -> Node:
    return {"id": id, "type": "approval", "config": {"title": id}}


def pause(id: str, duration: str = MOMENT) -> Node:
    return {"id": id, "type": "wait", "config": {"duration": duration}}


def fails(id: str, **more: Any) -> Node:
    return {**put(id, at=id, x=FAILS), **more}


def chain(*nodes: Node, back: tuple[str, str, str] | None = None) -> dict[str, Any]:
    """Nodes one after the other; `back`: an edge that leads back, from, to and when."""
    edges: list[dict[str, Any]] = [{"from": a["id"], "to": b["id"]} for a, b in itertools.pairwise(nodes)]
    if back:
        edges.append({"from": back[0], "to": back[1], "when": back[2], "max_loops": 5})
    return {"nodes": list(nodes), "edges": edges}


def beside(*nodes: Node) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": []}


def group(id: str, type: str, /, more: dict[str, Any] | None = None, **config: Any) -> Node:
    return {"id": id, "type": type, "config": config, **(more or {})}


def each(id: str, body: dict[str, Any], *, items: tuple[bool, ...] = (True, False), places: int = 1) -> Node:
    return group(id, "foreach", items=list(items), concurrency=places, body=body)


def race(id: str, **branches: dict[str, Any]) -> Node:
    return group(id, "race", branches=branches)


def count(id: str, name: str = "k") -> Node:
    return {"id": id, "type": "set", "config": {"values": {"at": id}, "vars": {name: f"{{{{ vars.{name} + 1 }}}}"}}}


NESTS: dict[str, dict[str, Any]] = {
    "a race inside foreach inside try inside a loop of edges": chain(
        count("head"),
        group(
            "safe",
            "try",
            body=beside(each("every", beside(race("first", man=chain(put("r"), ask("a")), clock=chain(put("s"), pause("far", FAR)))))),
            catch=beside(put("caught")),
        ),
        put("tail"),
        back=("safe", "head", "vars.k < 2"),
    ),
    "a question in one branch of a parallel inside while, a failure caught in the other": chain(
        group(
            "again",
            "while",
            condition="index < 2",
            body=beside(
                group(
                    "par",
                    "parallel",
                    branches={
                        "p": chain(put("b"), ask("a"), put("c")),
                        "q": beside(group("safe", "try", body=chain(pause("p"), fails("boom")), catch=beside(put("note")))),
                    },
                )
            ),
        ),
        put("end"),
    ),
    "a finally that asks, after a catch that fails, inside foreach": chain(
        each(
            "every",
            beside(
                group(
                    "safe",
                    "try",
                    {"on_error": "continue"},
                    body=beside(fails("boom")),
                    catch=chain(ask("why"), fails("worse")),
                    **{"finally": chain(pause("p"), ask("sure"))},
                )
            ),
        ),
        put("end"),
    ),
    "foreach in foreach, two at a time, each asking": chain(
        each("outer", chain(put("x"), each("inner", chain(ask("a"), pause("p"), put("y")), places=2)), places=2), put("end")
    ),
    "a race between a question and a month, inside while inside try": chain(
        group(
            "safe",
            "try",
            body=beside(
                group(
                    "again",
                    "while",
                    condition="index < 3",
                    body=chain(race("r", man=chain(pause("p"), ask("a")), month=beside(pause("far", FAR))), put("got")),
                )
            ),
            **{"finally": beside(put("last"))},
        )
    ),
    "a loop of edges around a parallel that asks, entered again from a loop around it": {
        **chain(
            count("outer"),
            count("inner", "j"),
            group("par", "parallel", branches={"p": beside(ask("a")), "q": chain(pause("p"), put("b"))}),
        ),
        "more": [
            {"from": "par", "to": "inner", "when": "vars.j < 2 * vars.k", "max_loops": 2},
            {"from": "par", "to": "outer", "when": "vars.j == 2 * vars.k and vars.k < 2", "max_loops": 1},
        ],
    },
    "a switch in foreach that routes failures to a question": chain(
        each(
            "every",
            {
                "nodes": [
                    group("which", "switch", value="item", cases=[{"name": "yes", "equals": True}]),
                    fails("boom", on_error="route"),
                    ask("a"),
                    put("calm"),
                    group("met", "join", mode="any"),
                ],
                "edges": [
                    {"from": "which", "to": "boom", "branch": "yes"},
                    {"from": "boom", "to": "a", "branch": "error"},
                    {"from": "which", "to": "calm", "branch": "default"},
                    {"from": "a", "to": "met"},
                    {"from": "calm", "to": "met"},
                ],
            },
            items=(True, False, True),
            places=3,
        ),
        put("end"),
    ),
    "a catch that asks and fails into a catch that asks": beside(
        group(
            "out",
            "try",
            body=beside(group("in", "try", body=chain(ask("a"), fails("one")), catch=chain(pause("p"), ask("b"), fails("two")))),
            catch=chain(ask("c"), put("calm")),
        )
    ),
    "a loop of edges inside foreach, asking in every pass": chain(
        each("every", chain(count("n"), ask("a"), pause("p"), put("z"), back=("z", "n", "vars.k == 1 or vars.k == 3")), items=(True, True)),
        put("end"),
    ),
    "a boundary on a group that fails after waiting, leading to a race inside while": {
        "nodes": [
            group("safe", "try", {"boundary": [{"name": "broken", "error": ["expr*"]}]}, body=chain(ask("a"), pause("p"), fails("boom"))),
            group(
                "again",
                "while",
                condition="index < 2",
                body=beside(
                    race("r", man=chain(ask("b"), put("won")), lost=chain(pause("q"), fails("bang")), month=beside(pause("far", FAR)))
                ),
            ),
            put("never"),
        ],
        "edges": [{"from": "safe", "to": "again", "branch": "broken"}, {"from": "safe", "to": "never"}],
    },
}


def nest(name: str) -> dict[str, Any]:
    parts = NESTS[name]
    edges = [*parts["edges"], *parts.get("more", [])]
    return {**flow(*parts["nodes"], vars={"k": 0, "j": 0}), "edges": edges, "name": "nest"}


async def kill(engine: Engine, house: House, run_id: str) -> None:
    """The worker dies; that nobody renews its lease any more is said at once, so that the test need not wait for it."""
    drive, task = engine.driving.get(run_id, (None, None))
    if drive and task:
        drive.unloading = True
        task.cancel()
        await asyncio.wait([task])
        await run_rows.hand_back(house.actor.tenant, run_id, drive.claimed.fence)


async def until_asked_or_over(house: House, run_id: str) -> Sequence[Task]:
    """The open questions; none when the run is over."""
    async with asyncio.timeout(20):
        while True:
            found = (await tasks.page(house.runtime, house.actor, run_id=run_id)).items
            if found or (await runs.get(house.runtime, house.actor, run_id)).state not in ("queued", "running", "waiting"):
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", NESTS)
async def test_nests_run_as_the_rules_say_though_their_worker_dies_at_every_question(house: House, name: str) -> None:
    definition = nest(name)
    async with house.opened() as house.runtime:
        engine = house.runtime.engine
        id = (await house.start(definition)).id
        while open_ := await until_asked_or_over(house, id):
            await kill(engine, house, id)
            await tasks.answer(house.runtime, house.actor, open_[-1].id, {"approved": True})
            await asyncio.sleep(0)
            await kill(engine, house, id)
        run = await runs.get(house.runtime, house.actor, id)
        found = {step.position: step.state for step in await runs.trace(house.runtime, house.actor, id, limit=500)}
    error: dict[str, Any] = run.error or {}
    told = [reading.differences(run.state, run.output, error.get("position"), found) for reading in readings(definition, {})]
    assert [] in told, (error, min(told, key=len))
    assert len(found) > len(definition["nodes"])
