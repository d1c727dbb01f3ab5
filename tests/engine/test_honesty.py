"""States tell the truth: a run that cannot go on is failed with a reason, and never stays running or counts as succeeded."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs, steering
from graphs.models import Models
from store import runs as run_rows
from store import workflows
from store.queries import Query
from store.runs import NewRun
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P7")]
ORPHAN = Query(
    "orphan",
    b"UPDATE weft.runs SET state = 'running', worker = 77, claims = 40, lease_until = now() - interval '1 minute', wake_at = NULL"
    b" WHERE org_id = %(org_id)s AND id = %(id)s",
)


async def test_a_run_that_kills_every_worker_is_given_up_with_a_reason(house: House) -> None:
    async with house.opened(serving=False) as house.runtime:
        run = await house.start(flow(put("a")))
        await house.actor.tenant.execute(ORPHAN, id=run.id)
    async with house.opened() as house.runtime:
        run = await until(house, run.id, "failed")
        assert run.error["code"] == "poison"
        await steering.control(house.runtime, house.actor, run.id, "retry")
        assert (await until(house, run.id, "succeeded")).output == {"at": "a"}


async def test_a_definition_this_version_cannot_prepare_fails_its_run(running: House) -> None:
    definition = flow({"id": "a", "type": "from_the_future", "config": {}})
    digest = await workflows.store_definition(running.actor.tenant, definition)
    new = NewRun(
        workflow_id=None, version=None, digest=digest, name="f", mode="production", input={}, created_by=running.actor.user_id, actor="x"
    )
    started = await run_rows.start(running.actor.tenant, new)
    assert (await until(running, started.run_id, "failed")).error["code"] == "unprepared"


async def test_an_error_of_ours_fails_the_run_and_shows_only_its_number(
    running: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("inside knowledge")

    monkeypatch.setattr(Models, "complete", broken)
    run = await running.run(flow({"id": "ask", "type": "llm", "config": {"prompt": "x"}}))
    assert (run.state, run.error["code"]) == ("failed", "internal")
    assert "inside knowledge" not in str(run)
    assert run.error["message"].split()[-1] in caplog.text
    assert [step.state for step in await runs.trace(running.runtime, running.actor, run.id)] == ["failed"]


async def test_a_counting_join_that_cannot_be_satisfied_fails_and_does_not_vanish(running: House) -> None:
    definition = flow(
        put("a"),
        put("b"),
        {"id": "two", "type": "join", "config": {"mode": "count", "count": 2}},
        put("end"),
        edges=[("a", "two"), ("b", "two", {"when": "False"}), ("two", "end")],
    )
    run = await running.run(definition)
    assert (run.state, run.error["code"]) == ("failed", "join_unsatisfied")
