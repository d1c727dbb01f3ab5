"""What a user sees of the control flow: what runs, what is skipped, in which order, and what comes out."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs
from tests.engine.conftest import House, flow, put

pytestmark = pytest.mark.anyio


async def states(house: House, run_id: str) -> dict[str, str]:
    return {step.position: step.state for step in await runs.trace(house.runtime, house.actor, run_id)}


async def test_a_chain_hands_values_on(running: House) -> None:
    run = await running.run(
        flow(put("a", x="{{ input.n }}"), put("b", y="{{ nodes.a.x + 1 }}"), edges=[("a", "b")], output={"y": "{{ nodes.b.y }}"}), {"n": 1}
    )
    assert (run.state, run.output, run.error) == ("succeeded", {"y": 2}, None)


async def test_a_join_after_an_untaken_branch_fires(running: House) -> None:
    definition = flow(
        {"id": "pick", "type": "if", "config": {"condition": "input.big"}},
        put("yes"),
        put("no"),
        put("after", got="{{ nodes.no.at }}"),
        edges=[("pick", "yes", {"branch": "true"}), ("pick", "no", {"branch": "false"}), ("yes", "after"), ("no", "after")],
    )
    run = await running.run(definition, {"big": False})
    assert run.state == "succeeded"
    assert await states(running, run.id) == {"pick": "succeeded", "yes": "skipped", "no": "succeeded", "after": "succeeded"}
    assert run.output == {"got": "no"}


async def test_foreach_keeps_the_order_and_joins_inside_each_pass(running: House) -> None:
    body = {
        "nodes": [
            {"id": "odd", "type": "if", "config": {"condition": "n % 2 == 1"}},
            put("left", v="{{ n * 10 }}"),
            put("right", v="{{ n }}"),
            put("both", v="{{ nodes.left.v or nodes.right.v }}"),
        ],
        "edges": [
            {"from": "odd", "to": "left", "branch": "true"},
            {"from": "odd", "to": "right", "branch": "false"},
            {"from": "left", "to": "both"},
            {"from": "right", "to": "both"},
        ],
    }
    each = {"id": "each", "type": "foreach", "config": {"items": "{{ input.ns }}", "as": "n", "concurrency": 3, "body": body}}
    run = await running.run(flow(each, output="{{ [i.v for i in nodes.each.items] }}"), {"ns": [1, 2, 3, 4, 5]})
    assert (run.error, run.output) == (None, [10, 2, 30, 4, 50])


async def test_foreach_over_nothing_goes_on(running: House) -> None:
    each: dict[str, Any] = {"id": "each", "type": "foreach", "config": {"items": [], "body": {"nodes": [put("x")]}}}
    run = await running.run(flow(each, put("after"), edges=[("each", "after")]))
    assert run.output == {"at": "after"}
