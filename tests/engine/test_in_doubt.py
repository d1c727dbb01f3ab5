"""Writes that may or may not have happened: the run says so, and repeats nothing until a person asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs, steering
from store.queries import Query
from store.runs import Run
from tests.engine.conftest import House, flow
from tests.engine.test_waiting import answer, until
from tests.faults.ledger import Ledger, ledger

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]
ORPHAN = Query(
    "orphan",
    b"UPDATE weft.runs SET state = 'running', worker = 77, lease_until = now() - interval '1 minute', fence = 1, wake_at = NULL"
    b" WHERE org_id = %(org_id)s AND id = %(id)s",
)
LEAVE = Query(
    "leave",
    b"INSERT INTO weft.node_runs (org_id, run_id, position, attempt, node_id, node_type, state, seq, error)"
    b" VALUES (%(org_id)s, %(id)s, 'pay', 1, 'pay', 'http', %(state)s, 1, %(error)s::json)",
)
ERROR = '{"code": "in_doubt", "message": "it is not known", "position": "pay"}'


def payment(book: Ledger, **more: Any) -> dict[str, Any]:
    return flow({"id": "pay", "type": "http", "config": {"method": "POST", "url": f"http://127.0.0.1:{book.port}/pay", "json": {}}, **more})


async def orphaned(house: House, definition: dict[str, Any], state: str, error: str | None) -> Run:
    """A run whose worker has died and left its only step in this state."""
    async with house.opened(serving=False) as house.runtime:
        run = await house.start(definition)
    await house.actor.tenant.execute(LEAVE, id=run.id, state=state, error=error)
    await house.actor.tenant.execute(ORPHAN, id=run.id)
    return run


async def asked(house: House, run: Run) -> None:
    """The run waits for a person to say what became of its call."""
    run = await until(house, run.id, "waiting")
    (wait,) = run.waiting_for
    assert (wait["kind"], wait["position"]) == ("task", "pay#ambiguous")
    step = await runs.node(house.runtime, house.actor, run.id, "pay")
    assert (step.state, step.effect, step.effect_key) == ("ambiguous", "write-once", f"{run.id}/pay")


@pytest.mark.parametrize(
    ("decision", "calls", "state", "output"),
    [
        ({"decision": "retry"}, 1, "succeeded", None),
        ({"decision": "happened", "output": '{"status": 201}'}, 0, "succeeded", {"status": 201}),
        ({"decision": "happened"}, 0, "succeeded", None),
        ({"decision": "fail"}, 0, "failed", None),
    ],
)
async def test_a_payment_under_way_when_its_worker_died_is_not_made_again_unasked(
    house: House, decision: dict[str, Any], calls: int, state: str, output: Any
) -> None:
    async with ledger() as book:
        run = await orphaned(house, payment(book), "running", None)
        async with house.opened() as house.runtime:
            await asked(house, run)
            assert not book.effects
            await answer(house, run.id, decision)
            done = await until(house, run.id, state)
            assert sum(book.effects.values()) == calls
            if decision["decision"] != "retry":
                assert done.output == output
            if state == "failed":
                assert done.error["code"] == "in_doubt"


async def test_a_payment_in_doubt_is_still_in_doubt_after_another_restart(house: House) -> None:
    async with ledger() as book:
        run = await orphaned(house, payment(book), "running", None)
        for _ in range(2):
            async with house.opened() as house.runtime:
                await asked(house, run)
        async with house.opened() as house.runtime:
            await answer(house, run.id, {"decision": "retry"})
            await until(house, run.id, "succeeded")
        assert book.effects == {f"{run.id}/pay": 1}


@pytest.mark.parametrize(("policy", "calls", "state"), [("retry", 1, "succeeded"), ("fail", 0, "failed"), ("continue", 0, "succeeded")])
async def test_a_node_may_say_what_to_do_about_doubt(house: House, policy: str, calls: int, state: str) -> None:
    async with ledger() as book:
        definition = payment(book)
        definition["nodes"][0]["on_ambiguous"] = policy
        run = await orphaned(house, definition, "running", None)
        async with house.opened() as house.runtime:
            await until(house, run.id, state)
        assert sum(book.effects.values()) == calls


async def test_a_failure_in_doubt_stands_until_somebody_retries_the_run(house: House) -> None:
    async with ledger() as book:
        run = await orphaned(house, payment(book), "failed", ERROR)
        async with house.opened() as house.runtime:
            run = await until(house, run.id, "failed")
            assert (run.error["code"], sum(book.effects.values())) == ("in_doubt", 0)
            await steering.control(house.runtime, house.actor, run.id, "retry")
            await until(house, run.id, "succeeded")
            assert book.effects == {f"{run.id}/pay": 1}


async def test_a_payment_that_is_declared_idempotent_is_sent_again_with_the_same_key(house: House) -> None:
    async with ledger() as book:
        definition = payment(book)
        definition["nodes"][0]["config"]["idempotent"] = True
        run = await orphaned(house, definition, "running", None)
        async with house.opened() as house.runtime:
            await until(house, run.id, "succeeded")
        assert book.effects == {f"{run.id}/pay": 1}
