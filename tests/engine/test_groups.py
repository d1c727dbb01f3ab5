"""Groups: while, try, race and the retries of their bodies, alone and inside one another."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs, tasks
from tests.engine.conftest import House, flow, put

pytestmark = pytest.mark.anyio


def group(id: str, type: str, /, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "config": config}


def body(*nodes: dict[str, Any], edges: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": [{"from": source, "to": target} for source, target in edges or []]}


def script(id: str, code: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "script", "config": {"code": code}, **more}


def failing(id: str, **more: Any) -> dict[str, Any]:
    return script(id, "raise ValueError('no luck')", **more)


def counting(id: str) -> dict[str, Any]:
    return {"id": id, "type": "set", "config": {"values": {"n": "{{ vars.n + 1 }}"}, "vars": {"n": "{{ vars.n + 1 }}"}}}


async def positions(house: House, run_id: str) -> dict[str, str]:
    rows = await runs.trace(house.runtime, house.actor, run_id, limit=500)
    return {f"{row.position}@{row.attempt}" if row.attempt > 1 else row.position: row.state for row in rows}


async def test_while_repeats_its_body_until_the_condition_no_longer_holds(running: House) -> None:
    loop = group("loop", "while", condition="last == None or last.n < 3", body=body(counting("add")))
    run = await running.run(flow(loop, vars={"n": 0}))
    assert run.output == {"last": {"n": 3}, "iterations": 3}
    assert [*await positions(running, run.id)] == ["loop", "loop[0]/add", "loop[1]/add", "loop[2]/add"]


async def test_while_whose_condition_never_holds_does_nothing(running: House) -> None:
    run = await running.run(flow(group("loop", "while", condition="False", body=body(put("never")))))
    assert run.output == {"last": None, "iterations": 0}


@pytest.mark.parametrize(("on_limit", "state"), [("fail", "failed"), ("continue", "succeeded")])
async def test_while_is_bounded(running: House, on_limit: str, state: str) -> None:
    run = await running.run(flow(group("loop", "while", condition="True", max_iterations=4, on_limit=on_limit, body=body(put("again")))))
    assert run.state == state
    if state == "failed":
        assert run.error["code"] == "loop_limit"
    else:
        assert run.output["iterations"] == 4


async def test_catch_sees_the_error_and_its_output_is_that_of_the_try(running: House) -> None:
    caught = put("note", message="{{ error.message }}", code="{{ error.code }}", position="{{ error.position }}")
    safe = group("safe", "try", body=body(failing("boom")), catch=body(caught))
    run = await running.run(flow(safe))
    assert run.state == "succeeded"
    assert run.output["position"] == "safe/boom"
    assert "no luck" in run.output["message"]


async def test_finally_runs_after_success_failure_and_a_failing_catch(running: House) -> None:
    done = group("done", "try", body=body(put("fine")), **{"finally": body(put("last_a"))})
    lost = group("lost", "try", body=body(failing("boom_b")), catch=body(failing("boom_c")), **{"finally": body(put("last_b"))})
    run = await running.run(flow({**lost, "on_error": "continue"}, done, edges=[("lost", "done")]))
    seen = await positions(running, run.id)
    assert (run.state, seen["lost/last_b"], seen["done/last_a"], seen["lost"]) == ("succeeded", "succeeded", "succeeded", "failed")


async def test_finally_runs_when_a_sibling_fails(running: House) -> None:
    waits = {"id": "sleep", "type": "wait", "config": {"duration": "1h"}}
    slow = group("slow", "try", body=body(waits), **{"finally": body(put("tidy"))})
    late = body({"id": "pause", "type": "wait", "config": {"duration": "300ms"}}, failing("boom"), edges=[("pause", "boom")])
    run = await running.run(flow(group("par", "parallel", branches={"a": body(slow), "b": late})))
    assert run.state == "failed"
    assert (await positions(running, run.id))["par/slow/tidy"] == "succeeded"


async def test_the_first_branch_to_succeed_wins_a_race(running: House) -> None:
    slow = body({"id": "sleep", "type": "wait", "config": {"duration": "1h"}})
    failing_ = body(failing("boom"))
    run = await running.run(flow(group("race", "race", branches={"slow": slow, "bad": failing_, "quick": body(put("quick"))})))
    assert run.output == {"winner": "quick", "output": {"at": "quick"}}
    assert (await positions(running, run.id))["race/sleep"] == "cancelled"


async def test_a_race_fails_when_all_have_failed(running: House) -> None:
    run = await running.run(flow(group("race", "race", branches={"a": body(failing("x")), "b": body(failing("y"))})))
    assert (run.state, run.error["code"]) == ("failed", "expression")


async def test_a_race_of_waits_holds_no_process_and_is_won_by_the_first_to_end(running: House) -> None:
    branches = {
        "timer": body({"id": "timer", "type": "wait", "config": {"duration": "1s"}}),
        "event": body({"id": "event", "type": "wait_event", "config": {"event": "never"}}),
    }
    run = await running.run(flow(group("race", "race", branches=branches)))
    run = await runs.wait(running.runtime, running.actor, run.id, seconds=10) if run.state == "waiting" else run
    while run.state == "waiting":
        run = await runs.wait(running.runtime, running.actor, run.id, seconds=1, until="change")
    assert run.output["winner"] == "timer"


async def test_a_failing_item_is_retried_without_its_siblings_and_what_succeeded_in_it_stays(running: House) -> None:
    flaky = script("flaky", "if vars.n < 3:\n    raise ValueError('not yet')\nreturn vars.n")
    item = body(counting("before"), flaky, counting("after"), edges=[("before", "flaky"), ("flaky", "after")])
    loop = group("each", "foreach", items=[1], body=item)
    definition = flow({**loop, "retry": {"max_attempts": 3, "initial": "10ms"}}, vars={"n": 0})
    run = await running.run(definition)
    seen = await positions(running, run.id)
    assert run.state == "failed"
    assert [name for name in seen if "before" in name] == ["each[0]/before"]
    assert [name for name in seen if "flaky" in name] == ["each[0]/flaky", "each[0]/flaky@2", "each[0]/flaky@3"]


async def test_groups_nest_and_mix(running: House) -> None:
    """A race in a foreach in a try in a while."""
    race = group(
        "race",
        "race",
        branches={"a": body(put("a", got="{{ order }}")), "b": body({"id": "b", "type": "wait", "config": {"duration": "1h"}})},
    )
    each = group("each", "foreach", items="{{ input.orders }}", **{"as": "order"}, body=body(race))
    safe = group("safe", "try", body=body(each))
    loop = group("loop", "while", condition="index < 2", body=body(safe))
    run = await running.run(flow(loop, input={"type": "object", "properties": {"orders": {"type": "array"}}}), {"orders": [1, 2]})
    assert run.state == "succeeded", run.error
    assert [item["output"] for item in run.output["last"]["items"]] == [{"got": 1}, {"got": 2}]


async def test_finally_runs_when_the_run_is_cancelled_and_cannot_hold_it_up(running: House) -> None:
    from graphs import steering
    from tests.engine.test_waiting import until

    busy = script("busy", "n = 0\nwhile n < 100000000:\n    n += 1\nreturn n")
    last = body(put("tidy"), {"id": "sleep", "type": "wait", "config": {"duration": "1h"}}, edges=[("tidy", "sleep")])
    waits = body({"id": "hold", "type": "wait_event", "config": {"event": "never"}})
    both = group("both", "parallel", branches={"a": body(group("safe", "try", body=waits, **{"finally": last})), "b": body(busy)})
    run = await running.start(flow(both))
    async for event in runs_follow(running, run.id):
        if event.position == "both/busy" and event.type == "step.started":
            break
    await steering.control(running.runtime, running.actor, run.id, "cancel")
    run = await until(running, run.id, "cancelled")
    seen = await positions(running, run.id)
    assert (seen["both/safe/tidy"], run.waiting_for) == ("succeeded", [])


async def test_finally_runs_when_a_stop_ends_the_run_inside_the_body(running: House) -> None:
    safe = group("safe", "try", body=body(group("end", "stop", output={"early": True})), **{"finally": body(put("tidy"))})
    run = await running.run(flow(safe, put("never"), edges=[("safe", "never")]))
    assert (run.state, run.output) == ("succeeded", {"early": True})
    assert (await positions(running, run.id))["safe/tidy"] == "succeeded"


def runs_follow(house: House, run_id: str) -> Any:
    return runs.follow(house.runtime, house.actor, run_id)


async def test_what_tidies_up_after_a_failure_side_by_side_may_wait(running: House) -> None:
    """Nobody has cancelled it: its siblings were."""
    branches = {"bad": body(failing("bad")), "slow": body(group("slow", "wait", seconds=60))}
    steps = body(group("both", "parallel", branches=branches))
    tidy = body(group("ask", "approval", title="Cleaned up?"))
    run = await running.run(flow(group("safe", "try", body=steps, **{"finally": tidy})))
    (asked,) = [wait for wait in run.waiting_for if "task_id" in wait]  # the wait of `slow` may be about to be withdrawn
    assert asked["title"] == "Cleaned up?"
    await tasks.answer(running.runtime, running.actor, asked["task_id"], {"approved": True})
    done = await runs.wait(running.runtime, running.actor, run.id, seconds=20)
    assert (done.state, done.error["position"]) == ("failed", "safe/both/bad")
    assert (await positions(running, run.id))["safe/ask"] == "succeeded"
