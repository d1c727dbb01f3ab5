"""Property: of a random graph the engine runs exactly the nodes that a naive reading of the rules says, and skips the rest."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from graphs import runs
from tests.engine.conftest import House, flow, put

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P7")]
FAIL = "{{ input.nothing.at[0].all }}{{ [1][5] }}"


def graph(rng: random.Random) -> dict[str, Any]:
    """Forward edges only, some conditional; some nodes fail and go on, some route; some join early."""
    count = rng.randint(1, 9)
    nodes: list[dict[str, Any]] = []
    for number in range(count):
        id = f"n{number}"
        kind = rng.random()
        if kind < 0.15:
            nodes.append({**put(id, x=FAIL), "on_error": rng.choice(["continue", "route"])})
        elif kind < 0.3 and number > 1:
            nodes.append({"id": id, "type": "join", "config": rng.choice([{}, {"mode": "any"}])})
        else:
            nodes.append(put(id))
    edges: list[Any] = []
    for target in range(1, count):
        for source in rng.sample(range(target), k=rng.randint(0, min(3, target))):
            more: dict[str, Any] = {}
            if rng.random() < 0.4:
                more["when"] = rng.choice(["input.yes", "not input.yes", "input.yes or False", f"nodes.n{source} == None"])
            if nodes[source].get("on_error") == "route" and rng.random() < 0.5:
                more["branch"] = "error"
            edges.append((f"n{source}", f"n{target}", more))
    return flow(*nodes, edges=edges)


def expected(definition: dict[str, Any]) -> dict[str, str]:
    """The rules, read naively: in order of the list, since edges only point forward."""
    states: dict[str, str] = {}
    for node in definition["nodes"]:
        into = [edge for edge in definition["edges"] if edge["to"] == node["id"]]
        taken = [edge for edge in into if is_taken(edge, definition, states)]
        if into and not taken:
            states[node["id"]] = "skipped"
        else:
            states[node["id"]] = "failed" if node.get("on_error") else "succeeded"
    return states


def is_taken(edge: dict[str, Any], definition: dict[str, Any], states: dict[str, str]) -> bool:
    source = next(node for node in definition["nodes"] if node["id"] == edge["from"])
    state = states[source["id"]]
    if state == "skipped":
        return False
    routed = state == "failed" and source["on_error"] == "route"
    if (edge.get("branch") == "error") != routed:
        return False
    own = f"nodes.{source['id']} == None"
    return {None: True, "input.yes": True, "not input.yes": False, "input.yes or False": True, own: state == "failed"}[edge.get("when")]


async def differences(house: House, seeds: range) -> list[str]:
    limit = asyncio.Semaphore(16)

    async def one(seed: int) -> str | None:
        definition = graph(random.Random(seed))
        async with limit:
            run = await house.run(definition, {"yes": True})
            found = {step.position: step.state for step in await runs.trace(house.runtime, house.actor, run.id)}
        wanted = expected(definition)
        return None if (run.state, found) == ("succeeded", wanted) else f"seed {seed}: {run.state} {run.error} {found} != {wanted}"

    return [text for text in await asyncio.gather(*(one(seed) for seed in seeds)) if text]


async def test_random_graphs_run_as_the_rules_say(running: House) -> None:
    seed = random.randrange(10**6)
    assert await differences(running, range(seed, seed + 60)) == []


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_two_thousand_random_graphs(running: House, capsys: pytest.CaptureFixture[str]) -> None:
    found = await differences(running, range(2000))
    with capsys.disabled():
        print(f"\n2,000 random graphs against the reference reading: {len(found)} differences")
    assert found == []
