"""Moments at which runs of other engines get lost: each of these once did here."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from graphs import runs, signals, steering, tasks
from graphs.engine import conduct as conducting
from store import runs as run_rows
from store import waits
from store.errors import LeaseLost, Unavailable
from store.journal import Entry
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import answer, until

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P7"), pytest.mark.promise("P1")]
LEASE = timedelta(seconds=15)


def ask(id: str) -> dict[str, Any]:
    return {"id": id, "type": "approval", "config": {"title": id}}


def event(id: str) -> dict[str, Any]:
    return {"id": id, "type": "wait_event", "config": {"event": "paid"}}


def pause(id: str, seconds: float) -> dict[str, Any]:
    return {"id": id, "type": "wait", "config": {"seconds": seconds}}


async def positions(house: House, run_id: str, state: str = "succeeded") -> set[str]:
    return {step.position for step in await runs.trace(house.runtime, house.actor, run_id) if step.state == state}


async def test_a_branch_goes_on_when_its_sibling_begins_to_wait_in_the_same_moment(running: House) -> None:
    run = await running.run(flow(ask("a"), put("b"), put("c"), edges=[("b", "c")]))
    assert (run.state, await positions(running, run.id)) == ("waiting", {"b", "c"})


async def test_the_next_item_takes_a_free_place_beside_one_that_waits(running: House) -> None:
    edges = [{"from": "z", "to": "a", "when": "item"}, {"from": "z", "to": "s", "when": "not item"}]
    body = {"nodes": [put("z"), ask("a"), put("s")], "edges": edges}
    each = {"id": "each", "type": "foreach", "config": {"items": [True, False, False], "concurrency": 2, "body": body}}
    run = await running.run(flow(each))
    assert run.state == "waiting"
    assert "each[2]/s" in await positions(running, run.id)


async def test_an_early_join_does_not_wait_for_the_branch_that_waits(running: House) -> None:
    join = {"id": "j", "type": "join", "config": {"mode": "any"}}
    run = await running.run(flow(ask("a"), put("b"), join, put("c"), edges=[("a", "j"), ("b", "j"), ("j", "c")]))
    assert (run.state, "c" in await positions(running, run.id)) == ("waiting", True)


async def test_postgres_failing_one_branch_withdraws_no_question_of_another(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = running.runtime.engine.journal
    commit = journal._commit  # pyright: ignore[reportPrivateUsage]
    failed: list[bool] = []

    async def once(batch: Any) -> None:
        if not failed and any(row["position"] == "c" for entry, _ in batch for row in entry.node_runs):
            failed.append(True)
            raise Unavailable("gone for a moment")
        await commit(batch)

    monkeypatch.setattr(journal, "_commit", once)
    run = await running.start(flow(ask("a"), pause("b", 0.4), put("c"), edges=[("b", "c")]))
    async with asyncio.timeout(15):
        while "c" not in await positions(running, run.id):
            await asyncio.sleep(0.02)
    assert failed
    assert [task.state for task in (await tasks.page(running.runtime, running.actor, state=None)).items] == ["open"]


async def test_two_events_that_came_early_answer_two_waits_in_order(running: House) -> None:
    run = await running.run(flow(ask("a"), event("one"), event("two"), edges=[("a", "one"), ("one", "two")]))
    for payload in (1, 2):
        await signals.send(running.runtime, running.actor, name="paid", payload=payload)
    await answer(running, run.id, {"approved": True})
    assert (await until(running, run.id, "succeeded")).output == {"received": True, "payload": 2}


async def test_an_event_between_looking_back_and_waiting_is_not_lost(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = waits.missed

    async def slowly(*given: Any, **more: Any) -> Any:
        found = await missed(*given, **more)
        await signals.send(running.runtime, running.actor, name="paid", payload=1)
        await asyncio.sleep(0.2)
        return found

    monkeypatch.setattr(waits, "missed", slowly)
    run = await running.start(flow(event("e")))
    assert (await until(running, run.id, "succeeded")).output["payload"] == 1


async def test_a_run_cancelled_before_it_was_driven_does_nothing(house: House) -> None:
    async with house.opened(serving=False) as house.runtime:
        run = await house.start(flow(put("a"), put("b"), edges=[("a", "b")]))
        await steering.control(house.runtime, house.actor, run.id, "cancel")
    async with house.opened() as house.runtime:
        assert (await until(house, run.id, "cancelled")).steps_done == 0


async def test_waking_up_is_not_a_step(running: House) -> None:
    run = await running.run(flow(ask("a"), ask("b"), settings={"max_steps": 2}))
    for task in (await tasks.page(running.runtime, running.actor, run_id=run.id)).items:
        await tasks.answer(running.runtime, running.actor, task.id, {"approved": True})
    assert (await until(running, run.id, "succeeded")).error is None


async def test_a_choice_is_made_once_whatever_changes_while_it_waits(running: House) -> None:
    then = {"nodes": [{"id": "s", "type": "set", "config": {"vars": {"flag": False}}}, ask("a")], "edges": [{"from": "s", "to": "a"}]}
    choice = {"id": "i", "type": "if", "config": {"condition": "vars.flag", "then": then, "else": {"nodes": [put("other")]}}}
    run = await running.run(flow(choice, vars={"flag": True}))
    await answer(running, run.id, {"approved": True})
    assert (await until(running, run.id, "succeeded")).output["result"] is True


async def test_a_run_stopped_as_failed_stays_so_when_it_is_retried(running: House) -> None:
    stop = {"id": "x", "type": "stop", "config": {"state": "failed", "message": "no"}}
    run = await running.run(flow(stop, put("after"), edges=[("x", "after")]))
    await steering.control(running.runtime, running.actor, run.id, "retry")
    assert (await until(running, run.id, "failed")).error["message"] == "no"
    assert "after" not in await positions(running, run.id)


async def test_a_long_untaken_chain_is_skipped(running: House) -> None:
    edges = [("n0", "n1", {"when": "input.go"}), *((f"n{i}", f"n{i + 1}") for i in range(1, 599))]
    run = await running.run(flow(*(put(f"n{i}") for i in range(600)), edges=edges), {"go": False})
    assert (run.state, run.error) == ("succeeded", None)


async def test_a_child_whose_parent_step_ran_out_of_time_is_cancelled(running: House) -> None:
    await running.publish({**flow(pause("w", 20)), "name": "kid"})
    sub = {"id": "s", "type": "subflow", "config": {"workflow": "kid"}, "timeout": "700ms", "on_error": "continue"}
    run = await running.run(flow(sub, ask("hold"), edges=[("s", "hold")]))
    assert run.state == "waiting"
    (kid,) = (await runs.page(running.runtime, running.actor, workflow="kid")).items
    await until(running, kid.id, "cancelled")


@pytest.mark.promise("P2")
@pytest.mark.parametrize("stale_first", [True, False])
async def test_two_drivers_of_one_run_in_one_commit_are_told_apart(house: House, stale_first: bool) -> None:
    async with house.opened(serving=False) as house.runtime:
        run = await house.start(flow(put("a")))
        (old,) = await run_rows.claim(house.database, slots=1, worker=-5, lease=LEASE)
        (new,) = await run_rows.claim(house.database, slots=1, worker=-5, lease=LEASE, at=old.now + timedelta(seconds=20))
        order = [old, new] if stale_first else [new, old]
        sent = {c.fence: house.runtime.engine.journal.submit(Entry(org_id=c.org_id, run_id=run.id, fence=c.fence)) for c in order}
        told = await asyncio.gather(sent[old.fence], sent[new.fence], return_exceptions=True)
        assert isinstance(told[0], LeaseLost)
        assert told[1] is True


@pytest.mark.promise("P2")
async def test_a_run_whose_lease_ran_out_is_never_driven_twice_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals fail for longer than the lease while a step is at work; then this very process claims its own run again."""
    conduct, renew = conducting.conduct, run_rows.renew
    active = most = begun = 0

    async def counted(*given: Any, **more: Any) -> None:
        nonlocal active, most, begun
        active, begun = active + 1, begun + 1
        most = max(most, active)
        try:
            await conduct(*given, **more)
        finally:
            active -= 1

    async def gone(*_: Any, **__: Any) -> Any:
        raise Unavailable("gone for a while")

    monkeypatch.setattr(conducting, "conduct", counted)
    monkeypatch.setattr(run_rows, "renew", gone)
    work = {"id": "s", "type": "script", "config": {"code": "x = 0\nfor i in range(100000000):\n    x += i\nreturn x"}}
    async with house.opened(lease=timedelta(seconds=1)) as house.runtime:
        run = await house.start(flow(work))
        async with asyncio.timeout(20):
            while begun < 2:
                await asyncio.sleep(0.02)
        monkeypatch.setattr(run_rows, "renew", renew)
        await until(house, run.id, "failed")  # the script runs into its limit
    assert most == 1


@pytest.mark.long
async def test_the_journal_and_the_renewal_of_leases_do_not_block_each_other(house: House) -> None:
    async with house.opened(serving=False) as house.runtime:
        for _ in range(40):
            await house.start(flow(put("a")))
        claimed = [row for _ in range(2) for row in await run_rows.claim(house.database, slots=32, worker=-5, lease=4 * LEASE)]
        assert len(claimed) == 40
        journal, writing = house.runtime.engine.journal, True

        async def write() -> None:
            nonlocal writing
            for _ in range(200):
                order = random.sample(claimed, len(claimed))
                await asyncio.gather(*(journal.submit(Entry(org_id=c.org_id, run_id=c.id, fence=c.fence)) for c in order))
            writing = False

        async def renew() -> None:
            while writing:
                await run_rows.renew(house.database, worker=-5, run_ids=[c.id for c in claimed], lease=4 * LEASE)

        await asyncio.gather(write(), renew())
