"""Steps that another step runs (context.step): rows of their own, found answered after a crash, waiting, cancelled, forked and skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

import graphs.nodes.agent
from graphs import forking, runs, steering, tasks
from graphs.catalogue import node_types
from graphs.definition import Json
from graphs.forking import Changes
from graphs.nodetype import BodyFailed, Context, Failure
from store.runs import Run
from tests.engine.conftest import House, flow, put

pytestmark = pytest.mark.anyio
ASK = {"type": "approval", "config": {"title": "Go on?"}}
Act = Callable[[Context], Awaitable[Json]]


@contextmanager
def acting(act: Act) -> Generator[None]:
    """While inside, an agent does this instead of asking a model."""
    before = graphs.nodes.agent.run

    async def run(config: Any, context: Context) -> Json:
        return await act(context)

    graphs.nodes.agent.run = run
    node_types.cache_clear()
    try:
        yield
    finally:
        graphs.nodes.agent.run = before
        node_types.cache_clear()


def agent(**more: Any) -> dict[str, Any]:
    return flow({"id": "a", "type": "agent", "config": {"prompt": "go"}}, **more)


def value(given: Json) -> dict[str, Json]:
    return {"type": "set", "config": {"values": {"x": given}}}


async def rows(house: House, run_id: str) -> dict[str, tuple[str, str]]:
    trace = await runs.trace(house.runtime, house.actor, run_id)
    return {row.position: (row.node_type, row.state) for row in trace if row.position != "#vars"}


async def until(house: House, run_id: str, state: str) -> Run:
    async with asyncio.timeout(20):
        while (run := await runs.wait(house.runtime, house.actor, run_id, seconds=5)).state != state:
            await asyncio.sleep(0)
    return run


async def answer(house: House, run_id: str, given: Json, *, at: str | None = None) -> None:
    open = (await tasks.page(house.runtime, house.actor, run_id=run_id)).items
    (task,) = [task for task in open if at in (None, task.position)]
    await tasks.answer(house.runtime, house.actor, task.id, given)


async def test_an_inner_step_is_a_row_of_its_own_and_gives_its_output(running: House) -> None:
    async def act(context: Context) -> Json:
        return await context.step("one", value(1)), await context.step("two", value(2))

    with acting(act):
        run = await running.run(agent())
    assert (run.state, run.output) == ("succeeded", [{"x": 1}, {"x": 2}])
    assert await rows(running, run.id) == {"a": ("agent", "succeeded"), "a/one": ("set", "succeeded"), "a/two": ("set", "succeeded")}


async def test_nothing_in_the_config_of_an_inner_step_is_a_template(running: House) -> None:
    """What a model said reaches a tool as it is: a template in it would read the run's input, or run code."""
    said = "{{ input.secret }} {{ 1 + 1 }} {{"

    async def act(context: Context) -> Json:
        return await context.step("one", value(said))

    with acting(act):
        run = await running.run(agent(), {"secret": "hunter2"})
    assert run.output == {"x": said}


async def test_what_has_ended_is_found_answered_when_the_step_starts_over(house: House) -> None:
    begun: list[str] = []

    async def act(context: Context) -> Json:
        begun.append("again")
        first = await context.step("one", value("kept"))
        answered: Any = await context.step("two", ASK)
        return [first, answered["approved"]]

    with acting(act):
        async with house.opened() as runtime:
            house.runtime = runtime
            run = await house.run(agent())
            assert run.state == "waiting"
            assert not runtime.engine.driving
        async with house.opened() as runtime:  # another process
            house.runtime = runtime
            await answer(house, run.id, {"approved": True})
            run = await until(house, run.id, "succeeded")
            found = await rows(house, run.id)
    assert run.output == [{"x": "kept"}, True]
    assert len(begun) == 2
    assert found["a/one"] == ("set", "succeeded")
    assert (await runs.node(house.runtime, house.actor, run.id, "a/one")).attempt == 1


async def test_steps_side_by_side_hold_up_nobody_and_the_run_is_put_down_when_all_of_them_wait(running: House) -> None:
    done = asyncio.Event()

    async def asked(context: Context, key: str) -> Json:
        said: Any = await context.step(key, ASK)
        return await context.step(f"{key}_after", value(said["approved"]))

    async def quick(context: Context) -> Json:
        found = await context.step("quick", value(0))
        done.set()
        return found

    async def act(context: Context) -> Json:
        return await context.together([asked(context, "first"), quick(context), asked(context, "second")])

    with acting(act):
        run = await running.run(agent())
        assert run.state == "waiting"
        assert done.is_set()
        assert not running.runtime.engine.driving  # no process holds it
        assert len(run.waiting_for) == 2
        await answer(running, run.id, {"approved": True}, at="a/second")
        run = await until(running, run.id, "waiting")
        await answer(running, run.id, {"approved": False}, at="a/first")
        run = await until(running, run.id, "succeeded")
    assert run.output == [{"x": False}, {"x": 0}, {"x": True}]


async def test_a_failure_that_was_taken_note_of_is_final_and_a_retry_by_hand_does_not_run_it_again(running: House) -> None:
    """Else what came after it would no longer follow from it."""
    fails, broken = {"type": "script", "config": {"code": "return 1 / 0"}, "on_error": "continue"}, [True]

    async def act(context: Context) -> Json:
        with pytest.raises(BodyFailed) as failed:
            await context.step("one", fails)
        if broken[0]:
            raise Failure("odd", "not today")
        return failed.value.error["code"]

    with acting(act):
        run = await running.run(agent())
        assert (run.state, run.error["code"]) == ("failed", "odd")
        broken[0] = False
        await steering.control(running.runtime, running.actor, run.id, "retry")
        run = await until(running, run.id, "succeeded")
    assert run.output == "expression"
    assert (await runs.node(running.runtime, running.actor, run.id, "a/one")).attempt == 1


async def test_a_failure_nobody_passes_over_is_retried_by_hand_with_the_step_around_it(running: House) -> None:
    broken = [True]

    async def act(context: Context) -> Json:
        return await context.step("one", {"type": "script", "config": {"code": "return 1 / 0" if broken[0] else "return 7"}})

    with acting(act):
        run = await running.run(agent())
        assert (run.state, run.error["position"]) == ("failed", "a/one")
        broken[0] = False
        await steering.control(running.runtime, running.actor, run.id, "retry")
        run = await until(running, run.id, "succeeded")
    assert run.output == 7


@pytest.mark.parametrize(
    ("node", "code"), [({"type": "nothing", "config": {}}, "unknown_type"), ({"type": "set", "config": {"valeus": 1}}, "bad_config")]
)
async def test_a_type_that_is_none_and_a_config_that_does_not_fit_fail_the_step(running: House, node: dict[str, Any], code: str) -> None:
    async def act(context: Context) -> Json:
        return await context.step("one", node)

    with acting(act):
        run = await running.run(agent())
    assert (run.state, run.error["code"]) == ("failed", code)


async def test_max_steps_counts_inner_steps(running: House) -> None:
    async def act(context: Context) -> Json:
        return [await context.step(f"n_{number}", value(number)) for number in range(30)]

    with acting(act):
        run = await running.run(agent(settings={"max_steps": 10}))
    assert (run.state, run.error["code"]) == ("failed", "max_steps")


async def test_a_cancelled_run_withdraws_what_inner_steps_ask(running: House) -> None:
    async def act(context: Context) -> Json:
        return await context.together([context.step("one", ASK), context.step("two", ASK)])

    with acting(act):
        run = await running.run(agent())
        await steering.control(running.runtime, running.actor, run.id, "cancel")
        await until(running, run.id, "cancelled")
        async with asyncio.timeout(10):
            while (await tasks.page(running.runtime, running.actor, run_id=run.id)).items:
                await asyncio.sleep(0.01)


async def test_a_time_limit_of_the_step_ends_its_inner_steps_also_when_it_passes_while_the_run_is_put_down(running: House) -> None:
    definition = flow({"id": "a", "type": "agent", "config": {"prompt": "go"}, "timeout": "1s"})

    async def act(context: Context) -> Json:
        return await context.step("one", ASK)

    with acting(act):
        run = await running.run(definition)
        run = await until(running, run.id, "failed")
    assert run.error["code"] == "timeout"
    assert (await rows(running, run.id))["a/one"][1] == "cancelled"
    async with asyncio.timeout(10):
        while (await tasks.page(running.runtime, running.actor, run_id=run.id)).items:
            await asyncio.sleep(0.01)


async def test_a_disabled_step_runs_nothing_of_its_own(running: House) -> None:
    async def act(context: Context) -> Json:
        return await context.step("one", value(1))

    with acting(act):
        run = await running.run(flow({"id": "a", "type": "agent", "config": {"prompt": "go"}, "disabled": True}))
    assert (run.state, list(await rows(running, run.id))) == ("succeeded", ["a"])


async def test_a_test_run_simulates_effects_and_waits_inside_and_does_the_rest(running: House) -> None:
    async def act(context: Context) -> Json:
        posted = {"type": "http", "config": {"method": "POST", "url": "https://pay.example.com/"}}
        approved: Any = await context.step("ok", ASK)
        await context.step("pay", posted)
        return [approved["approved"], await context.step("one", value(1))]

    with acting(act):
        run = await running.run(agent(), mode="test")
    assert (run.state, run.output) == ("succeeded", [True, {"x": 1}])


async def test_a_fork_parts_at_an_inner_step_and_all_that_came_later_in_it_runs_anew(running: House) -> None:
    seen: list[str] = []

    async def act(context: Context) -> Json:
        first: Any = await context.step("one", value(1))
        seen.append(str(first["x"]))
        second: Any = await context.step("two", {"type": "script", "config": {"code": f"return {first['x']} + 10"}})
        return second

    with acting(act):
        run = await running.run(flow({"id": "a", "type": "agent", "config": {"prompt": "go"}}, put("end"), edges=[("a", "end")]))
        assert run.state == "succeeded"
        changes = Changes(edits={"a/one": {"x": 5}}, vars={})
        fork = await forking.fork(running.runtime, running.actor, run.id, changes=changes)
        await until(running, fork.id, "succeeded")
        two = await runs.node(running.runtime, running.actor, fork.id, "a/two")
        again = await forking.fork(running.runtime, running.actor, run.id, node="a/two", changes=Changes(edits={}, vars={}))
        await until(running, again.id, "succeeded")
    assert two.output == 15
    assert seen == ["1", "5", "1"]


async def test_an_inner_step_can_be_skipped_with_an_output(running: House) -> None:
    async def act(context: Context) -> Json:
        return await context.step("one", ASK)

    with acting(act):
        run = await running.run(agent())
        await steering.skip(running.runtime, running.actor, run.id, "a/one", {"by": "hand"})
        run = await until(running, run.id, "succeeded")
    assert run.output == {"by": "hand"}


# -- approvals -------------------------------------------------------------------------------------------------------------------


def approving(does: list[str], node: dict[str, Any] | None = None) -> Act:
    """Asks whether it may, and does it when it may."""

    async def act(context: Context) -> Json:
        call = {"type": "script", "config": {"code": "return 'done'"}}
        said: Any = await context.approve("may", "do", call, {"title": "May it?"})
        if not said["approved"]:
            return said["comment"]
        output = await context.step("do", node or call, approval="may")
        does.append(str(output))
        return output

    return act


async def test_what_a_person_has_approved_of_is_done_and_what_they_reject_is_not(running: House) -> None:
    does: list[str] = []
    with acting(approving(does)):
        run = await running.run(agent())
        (task,) = (await tasks.page(running.runtime, running.actor, run_id=run.id)).items
        assert task.kind == "approval"
        assert "Digest of this call" in task.description
        await answer(running, run.id, {"approved": True})
        assert (await until(running, run.id, "succeeded")).output == "done"
        run = await running.run(agent())
        await answer(running, run.id, {"approved": False, "comment": "not on Mondays"})
        assert (await until(running, run.id, "succeeded")).output == "not on Mondays"
    assert does == ["done"]


async def test_an_approval_of_one_call_does_not_let_another_one_through(running: House) -> None:
    does: list[str] = []
    with acting(approving(does, {"type": "script", "config": {"code": "return 'something else'"}})):
        run = await running.run(agent())
        await answer(running, run.id, {"approved": True})
        run = await until(running, run.id, "failed")
    assert run.error["code"] == "not_approved"
    assert (does, list(await rows(running, run.id))) == ([], ["a", "a/may"])


async def test_an_approval_whose_step_was_skipped_by_hand_is_none(running: House) -> None:
    does: list[str] = []
    with acting(approving(does)):
        run = await running.run(agent())
        await steering.skip(running.runtime, running.actor, run.id, "a/may", {"approved": True, "comment": "", "answered_by": "Olga"})
        run = await until(running, run.id, "waiting")
        async with asyncio.timeout(10):
            while not (open := (await tasks.page(running.runtime, running.actor, run_id=run.id)).items):
                await asyncio.sleep(0.01)
        assert ([task.position for task in open], does) == (["a/may_again2"], [])
        await answer(running, run.id, {"approved": False})
        await until(running, run.id, "succeeded")
    assert does == []


@pytest.mark.parametrize("changes", [Changes(edits={}, vars={}), Changes(edits={"a/may": {"approved": True, "comment": ""}}, vars={})])
async def test_an_approval_counts_in_its_own_run_only(running: House, changes: Changes) -> None:
    """A fork that begins behind it, or edits it, has to ask again: else one word would be used twice, or made up."""
    does: list[str] = []
    with acting(approving(does)):
        run = await running.run(agent())
        await answer(running, run.id, {"approved": not changes.edits})
        await until(running, run.id, "succeeded")
        did = len(does)
        fork = await forking.fork(running.runtime, running.actor, run.id, node=None if changes.edits else "a/do", changes=changes)
        fork = await until(running, fork.id, "waiting")
        assert [task.position for task in (await tasks.page(running.runtime, running.actor, run_id=fork.id)).items] == ["a/may_again2"]
        assert len(does) == did
        await answer(running, fork.id, {"approved": True})
        assert (await until(running, fork.id, "succeeded")).output == "done"
    assert len(does) == did + 1


async def test_a_call_that_was_done_needs_no_approval_again_in_a_fork_that_parts_after_it(running: House) -> None:
    does: list[str] = []
    do = approving(does)

    async def act(context: Context) -> Json:
        return [await do(context), await context.step("later", value(len(does)))]

    with acting(act):
        run = await running.run(agent())
        await answer(running, run.id, {"approved": True})
        await until(running, run.id, "succeeded")
        fork = await forking.fork(running.runtime, running.actor, run.id, node="a/later", changes=Changes(edits={}, vars={}))
        run = await until(running, fork.id, "succeeded")
    assert run.output == ["done", {"x": 2}]
