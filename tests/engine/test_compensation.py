"""Compensation: completed steps are undone in reverse order, durably, when a try, a race, a failure or a cancel asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.conftest import House, flow, put
from tests.engine.test_groups import body, failing, group, positions
from tests.engine.test_waiting import until
from tests.faults.ledger import Ledger, ledger

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]


def booking(book: Ledger, id: str, **more: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{book.port}/{id}"
    undo = {
        "type": "http",
        "config": {"method": "DELETE", "url": f"{url}/{{{{ nodes.{id}.status }}}}"},
        "retry": {"max_attempts": 2, "initial": "10ms"},
    }
    return {"id": id, "type": "http", "config": {"method": "POST", "url": url, "json": {}}, "compensate": undo, **more}


async def test_a_try_undoes_its_body_in_reverse_before_it_catches(running: House) -> None:
    async with ledger() as book:
        trip = body(booking(book, "hotel"), booking(book, "flight"), failing("boom"), edges=[("hotel", "flight"), ("flight", "boom")])
        run = await running.run(flow(group("trip", "try", body=trip, catch=body(put("sorry")), compensate=True)))
        assert run.state == "succeeded", run.error
        seen = await positions(running, run.id)
        assert [name for name in seen if "~undo" in name] == ["trip/flight~undo", "trip/hotel~undo"]
        assert (seen["trip/hotel"], seen["trip/flight"], seen["trip/sorry"]) == ("compensated", "compensated", "succeeded")
        assert book.effects == {f"{run.id}/trip/{name}": 1 for name in ("hotel", "flight", "flight~undo", "hotel~undo")}


async def test_what_the_losers_of_a_race_have_done_is_undone(running: House) -> None:
    async with ledger() as book:
        slow = body(booking(book, "slow"), {"id": "sleep", "type": "wait", "config": {"duration": "1h"}}, edges=[("slow", "sleep")])
        quick = body({"id": "pause", "type": "wait", "config": {"duration": "1s"}}, booking(book, "quick"), edges=[("pause", "quick")])
        run = await until(running, (await running.start(flow(group("race", "race", branches={"a": slow, "b": quick})))).id, "succeeded")
        assert run.output["winner"] == "b"
        seen = await positions(running, run.id)
        assert (seen["race/slow"], seen["race/slow~undo"], seen["race/quick"]) == ("compensated", "succeeded", "succeeded")


@pytest.mark.parametrize("asked", [True, False])
async def test_a_failing_run_is_undone_when_its_settings_say_so(running: House, asked: bool) -> None:
    async with ledger() as book:
        settings = {"compensate": ["failure"]} if asked else {}
        run = await running.run(flow(booking(book, "pay"), failing("boom"), edges=[("pay", "boom")], settings=settings))
        assert (run.state, run.error["position"]) == ("failed", "boom")
        assert len(book.effects) == (2 if asked else 1)


async def test_a_cancelled_run_that_waits_is_undone(running: House) -> None:
    async with ledger() as book:
        definition = flow(
            booking(book, "pay"),
            {"id": "sleep", "type": "wait", "config": {"duration": "1h"}},
            edges=[("pay", "sleep")],
            settings={"compensate": ["cancel"]},
        )
        run = await until(running, (await running.start(definition)).id, "waiting")
        await _cancel(running, run.id)
        run = await until(running, run.id, "cancelled")
        assert (await positions(running, run.id))["pay"] == "compensated"


async def _cancel(house: House, run_id: str) -> None:
    from graphs import steering

    await steering.control(house.runtime, house.actor, run_id, "cancel")


async def test_a_compensation_that_fails_does_not_keep_the_others_from_it_and_is_named(running: House) -> None:
    async with ledger() as book:
        broken = booking(book, "flight")
        broken["compensate"]["config"]["url"] = f"http://127.0.0.1:{book.port}/flight/missing"
        definition = flow(
            booking(book, "hotel"),
            broken,
            failing("boom"),
            edges=[("hotel", "flight"), ("flight", "boom")],
            settings={"compensate": ["failure"]},
        )
        run = await running.run(definition)
        run = await until(running, run.id, "failed")
        assert run.error["details"]["compensation_failed"] == ["flight"]
        assert (await positions(running, run.id))["hotel"] == "compensated"


async def test_after_an_undo_a_retry_does_everything_again_under_new_keys(running: House) -> None:
    async with ledger() as book:
        definition = flow(booking(book, "pay"), failing("boom"), edges=[("pay", "boom")], settings={"compensate": ["failure"]})
        run = await running.run(definition)
        from graphs import steering

        await steering.control(running.runtime, running.actor, run.id, "retry")
        await until(running, run.id, "failed")
        keys = [key for key in book.effects if "undo" not in key]
        assert keys == [f"{run.id}/pay", f"{run.id}/pay~2"]
        assert all(count == 1 for count in book.effects.values())
