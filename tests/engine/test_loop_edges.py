"""Edges that lead back: a bounded loop without a group."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.conftest import House, flow, put
from tests.engine.test_groups import counting, positions

pytestmark = pytest.mark.anyio


def looping(*, until: int, max_loops: int, **more: Any) -> dict[str, Any]:
    return flow(
        counting("draft"),
        put("review", ok=f"{{{{ nodes.draft.n >= {until} }}}}", seen="{{ nodes.draft.n }}"),
        put("send", n="{{ nodes.draft.n }}"),
        edges=[
            ("draft", "review"),
            ("review", "draft", {"when": "not nodes.review.ok", "max_loops": max_loops}),
            ("review", "send", {"when": "nodes.review.ok"}),
        ],
        vars={"n": 0},
        **more,
    )


async def test_a_leading_back_edge_repeats_the_steps_between(running: House) -> None:
    run = await running.run(looping(until=3, max_loops=5))
    assert run.output == {"n": 3}
    assert [*await positions(running, run.id)] == ["draft", "review", "draft:2", "review:2", "draft:3", "review:3", "send"]


async def test_a_loop_that_goes_on_too_long_fails_and_says_so(running: House) -> None:
    run = await running.run(looping(until=10, max_loops=2))
    assert (run.state, run.error["code"], run.error["position"]) == ("failed", "loop_limit", "review:3")


async def test_a_loop_may_read_what_its_last_pass_left(running: House) -> None:
    definition = flow(
        put("draft", text="{{ (nodes.draft.text if nodes.draft else '') + 'x' }}"),
        put("review", ok="{{ len(nodes.draft.text) >= 3 }}"),
        edges=[("draft", "review"), ("review", "draft", {"when": "not nodes.review.ok", "max_loops": 9})],
        output="{{ nodes.draft.text }}",
    )
    assert (await running.run(definition)).output == "xxx"


async def test_a_branch_inside_a_loop_may_be_skipped_in_one_pass_and_taken_in_the_next(running: House) -> None:
    definition = flow(
        counting("start"),
        put("even"),
        put("odd"),
        put("end", n="{{ nodes.start.n }}", even="{{ nodes.even }}"),
        put("after"),
        edges=[
            ("start", "even", {"when": "nodes.start.n % 2 == 0"}),
            ("start", "odd", {"when": "nodes.start.n % 2 == 1"}),
            ("even", "end"),
            ("odd", "end"),
            ("end", "start", {"when": "nodes.start.n < 4", "max_loops": 9}),
            ("end", "after", {"when": "nodes.start.n >= 4"}),
        ],
        vars={"n": 0},
    )
    run = await running.run(definition)
    seen = await positions(running, run.id)
    assert [seen[f"odd{mark}"] for mark in ("", ":2", ":3", ":4")] == ["succeeded", "skipped", "succeeded", "skipped"]
    assert [seen[f"even{mark}"] for mark in ("", ":2", ":3", ":4")] == ["skipped", "succeeded", "skipped", "succeeded"]
    assert (run.state, seen["after"]) == ("succeeded", "succeeded")


async def test_loops_inside_loops_begin_anew_in_every_pass(running: House) -> None:
    definition = flow(
        counting("outer"),
        counting("inner"),
        put("check"),
        put("done", n="{{ vars.n }}"),
        edges=[
            ("outer", "inner"),
            ("inner", "inner", {"when": "nodes.inner.n % 4 != 0", "max_loops": 3}),
            ("inner", "check"),
            ("check", "outer", {"when": "vars.n < 12", "max_loops": 5}),
            ("check", "done", {"when": "vars.n >= 12"}),
        ],
        vars={"n": 0},
    )
    run = await running.run(definition)
    assert (run.state, run.output) == ("succeeded", {"n": 12}), run.error


async def test_a_loop_with_a_wait_in_it_goes_on_where_it_was_after_a_restart(house: House) -> None:
    definition = looping(until=3, max_loops=5)
    definition["nodes"].insert(1, {"id": "pause", "type": "wait", "config": {"duration": "1s"}})
    definition["edges"][0] = {"from": "draft", "to": "pause"}
    definition["edges"].append({"from": "pause", "to": "review"})
    async with house.opened() as house.runtime:
        run = await house.run(definition)
    from graphs import runs

    async with house.opened() as house.runtime:
        while run.state != "succeeded":
            run = await runs.wait(house.runtime, house.actor, run.id, seconds=5, until="change")
            assert run.state != "failed", run.error
    assert run.output == {"n": 3}
