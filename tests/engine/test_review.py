"""What a cold review of the engine found: interleavings and crashes after which a run was lost, an effect repeated or a record wrong."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock

import pytest

from graphs import runs, signals, steering, tasks
from graphs.definition import Boundary
from graphs.engine import patience
from graphs.engine import step as steps
from graphs.engine.boundaries import Watch
from graphs.engine.drive import Drive
from graphs.engine.outbox import Outbox
from graphs.engine.step import Step
from graphs.engine.upkeep import Upkeep
from graphs.engine.waiting import Waiting
from graphs.nodetype import Failure
from store import runs as run_rows
from store import waits
from store.errors import LeaseLost, Unavailable
from store.journal import Entry
from store.queries import Query
from store.runs import Claimed, Run
from tests.engine.conftest import House, flow, put
from tests.engine.test_groups import body, failing, group, positions
from tests.engine.test_races import ask, pause
from tests.engine.test_waiting import answer, until
from tests.faults.ledger import Ledger, ledger

pytestmark = pytest.mark.anyio
ORPHAN = Query(
    "orphan",
    b"UPDATE weft.runs SET state = 'running', worker = 77, lease_until = now() - interval '1 minute', fence = fence + 1, wake_at = NULL"
    b" WHERE org_id = %(org_id)s AND id = %(id)s",
)
LEAVE = Query(
    "leave",
    b"INSERT INTO weft.node_runs (org_id, run_id, position, attempt, node_id, node_type, state, seq, effect, input, taken, error)"
    b" VALUES (%(org_id)s, %(id)s, %(position)s, 1, %(position)s, %(type)s, %(state)s, 1, %(effect)s, %(input)s::json, %(taken)s::json,"
    b" %(error)s::json)",
)
REQUEST = Query("request", b"SELECT request AS position FROM weft.runs WHERE org_id = %(org_id)s AND id = %(id)s")


def call(book: Ledger, path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    config = {"method": method, "url": f"http://127.0.0.1:{book.port}/{path}"}
    return {"id": path.partition("/")[0], "type": "http", "config": config, "retry": {"max_attempts": 1}, **more}


async def left(house: House, definition: dict[str, Any], *rows: dict[str, Any]) -> Run:
    """A run whose worker has died and left these steps."""
    async with house.opened(serving=False) as house.runtime:
        run = await house.start(definition)
    for row in rows:
        given = {"effect": None, "input": None, "taken": None, "error": None, "type": "http", **row}
        await house.actor.tenant.execute(LEAVE, id=run.id, **given)
    await house.actor.tenant.execute(ORPHAN, id=run.id)
    return run


async def seen(house: House, run_id: str, **wanted: str) -> None:
    """Waits until these steps have these states."""
    expected = {name.replace("__", "/"): state for name, state in wanted.items()}
    while not expected.items() <= (await positions(house, run_id)).items():
        await asyncio.sleep(0.02)


# -- parking and waiting ---------------------------------------------------------------------------------------------------------


async def test_bodies_of_one_group_that_are_retried_at_once_each_get_their_turn(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both wait for their time beside a third that is at work: the later one must not take the place of the earlier."""
    monkeypatch.setattr(steps, "SHORT_DELAY", 0.1)
    async with ledger() as book, ledger() as slow:
        slow.delay = 4.0
        branches = {"a": body(call(book, "x/flaky")), "b": body(call(book, "y/flaky")), "c": body(call(slow, "z/ok"))}
        par = {**group("par", "parallel", branches=branches), "retry": {"max_attempts": 2, "initial": "600ms", "jitter": False}}
        run = await running.start(flow(par))
        async with asyncio.timeout(3):
            await seen(running, run.id, **{"par__x@2": "succeeded", "par__y@2": "succeeded"})


async def test_a_wait_that_is_cancelled_while_it_is_being_recorded_is_withdrawn(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = running.runtime.engine.journal
    commit = journal._commit  # pyright: ignore[reportPrivateUsage]

    async def slow(batch: Any) -> None:
        if any(wait["position"] == "late" for entry, _ in batch for wait in entry.waits):
            await asyncio.sleep(0.5)
        await commit(batch)

    monkeypatch.setattr(journal, "_commit", slow)
    late = {**ask("late"), "timeout": "150ms", "on_error": "continue"}
    run = await until(running, (await running.start(flow(late, ask("hold"), edges=[("late", "hold")]))).id, "waiting")
    async with asyncio.timeout(5):
        while [wait["position"] for wait in (await runs.get(running.runtime, running.actor, run.id)).waiting_for] != ["hold"]:
            await asyncio.sleep(0.02)


async def test_a_time_limit_that_passes_while_the_run_is_put_down_still_is_a_time_limit(
    running: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the step did to itself in that moment is void, so its question must not have been withdrawn either."""
    journal = running.runtime.engine.journal
    commit = journal._commit  # pyright: ignore[reportPrivateUsage]

    async def slow(batch: Any) -> None:
        if any(entry.settle and entry.settle["state"] == "waiting" for entry, _ in batch):
            await asyncio.sleep(1.5)
        await commit(batch)

    monkeypatch.setattr(journal, "_commit", slow)
    run = await running.start(flow({**ask("late"), "timeout": "900ms"}))
    run = await until(running, run.id, "failed")
    assert run.error["code"] == "timeout"


async def test_a_group_that_winds_down_after_its_time_limit_does_not_keep_the_processor_busy(
    running: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend, turns = Waiting._attend, 0  # pyright: ignore[reportPrivateUsage]

    async def counted(self: Waiting) -> None:
        nonlocal turns
        turns += 1
        await attend(self)

    monkeypatch.setattr(Waiting, "_attend", counted)
    async with ledger() as book:
        book.delay = 1.0
        tidy = group("tidy", "try", body=body(pause("sleep", 3600)), **{"finally": body(call(book, "close/ok"))})
        run = await running.start(flow({**tidy, "timeout": "300ms"}))
        assert (await until(running, run.id, "failed")).error["code"] == "timeout"
    assert turns < 100


async def test_a_boundary_that_fires_in_the_moment_its_step_fails_does_not_keep_the_step_from_waiting_for_a_retry() -> None:
    async def hold(*_: Any, **__: Any) -> None:
        step.acting += 1

    async def fail() -> None:
        raise Failure("busy", "not now", retryable=True)

    boundary = Boundary(name="late", timer="1s", interrupting=False)
    drive = MagicMock(hold=hold, unloading=False, player=None)
    drive.outbox.send = AsyncMock()
    plan = SimpleNamespace(id="s", node=SimpleNamespace(boundary=[boundary]), correlations={}, outgoing=[])
    context = MagicMock(known=MagicMock(return_value=None))
    step = SimpleNamespace(plan=plan, drive=drive, context=context, within=MagicMock(), position="s", acting=0, fired=[])
    record = SimpleNamespace(started_at=datetime.now(UTC), attempt=1)
    with pytest.raises(Failure):
        await Watch(cast(Step, step), cast(Any, record)).over(fail())
    assert step.acting == 0


async def test_a_transition_that_was_given_up_while_the_run_was_put_down_does_no_harm() -> None:
    sent: list[asyncio.Future[bool]] = []

    def submit(_: Entry) -> asyncio.Future[bool]:
        sent.append(asyncio.get_running_loop().create_future())
        return sent[-1]

    claimed = SimpleNamespace(org_id="o", id="r", fence=1)
    outbox = Outbox(cast(Any, SimpleNamespace(submit=submit)), cast(Claimed, claimed), on_lost=lambda: None)
    parking = asyncio.create_task(outbox.park())
    await asyncio.sleep(0)
    held = outbox.send()
    held.cancel()
    other = outbox.send()
    sent[0].set_result(True)
    assert await parking
    assert isinstance(other.exception(), LeaseLost)


# -- putting down, taking over ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("P2")
async def test_a_run_that_is_claimed_while_its_worker_shuts_down_begins_no_step(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ledger() as book:
        async with house.opened() as house.runtime:
            engine = house.runtime.engine
            prepared, preparing = engine.prepared, asyncio.Event()

            async def late(*given: Any) -> Any:
                ready = await prepared(*given)
                preparing.set()
                while not engine.draining:
                    await asyncio.sleep(0.01)
                return ready

            monkeypatch.setattr(engine, "prepared", late)
            run = await house.start(flow(call(book, "pay/x", "POST")))
            async with asyncio.timeout(5):
                await preparing.wait()
        assert not book.effects
        assert (await runs.get(house.runtime, house.actor, run.id)).state == "queued"


async def test_a_run_claimed_again_while_leases_are_renewed_is_not_dropped(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old drive had put it down when its lease was asked for; by the answer the new one is under way."""

    def driven(fence: int) -> Any:
        return SimpleNamespace(settled=False, unloading=False, signal=0, claimed=SimpleNamespace(fence=fence), tell=lambda: None)

    async with house.opened(serving=False) as runtime:
        driving = cast("dict[str, Any]", runtime.engine.driving)
        before, task = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(asyncio.sleep(30))
        old, new = driven(3), driven(4)
        driving["r"] = (old, before)

        async def renewed(*_: Any, **__: Any) -> list[Any]:
            old.settled = True
            driving["r"] = (new, task)
            return []

        monkeypatch.setattr(run_rows, "renew", renewed)
        await Upkeep(runtime.engine)._renew()  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(0)
        driving.clear()
        assert (new.unloading, task.cancelled()) == (False, False)
        task.cancel()


async def test_a_run_put_down_for_want_of_a_database_is_put_down_as_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """No question is withdrawn, no step counts as cancelled, and no `finally` runs: it goes on later."""
    monkeypatch.setattr(patience, "PATIENCE", 0.2)
    expire, hand_back, away = waits.expire, run_rows.hand_back, True

    async def gone(*given: Any) -> Any:
        if away:
            raise Unavailable("gone for a while")
        return await expire(*given)

    async def back(*given: Any) -> Any:
        nonlocal away
        away = False
        return await hand_back(*given)

    monkeypatch.setattr(waits, "expire", gone)
    monkeypatch.setattr(run_rows, "hand_back", back)
    tidy = group("tidy", "try", body=body(ask("ok")), **{"finally": body(put("close"))})
    async with house.opened() as house.runtime:
        run = await house.start(flow(tidy, pause("late", 0.4), put("end"), edges=[("late", "end")]))
        async with asyncio.timeout(10):
            await seen(house, run.id, end="succeeded")
        there = await positions(house, run.id)
        assert (there["tidy"], there["tidy/ok"], "tidy/close" in there) in [("running", "waiting", False), ("waiting", "waiting", False)]
        assert [task.state for task in (await tasks.page(house.runtime, house.actor, state=None)).items] == ["open"]


async def test_a_child_whose_parent_and_whose_own_child_end_in_one_commit_is_cancelled(house: House) -> None:
    async with house.opened() as house.runtime:
        await house.publish({**flow(ask("ok")), "name": "leaf"})
        await house.publish({**flow({"id": "s", "type": "subflow", "config": {"workflow": "leaf"}}), "name": "middle"})
        top = await house.run(flow({"id": "s", "type": "subflow", "config": {"workflow": "middle"}}))
        async with asyncio.timeout(10):
            while not (leaves := (await runs.page(house.runtime, house.actor, workflow="leaf")).items) or leaves[0].state != "waiting":
                await asyncio.sleep(0.02)
        (middle,) = (await runs.page(house.runtime, house.actor, workflow="middle")).items
        await until(house, middle.id, "waiting")
    for id in (top.id, leaves[0].id):
        await house.actor.tenant.execute(ORPHAN, id=id)
    async with house.opened(serving=False) as house.runtime:
        claimed = await run_rows.claim(house.database, slots=9, worker=-5, lease=timedelta(seconds=60), at=None)
        fences = {one.id: one.fence for one in claimed}
        entries = [Entry(org_id=house.actor.tenant.org_id, run_id=id, fence=fences[id]) for id in (top.id, leaves[0].id)]
        for entry in entries:
            entry.settle = {"state": "failed", "error": {"code": "x", "message": "x"}}
        await asyncio.gather(*[house.runtime.engine.journal.submit(entry) for entry in entries])
        (row,) = await house.actor.tenant.all(REQUEST, SimpleNamespace, id=middle.id)
        assert row.position == "cancel"


# -- doubt, receipts and keys ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P2")
async def test_a_call_in_doubt_stays_in_doubt_when_its_config_can_no_longer_be_rendered(house: House) -> None:
    async with ledger() as book:
        pay = call(book, "pay/x", "POST", on_error="continue")
        pay["config"]["json"] = {"n": "{{ input.order.number }}"}
        run = await left(house, flow(pay), {"position": "pay", "state": "running", "effect": "write-once"})
        async with house.opened() as house.runtime:
            run = await until(house, run.id, "waiting")
            assert [wait["position"] for wait in run.waiting_for] == ["pay#ambiguous"]


async def test_what_a_boundary_has_led_to_goes_on_beside_a_step_in_doubt(house: House) -> None:
    async with ledger() as book:
        pay = call(book, "pay/x", "POST", boundary=[{"name": "slow", "timer": "1h", "interrupting": False}])
        edges = [("pay", "done"), ("pay", "remind", {"branch": "slow"}), ("remind", "after")]
        definition = flow(pay, put("done"), put("remind"), put("after"), edges=edges)
        fired = json.dumps({**pay["config"], "#boundary": {"slow": [1]}})
        run = await left(
            house,
            definition,
            {"position": "pay", "state": "running", "effect": "write-once", "input": fired},
            {"position": "remind", "type": "set", "state": "succeeded", "taken": "[2]"},
        )
        async with house.opened() as house.runtime:
            await until(house, run.id, "waiting")
            async with asyncio.timeout(5):
                await seen(house, run.id, after="succeeded")
            await answer(house, run.id, {"decision": "happened"})
            await until(house, run.id, "succeeded")
            assert {name: state for name, state in (await positions(house, run.id)).items() if name != "pay"} == {
                "remind": "succeeded",
                "after": "succeeded",
                "done": "succeeded",
            }


def paying(book: Ledger) -> dict[str, Any]:
    undo = {"type": "http", "config": {"method": "DELETE", "url": f"http://127.0.0.1:{book.port}/pay/{{{{ nodes.pay.status }}}}"}}
    pay = call(book, "pay/x", "POST", compensate=undo)
    pay["config"]["json"] = {"n": "{{ input.n }}"}
    return pay


@pytest.mark.promise("P2")
async def test_an_answer_that_came_a_moment_before_a_sibling_failed_is_a_receipt_and_is_undone(
    running: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    render, answered = Drive.render, asyncio.Event()

    async def slow(self: Drive, template: Any, scope: Any) -> Any:
        if scope["nodes"].get("pay"):
            answered.set()
            await seen(running, self.run_id, boom="failed")
        return await render(self, template, scope)

    monkeypatch.setattr(Drive, "render", slow)
    moment = {"id": "moment", "type": "wait_event", "config": {"event": "answered"}}
    async with ledger() as book, asyncio.timeout(20):
        definition = flow(paying(book), moment, failing("boom"), edges=[("moment", "boom")], settings={"compensate": ["failure"]})
        run = await running.start(definition, {"n": 1})
        await answered.wait()
        await signals.send(running.runtime, running.actor, name="answered")
        run = await until(running, run.id, "failed")
        assert book.effects == {f"{run.id}/pay": 1, f"{run.id}/pay~undo": 1}
        assert (await positions(running, run.id))["pay"] == "compensated"


@pytest.mark.promise("P2")
async def test_after_an_undo_the_old_key_is_never_used_again(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the next attempt failed before it had called anybody."""
    configure, broken = Step.configure, False

    async def refuse(self: Step, record: Any) -> Any:
        if self.position == "pay" and broken:
            raise Failure("expression", "not now")
        return await configure(self, record)

    monkeypatch.setattr(Step, "configure", refuse)
    async with ledger() as book:
        definition = flow(paying(book), failing("boom"), edges=[("pay", "boom")], settings={"compensate": ["failure"]})
        run = await until(running, (await running.start(definition, {"n": 1})).id, "failed")
        broken = True
        await steering.control(running.runtime, running.actor, run.id, "retry")
        await until(running, run.id, "failed")
        broken = False
        await steering.control(running.runtime, running.actor, run.id, "retry")
        await until(running, run.id, "failed")
        assert book.effects[f"{run.id}/pay"] == 1


@pytest.mark.promise("P2")
async def test_a_call_cut_off_because_its_boundary_cannot_be_followed_is_in_doubt(running: House) -> None:
    async with ledger() as book:
        book.delay = 1.0
        pay = call(book, "pay/x", "POST", boundary=[{"name": "slow", "timer": "300ms", "interrupting": False}])
        definition = flow(pay, put("remind"), edges=[("pay", "remind", {"branch": "slow", "when": "1 / input.zero > 1"})])
        run = await until(running, (await running.start(definition, {"zero": 0})).id, "waiting")
        assert [wait["position"] for wait in run.waiting_for] == ["pay#ambiguous"]


@pytest.mark.promise("P2")
async def test_no_retry_of_a_group_repeats_a_call_that_failed_in_doubt(house: House) -> None:
    """Its sibling failed first, with something that may be tried again."""
    async with ledger() as book:
        par = group("p", "parallel", branches={"a": body(call(book, "bad/x")), "b": body(call(book, "pay/x", "POST"))})
        outer = {**group("g", "parallel", branches={"all": body(par)}), "retry": {"max_attempts": 2, "initial": "10ms"}}
        row: dict[str, Any] = {"state": "running", "type": "parallel"}
        failed: dict[str, Any] = {"state": "failed", "error": json.dumps({"code": "http_500", "message": "no", "position": "g/p/bad"})}
        doubt = {
            "state": "failed",
            "error": json.dumps({"code": "in_doubt", "message": "?", "position": "g/p/pay"}),
            "effect": "write-once",
        }
        run = await left(
            house,
            flow(outer),
            {**row, "position": "g"},
            {**row, "position": "g/p"},
            {**failed, "position": "g/p/bad"},
            {**doubt, "position": "g/p/pay"},
        )
        async with house.opened() as house.runtime:
            run = await until(house, run.id, "failed")
        assert (run.error["code"], book.effects[f"{run.id}/g/p/pay"]) == ("in_doubt", 0)


@pytest.mark.promise("P2")
async def test_a_call_in_doubt_that_would_have_to_be_undone_is_named_by_the_run(running: House) -> None:
    async with ledger() as book:
        book.delay = 1.0
        definition = flow(
            paying(book), pause("moment", 0.4), failing("boom"), edges=[("moment", "boom")], settings={"compensate": ["failure"]}
        )
        run = await until(running, (await running.start(definition, {"n": 1})).id, "failed")
        assert (await positions(running, run.id))["pay"] == "ambiguous"
        assert run.error["details"]["compensation_failed"] == ["pay"]


@pytest.mark.promise("P2")
async def test_a_run_that_fails_by_its_output_is_undone_like_any_other(running: House) -> None:
    async with ledger() as book:
        definition = flow(
            paying(book),
            put("big", text="{{ 'x' * 600000 }}"),
            edges=[("pay", "big")],
            output={"a": "{{ nodes.big.text }}", "b": "{{ nodes.big.text }}"},
            settings={"compensate": ["failure"]},
        )
        run = await until(running, (await running.start(definition, {"n": 1})).id, "failed")
        assert run.error["code"] == "output_too_large"
        assert (await positions(running, run.id))["pay"] == "compensated"


# -- groups and cancellation -----------------------------------------------------------------------------------------------------


async def test_a_body_of_a_race_is_retried_by_the_policy_of_the_race(running: House) -> None:
    async with ledger() as book:
        race = {**group("race", "race", branches={"a": body(call(book, "x/flaky"))}), "retry": {"max_attempts": 3, "initial": "10ms"}}
        run = await running.run(flow(race))
        assert (run.state, run.error) == ("succeeded", None)


async def test_a_try_without_a_catch_is_tried_again_by_a_retry(running: House) -> None:
    async with ledger() as book:
        run = await running.run(flow(group("tidy", "try", body=body(call(book, "x/flaky")), **{"finally": body(put("close"))})))
        assert run.state == "failed"
        await steering.control(running.runtime, running.actor, run.id, "retry")
        async with asyncio.timeout(10):
            run = await until(running, run.id, "succeeded")


async def test_a_finally_that_fails_does_not_stop_its_step_from_being_cancelled(running: House) -> None:
    inner = group("inner", "try", body=body(pause("sleep", 3600)), **{"finally": body(failing("no"))})
    outer = {**group("outer", "try", body=body(inner)), "retry": {"max_attempts": 2, "initial": "1h"}}
    outer["boundary"] = [{"name": "late", "timer": "300ms"}]
    run = await running.start(flow(outer, put("next"), edges=[("outer", "next", {"branch": "late"})]))
    async with asyncio.timeout(6):
        await until(running, run.id, "succeeded")


async def test_a_stop_is_not_lost_in_the_failure_of_a_sibling(running: House) -> None:
    bad = {"id": "bad", "type": "wait", "config": {"until": "tomorrow"}}
    stop = {"id": "x", "type": "stop", "config": {"state": "failed", "message": "no"}}
    branches = {"a": body(bad), "b": body(put("p"), stop, edges=[("p", "x")])}
    par = {**group("par", "parallel", branches=branches), "on_error": "continue"}
    run = await running.run(flow(par, put("next"), edges=[("par", "next")]))
    there = await positions(running, run.id)
    assert (there["par/x"], run.state, run.error and run.error["code"]) == ("succeeded", "failed", "stopped")


async def test_a_run_cancelled_while_a_sibling_still_tidies_up_ends_when_that_has_ended(
    running: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform, settle, active, at_the_end = Step.perform, Drive.settle, 0, -1

    async def counted(self: Step) -> Any:
        nonlocal active
        active += 1
        try:
            return await perform(self)
        finally:
            active -= 1

    async def settled(self: Drive, *given: Any, **more: Any) -> None:
        nonlocal at_the_end
        at_the_end = active
        await settle(self, *given, **more)

    monkeypatch.setattr(Step, "perform", counted)
    monkeypatch.setattr(Drive, "settle", settled)
    async with ledger() as book:
        book.delay = 2.0
        tidy = group("tidy", "try", body=body(ask("ok")), **{"finally": body(call(book, "close/ok"))})
        run = await running.start(flow(tidy, pause("moment", 0.3), failing("boom"), edges=[("moment", "boom")]))
        async with asyncio.timeout(10):
            while not book.effects:
                await asyncio.sleep(0.02)
        await steering.control(running.runtime, running.actor, run.id, "cancel")
        await until(running, run.id, "cancelled")
    assert at_the_end == 0


async def test_a_run_that_is_paused_while_it_fails_tidies_up_and_fails(running: House) -> None:
    async with ledger() as book:
        book.delay = 1.0
        tidy = group("tidy", "try", body=body(ask("ok")), **{"finally": body(put("close"))})
        run = await running.start(flow(tidy, call(book, "gone/missing")))
        async with asyncio.timeout(10):
            while not book.effects:
                await asyncio.sleep(0.02)
            await steering.control(running.runtime, running.actor, run.id, "pause")
            await until(running, run.id, "failed")
        assert (await positions(running, run.id))["tidy/close"] == "succeeded"


async def test_a_retry_by_hand_gives_the_bodies_of_a_group_their_retries_anew(running: House) -> None:
    par = {**group("p", "parallel", branches={"a": body(failing("x"))}), "retry": {"max_attempts": 2, "initial": "10ms"}}
    run = await until(running, (await running.start(flow(par))).id, "failed")
    await steering.control(running.runtime, running.actor, run.id, "retry")
    await until(running, run.id, "failed")
    assert "p/x@4" in await positions(running, run.id)


async def test_a_stop_that_a_person_skips_stops_nothing(running: House) -> None:
    stop = {"id": "x", "type": "stop", "config": {"state": "failed", "message": "no"}}
    run = await running.run(flow(ask("a"), stop, put("after"), edges=[("a", "x"), ("x", "after")]))
    await steering.skip(running.runtime, running.actor, run.id, "x", None)
    await answer(running, run.id, {"approved": True})
    async with asyncio.timeout(10):
        await until(running, run.id, "succeeded")
