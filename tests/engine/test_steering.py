"""Cancel, pause, resume, retry, timeouts and error handling of nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphs import runs, tasks
from store.errors import Conflict
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import APPROVAL, answer, until

pytestmark = pytest.mark.anyio
FAILS = {"id": "bad", "type": "set", "config": {"values": {"x": "{{ input.missing.y }}", "z": "{{ [1][5] }}"}}}


def failing(**more: Any) -> dict[str, Any]:
    return {**FAILS, **more}


async def test_a_failed_step_fails_the_run_with_code_place_and_message(running: House) -> None:
    run = await running.run(flow(put("a"), failing(), put("c"), edges=[("a", "bad"), ("bad", "c")]))
    assert run.state == "failed"
    assert (run.error["code"], run.error["position"]) == ("expression", "bad")


async def test_on_error_continue_goes_on_and_the_error_can_be_read(running: House) -> None:
    definition = flow(
        failing(on_error="continue"), put("next", why="{{ errors.bad.code }}", what="{{ nodes.bad }}"), edges=[("bad", "next")]
    )
    assert (await running.run(definition)).output == {"why": "expression", "what": None}


async def test_on_error_route_takes_only_the_error_edge(running: House) -> None:
    definition = flow(
        failing(on_error="route"), put("good"), put("handler"), edges=[("bad", "good"), ("bad", "handler", {"branch": "error"})]
    )
    run = await running.run(definition)
    assert run.state == "succeeded"
    assert run.output == {"handler": {"at": "handler"}}


async def test_cancel_ends_a_waiting_run_and_withdraws_its_task(running: House) -> None:
    run = await running.run(flow(APPROVAL), {"what": "x"})
    await runs.control(running.runtime, running.actor, run.id, "cancel")
    await until(running, run.id, "cancelled")
    page = await tasks.page(running.runtime, running.actor, run_id=run.id, state=None)
    assert [task.state for task in page.items] == ["cancelled"]
    assert [step.state for step in await runs.trace(running.runtime, running.actor, run.id)] == ["cancelled"]


async def test_pause_holds_a_run_through_its_answer_until_it_is_resumed(running: House) -> None:
    run = await running.run(flow(APPROVAL, put("ship"), edges=[("ok", "ship")]), {"what": "x"})
    assert (await runs.control(running.runtime, running.actor, run.id, "pause")).state == "paused"
    await answer(running, run.id, {"approved": True})
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "paused"
    await runs.control(running.runtime, running.actor, run.id, "resume")
    assert (await until(running, run.id, "succeeded")).output == {"at": "ship"}


async def test_pausing_a_run_at_work_lets_the_step_finish_and_starts_no_other(running: House) -> None:
    definition = flow({"id": "w", "type": "wait", "config": {"seconds": 2}}, put("ship"), edges=[("w", "ship")])
    run = await running.start(definition)
    await runs.control(running.runtime, running.actor, run.id, "pause")
    run = await until(running, run.id, "paused")
    assert run.steps_done == 0
    await runs.control(running.runtime, running.actor, run.id, "resume")
    assert (await until(running, run.id, "succeeded")).output == {"at": "ship"}


async def test_what_a_finished_run_cannot_do_is_said(running: House) -> None:
    run = await running.run(flow(put("a")))
    for action in ("cancel", "pause", "resume", "retry"):
        with pytest.raises(Conflict, match="the run is succeeded"):
            await runs.control(running.runtime, running.actor, run.id, action)


async def test_retry_keeps_what_succeeded_and_asks_again_where_it_was_waiting(running: House) -> None:
    definition = flow(put("a"), APPROVAL, failing(), edges=[("a", "ok"), ("ok", "bad")])
    run = await running.run(definition, {"what": "x"})
    await answer(running, run.id, {"approved": True})
    await until(running, run.id, "failed")
    await runs.control(running.runtime, running.actor, run.id, "retry")
    await until(running, run.id, "failed")
    trace = await runs.trace(running.runtime, running.actor, run.id)
    assert [(step.position, step.attempt, step.state) for step in trace] == [
        ("a", 1, "succeeded"),
        ("ok", 1, "succeeded"),
        ("bad", 1, "failed"),
        ("bad", 2, "failed"),
    ]


async def test_a_step_has_its_time_and_no_more(running: House) -> None:
    slow = {
        "id": "slow",
        "type": "foreach",
        "timeout": "200ms",
        "config": {"items": [1], "body": {"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 30}}]}},
    }
    run = await running.start(flow(slow))
    run = await until(running, run.id, "failed")
    assert (run.error["code"], run.error["position"]) == ("timeout", "slow")


async def test_a_run_has_its_time_and_no_more(running: House) -> None:
    run = await running.start(flow({"id": "w", "type": "wait", "config": {"seconds": 30}}, settings={"timeout": "200ms"}))
    assert (await until(running, run.id, "failed")).error["code"] == "run_timeout"


async def test_a_run_makes_no_more_steps_than_allowed(running: House) -> None:
    each = {"id": "each", "type": "foreach", "on_error": "continue", "config": {"items": list(range(20)), "body": {"nodes": [put("x")]}}}
    assert (await running.run(flow(each, settings={"max_steps": 10}))).error["code"] == "max_steps"


async def test_stop_ends_the_run_from_inside_a_group(running: House) -> None:
    stop = {"id": "end", "type": "stop", "config": {"output": {"at": "{{ item }}"}}}
    each = {"id": "each", "type": "foreach", "config": {"items": [7, 8], "concurrency": 1, "body": {"nodes": [stop]}}}
    run = await running.run(flow(each, put("never"), edges=[("each", "never")]))
    assert (run.state, run.output) == ("succeeded", {"at": 7})
    assert "running" not in {step.state for step in await runs.trace(running.runtime, running.actor, run.id)}


async def test_a_test_run_uses_mocks_pins_and_samples_and_waits_for_nobody(running: House) -> None:
    definition = flow(
        APPROVAL,
        {"id": "w", "type": "wait", "config": {"duration": "30d"}},
        put("ship"),
        edges=[("ok", "w"), ("w", "ship", {"when": "nodes.ok.approved"})],
    )
    run = await running.run(definition, {"what": "x"}, mode="test")
    assert (run.state, run.output) == ("succeeded", {"at": "ship"})
    run = await running.run(definition, {"what": "x"}, mode="test", mocks={"ok": {"approved": False}})
    assert (run.state, run.output) == ("succeeded", None)


async def test_idempotent_starts_give_one_run(running: House) -> None:
    name = await running.publish(flow(put("a")))
    starts = [runs.start(running.runtime, running.actor, workflow=name, input={}, idempotency_key="k") for _ in range(8)]
    assert len({run.id for run in await asyncio.gather(*starts)}) == 1
    with pytest.raises(Conflict, match="another input"):
        await runs.start(running.runtime, running.actor, workflow=name, input={"n": 1}, idempotency_key="k")


async def test_first_values_of_vars_that_cannot_be_computed_fail_the_run(running: House) -> None:
    run = await running.run(flow(put("a"), vars={"x": "{{ [1][5] }}"}))
    assert (run.state, run.error["code"], run.error["position"]) == ("failed", "expression", "vars")


@pytest.mark.parametrize("node", [{"id": "w", "type": "wait", "config": {"seconds": 30}}, {**APPROVAL, "config": {"title": "x"}}])
@pytest.mark.parametrize("time", ["50ms", "700ms"])
async def test_a_waiting_step_that_runs_out_of_time_fails_once(running: House, node: dict[str, Any], time: str) -> None:
    run = await running.start(flow({**node, "timeout": time}))
    assert (await until(running, run.id, "failed")).error["code"] == "timeout"
    assert len(await runs.trace(running.runtime, running.actor, run.id)) == 1
    assert (await tasks.page(running.runtime, running.actor, run_id=run.id)).total == 0
