"""Waiting: for people, time, events and child runs; holding nothing; and never in the way of other branches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphs import runs, signals, tasks
from store.errors import Conflict, Invalid
from store.runs import Run
from tests.engine.conftest import House, flow, put

pytestmark = pytest.mark.anyio
APPROVAL = {"id": "ok", "type": "approval", "config": {"title": "Ship {{ input.what }}?"}}


async def until(house: House, run_id: str, state: str) -> Run:
    async with asyncio.timeout(20):
        while True:
            run = await runs.wait(house.runtime, house.actor, run_id, seconds=5)
            if run.state == state:
                return run
            await asyncio.sleep(0)


async def answer(house: House, run_id: str, value: Any) -> None:
    (task,) = (await tasks.page(house.runtime, house.actor, run_id=run_id)).items
    await tasks.answer(house.runtime, house.actor, task.id, value)


async def test_an_approval_waits_as_a_row_and_goes_on_with_the_answer(running: House) -> None:
    definition = flow(APPROVAL, put("ship"), put("tell"), edges=[("ok", "ship", {"when": "nodes.ok.approved"}), ("ship", "tell")])
    run = await running.run(definition, {"what": "bikes"})
    assert run.state == "waiting"
    assert run.waiting_for[0]["title"] == "Ship bikes?"
    assert not running.runtime.engine.driving  # the promise is that no process holds it
    await answer(running, run.id, {"approved": True, "comment": "go"})
    run = await until(running, run.id, "succeeded")
    assert run.output == {"at": "tell"}


async def test_a_rejected_approval_skips_what_depends_on_it(running: House) -> None:
    definition = flow(
        APPROVAL, put("ship"), edges=[("ok", "ship", {"when": "nodes.ok.approved"})], output={"shipped": "{{ nodes.ship.at }}"}
    )
    run = await running.run(definition, {"what": "bikes"})
    await answer(running, run.id, {"approved": False})
    assert (await until(running, run.id, "succeeded")).output == {"shipped": None}


async def test_the_first_valid_answer_wins_and_bad_ones_are_refused(running: House) -> None:
    run = await running.run(flow(APPROVAL), {"what": "bikes"})
    (task,) = (await tasks.page(running.runtime, running.actor, run_id=run.id)).items
    with pytest.raises(Invalid, match="approved"):
        await tasks.answer(running.runtime, running.actor, task.id, {"approvd": True})
    answers = [tasks.answer(running.runtime, running.actor, task.id, {"approved": True}) for _ in range(5)]
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(not isinstance(item, BaseException) for item in done) == 1
    assert all(isinstance(item, Conflict) for item in done if isinstance(item, BaseException))


async def test_a_waiting_branch_does_not_hold_up_a_running_one_nor_the_reverse(running: House) -> None:
    """The answer arrives while the sibling is still at work, and its branch goes on at once."""
    slow = {"id": "slow", "type": "wait", "config": {"seconds": 5}}
    definition = flow(
        put("begin"), APPROVAL, put("ship"), slow, put("end"), edges=[("begin", "ok"), ("begin", "slow"), ("ok", "ship"), ("slow", "end")]
    )
    run = await running.run(definition, {"what": "bikes"})
    await answer(running, run.id, {"approved": True})
    async with asyncio.timeout(4.5):
        while (await runs.get(running.runtime, running.actor, run.id)).steps_done < 3:
            await asyncio.sleep(0.02)
    assert (await runs.node(running.runtime, running.actor, run.id, "ship")).state == "succeeded"
    assert (await until(running, run.id, "succeeded")).output == {"ship": {"at": "ship"}, "end": {"at": "end"}}


async def test_an_event_reaches_the_run_with_its_correlation_only(running: House) -> None:
    paid = {"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "{{ input.order }}"}}
    one, two = await running.run(flow(paid), {"order": "A"}), await running.run(flow(paid), {"order": "B"})
    received = await signals.send(running.runtime, running.actor, name="paid", correlation="A", payload={"sum": 5})
    assert received.woken == [one.id]
    assert (await until(running, one.id, "succeeded")).output == {"received": True, "payload": {"sum": 5}}
    assert (await runs.get(running.runtime, running.actor, two.id)).state == "waiting"


async def test_an_event_sent_before_the_run_waits_for_it_is_not_lost(running: House) -> None:
    paid = {"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "A"}}
    run = await running.run(flow(APPROVAL, paid, edges=[("ok", "paid")]), {"what": "x"})
    assert (await signals.send(running.runtime, running.actor, name="paid", correlation="A", payload=7)).woken == []
    await answer(running, run.id, {"approved": True})
    assert (await until(running, run.id, "succeeded")).output == {"received": True, "payload": 7}


async def test_a_timer_wakes_the_run_and_an_approval_times_out_as_configured(running: House) -> None:
    late = {"id": "ok", "type": "approval", "config": {"title": "x", "timeout": "300ms", "on_timeout": "reject"}}
    run = await running.run(flow(late))
    run = await until(running, run.id, "succeeded")
    assert run.output["timed_out"] is True
    assert run.output["approved"] is False
    assert (await tasks.page(running.runtime, running.actor, run_id=run.id)).total == 0


async def test_a_subflow_is_a_run_of_its_own_whose_output_comes_back(running: House) -> None:
    await running.publish({**flow(put("twice", v="{{ input.n * 2 }}")), "name": "child", "input": {"type": "object", "required": ["n"]}})
    sub = {"id": "sub", "type": "subflow", "config": {"workflow": "child", "input": {"n": "{{ input.n }}"}}}
    run = await running.start(flow(sub, output="{{ nodes.sub.output.v }}"), {"n": 21})
    run = await until(running, run.id, "succeeded")
    assert run.output == 42
    children = await runs.page(running.runtime, running.actor, workflow="child")
    assert [child.parent_run_id for child in children.items] == [run.id]


async def test_a_failing_child_fails_its_parent_step_with_the_reason(running: House) -> None:
    await running.publish({**flow({"id": "no", "type": "stop", "config": {"state": "failed", "message": "out of stock"}}), "name": "child"})
    run = await running.start(flow({"id": "sub", "type": "subflow", "config": {"workflow": "child"}}))
    run = await until(running, run.id, "failed")
    assert "out of stock" in run.error["message"]
    assert run.error["position"] == "sub"


async def test_waits_inside_foreach_are_answered_one_by_one(running: House) -> None:
    each = {
        "id": "each",
        "type": "foreach",
        "config": {"items": [1, 2, 3], "body": {"nodes": [{"id": "ok", "type": "approval", "config": {"title": "{{ item }}"}}]}},
    }
    run = await running.run(flow(each, output="{{ [i.comment for i in nodes.each.items] }}"))
    for _ in range(3):
        page = await tasks.page(running.runtime, running.actor, run_id=run.id)
        task = page.items[0]
        await tasks.answer(running.runtime, running.actor, task.id, {"approved": True, "comment": task.title})
    assert (await until(running, run.id, "succeeded")).output == ["1", "2", "3"]
