"""Models inside of runs: what they spend is on the books of the run, and its budget holds over all its steps and the runs it starts."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.models import ModelSettings
from graphs.runs import Run
from server.views.runs import run_view
from store import models as registry
from store import spending
from store.models import Listed
from tests.engine.conftest import House, actor, evaluator, flow, house
from tests.models.loopback import ModelServer, Turn

__all__ = ["actor", "evaluator", "house"]
pytestmark = pytest.mark.anyio
TINY = Listed(name="openai:tiny", input_price=1000.0, output_price=2000.0)


def ask(id: str, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": "llm", "config": {"prompt": "Hello", "max_tokens": 10, **config}}


async def ran(house: House, settings: ModelSettings, definition: dict[str, Any]) -> Run:
    await registry.put(house.actor.tenant, TINY)
    async with house.opened(models=settings) as runtime:
        house.runtime = runtime
        return await house.run(definition)


async def test_a_step_is_on_the_books_of_its_run(house: House, loopback: ModelServer) -> None:
    definition = flow(
        {"id": "each", "type": "foreach", "config": {"items": [1, 2], "as": "one", "body": {"nodes": [ask("ask")]}}},
        ask("more", agent="clerk"),
        edges=[("each", "more")],
    )
    loopback.turns.append(Turn(status=500))  # tried again
    run = await ran(house, loopback.openai(), definition)
    assert run.state == "succeeded", run.error
    rows = (await spending.calls(house.actor.tenant, run_id=run.id, before=None, limit=10))[::-1]
    assert sorted((row.position, row.attempt, row.outcome) for row in rows if row.position != "more")[-1][0] == "each[1]/ask"
    assert sorted((row.attempt, row.outcome) for row in rows if row.position != "more") == [(1, "model_unavailable"), (1, "ok"), (2, "ok")]
    assert {(row.user_name, row.workflow) for row in rows} == {("Olga", "flow")}
    assert [row.agent for row in rows if row.position == "more"] == ["clerk"]
    assert run_view(run)["spent"] == {"calls": 4, "input_tokens": 33, "output_tokens": 21, "cost_usd": 0.075, "unpriced": 0}
    assert run.output["usage"]["cost_usd"] == pytest.approx(0.025)


async def test_the_budget_of_a_run_stops_it_and_says_so(house: House, loopback: ModelServer) -> None:
    nodes = [ask(f"ask{number}") for number in range(5)]
    edges = [(f"ask{number}", f"ask{number + 1}") for number in range(4)]
    run = await ran(house, loopback.openai(), flow(*nodes, edges=edges, settings={"budget": {"usd": 0.08}}))
    assert run.state == "failed"
    assert run.error["code"] == "budget_exceeded"
    assert run.error["position"] == "ask2"
    assert (
        f"the budget of run {run.id} (settings.budget) does not pay for a call to openai:tiny any more: spent $0.05 of $0.08"
        in run.error["message"]
    )
    assert len(loopback.asked) == 2


async def test_what_a_run_starts_spends_of_its_budget(house: House, loopback: ModelServer) -> None:
    await house.publish({**flow(ask("a"), ask("b"), edges=[("a", "b")]), "name": "child"})
    parent = flow(
        ask("first"),
        {"id": "sub", "type": "subflow", "config": {"workflow": "child"}},
        edges=[("first", "sub")],
        settings={"budget": {"tokens": 60}},
    )
    run = await ran(house, loopback.openai(), parent)
    assert run.state == "failed", run.output
    assert "budget of run" in run.error["message"]
    assert len(loopback.asked) == 2  # one of the parent's, one of the child's


async def test_a_budget_no_model_can_be_priced_for_refuses_it(house: House, loopback: ModelServer) -> None:
    definition = flow(ask("ask", model="openai:unpriced"), settings={"budget": {"usd": 5}})
    run = await ran(house, loopback.openai(), definition)
    assert (run.state, run.error["code"]) == ("failed", "model_price_unknown")
    assert loopback.asked == []


async def test_a_step_waits_as_long_as_the_vendor_says(house: House, loopback: ModelServer) -> None:
    loopback.turns.append(Turn(status=429, headers={"retry-after": "2"}))
    run = await ran(house, loopback.openai(), flow(ask("ask")))
    assert run.state == "succeeded"
    rows = (await spending.calls(house.actor.tenant, run_id=run.id, before=None, limit=10))[::-1]
    assert [row.outcome for row in rows] == ["model_rate_limited", "ok"]
    assert (rows[1].at - rows[0].at).total_seconds() >= 2.0
