"""Writes that may or may not have happened: the run says so, and repeats nothing until a person asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs
from store.queries import Query
from store.runs import Run
from tests.engine.conftest import House, flow
from tests.engine.test_waiting import until
from tests.faults.ledger import Ledger, ledger

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P2")]
ORPHAN = Query(
    "orphan", b"UPDATE weft.runs SET state = 'running', worker = 77, fence = 1, wake_at = NULL WHERE org_id = %(org_id)s AND id = %(id)s"
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


@pytest.mark.parametrize(("state", "error"), [("running", None), ("failed", ERROR)])
async def test_a_payment_under_way_when_its_worker_died_is_not_made_again_unasked(house: House, state: str, error: str | None) -> None:
    async with ledger() as book:
        run = await orphaned(house, payment(book), state, error)
        async with house.opened() as house.runtime:
            run = await until(house, run.id, "failed")
            assert (run.error["code"], sum(book.effects.values())) == ("in_doubt", 0)
            await runs.control(house.runtime, house.actor, run.id, "retry")
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
