"""Cancel, pause, resume, retry, timeouts and error handling of nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphs import history, runs, steering, tasks
from graphs.steering import Filter
from store.errors import Conflict, Invalid, NotFound
from store.queries import Query
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import APPROVAL, answer, until
from tests.faults.ledger import Ledger, ledger

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
    await steering.control(running.runtime, running.actor, run.id, "cancel")
    await until(running, run.id, "cancelled")
    page = await tasks.page(running.runtime, running.actor, run_id=run.id, state=None)
    assert [task.state for task in page.items] == ["cancelled"]
    assert [step.state for step in await runs.trace(running.runtime, running.actor, run.id)] == ["cancelled"]


async def test_pause_holds_a_run_through_its_answer_until_it_is_resumed(running: House) -> None:
    run = await running.run(flow(APPROVAL, put("ship"), edges=[("ok", "ship")]), {"what": "x"})
    assert (await steering.control(running.runtime, running.actor, run.id, "pause")).state == "paused"
    await answer(running, run.id, {"approved": True})
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "paused"
    await steering.control(running.runtime, running.actor, run.id, "resume")
    assert (await until(running, run.id, "succeeded")).output == {"at": "ship"}


async def test_pausing_a_run_at_work_lets_the_step_finish_and_starts_no_other(running: House) -> None:
    definition = flow({"id": "w", "type": "wait", "config": {"seconds": 2}}, put("ship"), edges=[("w", "ship")])
    run = await running.start(definition)
    await steering.control(running.runtime, running.actor, run.id, "pause")
    run = await until(running, run.id, "paused")
    assert run.steps_done == 0
    await steering.control(running.runtime, running.actor, run.id, "resume")
    assert (await until(running, run.id, "succeeded")).output == {"at": "ship"}


async def test_what_a_finished_run_cannot_do_is_said(running: House) -> None:
    run = await running.run(flow(put("a")))
    for action in ("cancel", "pause", "resume", "retry"):
        with pytest.raises(Conflict, match="the run is succeeded"):
            await steering.control(running.runtime, running.actor, run.id, action)


async def test_retry_keeps_what_succeeded_and_asks_again_where_it_was_waiting(running: House) -> None:
    definition = flow(put("a"), APPROVAL, failing(), edges=[("a", "ok"), ("ok", "bad")])
    run = await running.run(definition, {"what": "x"})
    await answer(running, run.id, {"approved": True})
    await until(running, run.id, "failed")
    await steering.control(running.runtime, running.actor, run.id, "retry")
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


# -- skip ------------------------------------------------------------------------------------------------------------------------


async def skip(house: House, run_id: str, node: str, output: Any = None) -> Run:
    await steering.skip(house.runtime, house.actor, run_id, node, output)
    return await runs.wait(house.runtime, house.actor, run_id, seconds=20)


async def test_a_failed_step_that_is_skipped_counts_as_done_with_the_output_given(running: House) -> None:
    run = await running.run(flow(put("a"), failing(), put("c", seen="{{ nodes.bad.x }}"), edges=[("a", "bad"), ("bad", "c")]))
    run = await skip(running, run.id, "bad", {"x": 7})
    assert (run.state, run.output) == ("succeeded", {"seen": 7})
    trace = await runs.trace(running.runtime, running.actor, run.id)
    assert [(step.position, step.attempt, step.state) for step in trace] == [
        ("a", 1, "succeeded"),
        ("bad", 1, "failed"),
        ("bad", 2, "succeeded"),
        ("c", 1, "succeeded"),
    ]
    told = [event for event in await runs.events(running.runtime, running.actor, run.id) if event.type == "run.skip_requested"]
    assert [(event.position, event.message) for event in told] == [("bad", "bad counted as done by Olga")]


async def test_a_step_that_waits_is_skipped_and_its_question_withdrawn(running: House) -> None:
    run = await running.run(flow(APPROVAL, put("ship", ok="{{ nodes.ok.approved }}"), edges=[("ok", "ship")]), {"what": "x"})
    run = await skip(running, run.id, "ok", {"approved": True})
    assert run.output == {"ok": True}
    page = await tasks.page(running.runtime, running.actor, run_id=run.id, state=None)
    assert [task.state for task in page.items] == ["cancelled"]


async def test_a_skip_in_a_paused_run_counts_once_it_is_resumed(running: House) -> None:
    run = await running.run(flow(APPROVAL, put("ship"), edges=[("ok", "ship")]), {"what": "x"})
    await steering.control(running.runtime, running.actor, run.id, "pause")
    assert (await skip(running, run.id, "ok")).state == "paused"
    await steering.control(running.runtime, running.actor, run.id, "resume")
    assert (await until(running, run.id, "succeeded")).output == {"at": "ship"}


async def test_a_step_inside_a_group_is_skipped_and_its_siblings_stay(running: House) -> None:
    body = {"nodes": [put("one", v="{{ 10 / item }}"), put("two", v="{{ nodes.one.v }}")], "edges": [{"from": "one", "to": "two"}]}
    each = {"id": "each", "type": "foreach", "config": {"items": [5, 0, 2], "concurrency": 1, "body": body}}
    run = await running.run(flow(each, put("end", all="{{ nodes.each.items }}"), edges=[("each", "end")]))
    assert run.state == "failed"
    run = await skip(running, run.id, "each[1]/one", {"v": 99})
    assert run.output == {"all": [{"v": 2.0}, {"v": 99}, {"v": 5.0}]}
    trace = await runs.trace(running.runtime, running.actor, run.id)
    assert max(step.attempt for step in trace if step.position == "each[0]/one") == 1


async def test_a_group_is_skipped_whole_with_what_waits_inside_it(running: House) -> None:
    each = {"id": "each", "type": "foreach", "config": {"items": [1, 2], "body": {"nodes": [APPROVAL | {"config": {"title": "?"}}]}}}
    run = await running.run(flow(each, put("end"), edges=[("each", "end")]))
    run = await skip(running, run.id, "each", {"items": [], "count": 0})
    assert run.output == {"at": "end"}
    assert (await tasks.page(running.runtime, running.actor, run_id=run.id)).total == 0


async def test_a_skipped_subflow_ends_its_child_run(running: House) -> None:
    name = await running.publish(flow(APPROVAL | {"config": {"title": "?"}}) | {"name": "child"})
    run = await running.run(flow({"id": "sub", "type": "subflow", "config": {"workflow": name}}))
    await until_children(running, 1)
    assert (await skip(running, run.id, "sub", {"output": 1})).output == {"output": 1}
    page = await runs.page(running.runtime, running.actor, workflow="child")
    assert (await until(running, page.items[0].id, "cancelled")).parent_run_id == run.id


async def until_children(house: House, number: int) -> None:
    async with asyncio.timeout(20):
        while (await runs.page(house.runtime, house.actor, workflow="child", state="waiting")).total < number:
            await asyncio.sleep(0.02)


async def test_a_skipped_choice_leads_where_its_output_says(running: House) -> None:
    choice = {"id": "which", "type": "if", "config": {"condition": "input.missing.y"}}
    edges = [("which", "yes", {"branch": "true"}), ("which", "no", {"branch": "false"})]
    run = await running.run(flow(choice, put("yes"), put("no"), edges=edges))
    assert run.state == "failed"
    for wrong in ({"result": "maybe"}, {}, 5):
        with pytest.raises(Invalid, match="which"):
            await steering.skip(running.runtime, running.actor, run.id, "which", wrong)
    assert (await skip(running, run.id, "which", {"result": False})).output == {"no": {"at": "no"}}


async def test_a_skip_that_cannot_be_is_refused_with_a_reason_and_changes_nothing(running: House) -> None:
    run = await running.run(flow(put("a"), failing(), put("c"), edges=[("a", "bad"), ("bad", "c")]))
    for node, kind, said in (
        ("a", Conflict, "a has succeeded"),
        ("nope", NotFound, "no step 'nope' in this run"),
        ("bda", NotFound, "Did you mean bad"),
        ("each[1]/ship", NotFound, "no step"),
    ):
        with pytest.raises(kind, match=said):
            await steering.skip(running.runtime, running.actor, run.id, node, None)
    with pytest.raises(Invalid, match="at most 1,000,000"):
        await steering.skip(running.runtime, running.actor, run.id, "bad", "x" * 1_000_001)
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "failed"
    done = await running.run(flow(put("a")))
    with pytest.raises(Conflict, match="the run is succeeded: there is nothing left to skip"):
        await steering.skip(running.runtime, running.actor, done.id, "a", None)
    slow = await running.start(flow({"id": "w", "type": "wait", "config": {"seconds": 0.4}}))
    assert slow.state == "running"
    with pytest.raises(Conflict, match="pause it first"):
        await steering.skip(running.runtime, running.actor, slow.id, "w", None)


# -- compensation and doubt ------------------------------------------------------------------------------------------------------

UNDO = {"type": "set", "config": {"values": {"undone": True}}}


async def test_cancel_undoes_what_was_done_when_it_is_told_to(running: House) -> None:
    definition = flow({**put("book"), "compensate": UNDO}, APPROVAL, edges=[("book", "ok")])
    kept, undone = await running.run(definition, {"what": "x"}), await running.run(definition, {"what": "x"})
    await steering.control(running.runtime, running.actor, kept.id, "cancel")
    await steering.control(running.runtime, running.actor, undone.id, "cancel", compensate=True)
    for run, state in ((kept, "succeeded"), (undone, "compensated")):
        await until(running, run.id, "cancelled")
        assert (await runs.node(running.runtime, running.actor, run.id, "book")).state == state


async def test_a_retried_run_does_again_what_was_undone_also_inside_a_group(running: House) -> None:
    each = {"id": "each", "type": "foreach", "config": {"items": [1, 2], "body": {"nodes": [{**put("book"), "compensate": UNDO}]}}}
    definition = flow(
        {**put("first"), "compensate": UNDO},
        each,
        failing(),
        edges=[("first", "each"), ("each", "bad")],
        settings={"compensate": ["failure"]},
    )
    run = await running.run(definition)
    for times in (1, 2):
        trace = await runs.trace(running.runtime, running.actor, run.id, limit=200)
        for position in ("first", "each[0]/book", "each[1]/book"):
            assert [step.state for step in trace if step.position == position] == ["compensated"] * times, position
            assert len([step for step in trace if step.position.startswith(f"{position}~undo")]) == times
        await steering.control(running.runtime, running.actor, run.id, "retry")
        run = await runs.wait(running.runtime, running.actor, run.id, seconds=20)
        assert run.state == "failed"


CUT_OFF = Query(
    "cut_off",
    b"UPDATE weft.node_runs SET state = 'cancelled', output = NULL, taken = NULL"
    b" WHERE org_id = %(org_id)s AND run_id = %(id)s AND node_id = 'pay'",
)


async def failed_with_a_call_cut_off(house: House, book: Ledger, **more: Any) -> Run:
    """A run that failed while its payment was under way: an intent without a receipt."""
    pay: dict[str, Any] = {
        "id": "pay",
        "type": "http",
        "config": {"method": "POST", "url": f"http://127.0.0.1:{book.port}/pay", "json": {}},
        **more,
    }
    run = await house.run(flow(pay, failing(), edges=[("pay", "bad")]))
    await house.actor.tenant.execute(CUT_OFF, id=run.id)
    assert (run.state, sum(book.effects.values())) == ("failed", 1)
    return run


@pytest.mark.promise("P2")
async def test_a_retry_asks_whether_a_call_that_was_cut_off_has_happened(running: House) -> None:
    async with ledger() as book:
        run = await failed_with_a_call_cut_off(running, book)
        for _ in range(2):  # a question that went with the end of the run is asked again
            await steering.control(running.runtime, running.actor, run.id, "retry")
            await until(running, run.id, "waiting")
            [task] = (await tasks.page(running.runtime, running.actor, run_id=run.id)).items
            assert task.kind == "resolution"
            await steering.control(running.runtime, running.actor, run.id, "cancel")
            await until(running, run.id, "cancelled")
        await steering.control(running.runtime, running.actor, run.id, "retry")
        await until(running, run.id, "waiting")
        await answer(running, run.id, {"decision": "happened", "output": "{}"})
        await until(running, run.id, "failed")
        assert sum(book.effects.values()) == 1
        [effect] = [item for item in await history.effects(running.runtime, running.actor, run.id) if item.position == "pay"]
        assert history.in_words(effect) == "confirmed by Olga: it happened"


async def test_a_call_in_doubt_can_be_skipped_as_done(running: House) -> None:
    async with ledger() as book:
        run = await failed_with_a_call_cut_off(running, book)
        await steering.control(running.runtime, running.actor, run.id, "retry")
        await until(running, run.id, "waiting")
        await steering.skip(running.runtime, running.actor, run.id, "pay", {"status": 200})
        await until(running, run.id, "failed")
        assert sum(book.effects.values()) == 1
        assert (await tasks.page(running.runtime, running.actor, run_id=run.id)).total == 0


# -- runs that recovery gave up, and many runs -----------------------------------------------------------------------------------

BURY = Query(
    "bury",
    b"UPDATE weft.runs SET dead_at = clock_timestamp(), claims = 7 WHERE org_id = %(org_id)s AND id = %(id)s",
)


async def test_a_run_that_recovery_gave_up_is_listed_and_requeued(running: House) -> None:
    run = await running.run(flow(put("a", v="{{ input.list[0] }}")))
    alive = await running.run(flow(failing()))
    await running.actor.tenant.execute(BURY, id=run.id)
    page = await runs.page(running.runtime, running.actor, state="dead")
    assert ([item.id for item in page.items], page.total, page.items[0].dead_at is not None) == ([run.id], 1, True)
    assert (await runs.page(running.runtime, running.actor, state="failed")).total == 2
    with pytest.raises(Conflict, match="recovery has not given this run up"):
        await steering.control(running.runtime, running.actor, alive.id, "requeue")
    requeued = await steering.control(running.runtime, running.actor, run.id, "requeue")
    assert requeued.dead_at is None
    await until(running, run.id, "failed")
    assert (await runs.page(running.runtime, running.actor, state="dead")).total == 0


async def swept(house: House, action: Any, filter: Filter, expect: int) -> list[int]:
    return [done async for done in steering.control_many(house.runtime, house.actor, action, filter, expect=expect)]


async def test_many_runs_are_counted_first_and_then_changed_in_batches(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "BATCH", 2)
    waiting = [await running.run(flow(APPROVAL), {"what": str(n)}) for n in range(5)]
    other = await running.run(flow(APPROVAL) | {"name": "other"}, {"what": "x"})
    filter = Filter(workflow="flow", state="waiting")
    counted = await steering.count(running.runtime, running.actor, "cancel", filter)
    assert (counted.count, counted.first) == (5, [run.id for run in waiting])
    assert (await runs.page(running.runtime, running.actor, state="waiting")).total == 6
    assert await swept(running, "cancel", filter, 5) == [2, 4, 5]
    for run in waiting:
        await until(running, run.id, "cancelled")
        events = await runs.events(running.runtime, running.actor, run.id)
        assert [event.message for event in events if event.type == "run.cancel_requested"] == ["Cancel asked by Olga, with others"]
    assert (await runs.get(running.runtime, running.actor, other.id)).state == "waiting"


async def test_a_count_that_has_changed_stops_everything(running: House) -> None:
    run = await running.run(flow(APPROVAL), {"what": "x"})
    with pytest.raises(Conflict, match="finds 1 runs by now, not 2: nothing was done"):
        await swept(running, "cancel", Filter(workflow="flow"), 2)
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "waiting"


async def test_filters_find_by_code_of_the_error_and_by_age(running: House) -> None:
    bad, stopped = await running.run(flow(failing())), await running.run(flow({"id": "s", "type": "stop", "config": {"state": "failed"}}))

    async def found(action: Any = "retry", **filter: Any) -> list[str]:
        return (await steering.count(running.runtime, running.actor, action, Filter(**filter))).first

    assert await found(error_code="expression") == [bad.id]
    assert await found(error_code="stopped") == [stopped.id]
    assert await found(error_code="express") == []
    assert await found(state="failed") == [bad.id, stopped.id]
    assert await found(workflow="flow", older_than="1h") == []
    assert await found(created_before=bad.created_at) == []
    assert await found(created_before=stopped.created_at, workflow="flow") == [bad.id]
    assert await found("requeue", workflow="flow") == []
    assert await found("cancel", workflow="flow") == []


async def test_filters_that_cannot_be_are_refused(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await running.run(flow(failing()))
    for action, filter, said in (
        ("cancel", Filter(), "the filter is empty"),
        ("cancel", Filter(state="failed"), "cancel is for runs that are queued, running, waiting, paused, not failed"),
        ("cancel", Filter(state="nope"), "is none of"),
        ("cancel", Filter(older_than="a while"), "older_than"),
        ("fork", Filter(state="failed"), "'fork' is for one run"),
    ):
        with pytest.raises(Invalid, match=said):
            await steering.count(running.runtime, running.actor, action, filter)  # pyright: ignore[reportArgumentType] also what is no action
    monkeypatch.setattr(steering, "MAX_RUNS", 0)
    with pytest.raises(Invalid, match="at most 0 are changed at once"):
        await swept(running, "retry", Filter(state="failed"), 1)
