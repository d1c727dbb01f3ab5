"""Money of agents: nothing that an agent runs spends outside of its limits, and a budget holds for every version of a profile."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import forking, profiles
from graphs.forking import Changes
from store import models as registry
from store import spending
from store.models import Listed
from tests.agents.conftest import agent, calls, results, until
from tests.engine.conftest import House, flow
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
TINY = Listed(name="openai:tiny", input_price=1.0, output_price=1.0)


async def test_a_budget_of_an_agent_holds_for_every_version_of_its_profile(working: House, models: ModelServer) -> None:
    tenant = working.actor.tenant
    await registry.put(tenant, TINY)
    await profiles.save(working.runtime, working.actor, "researcher", {"system": "Look."})
    await spending.set_budget(tenant, kind="agent", subject="researcher", period="total", usd=0.0, tokens=0)
    run = await working.run(agent(profile="researcher"))
    assert (run.state, run.error["code"]) == ("failed", "budget_exceeded")
    assert not models.asked


async def test_child_runs_of_an_agent_spend_within_its_limits(working: House, models: ModelServer) -> None:
    await registry.put(working.actor.tenant, TINY)
    await working.publish(flow({"id": "l", "type": "llm", "config": {"prompt": "p", "max_tokens": 4_000}}) | {"name": "think"})
    models.turns.append(calls(*(("think", dict[str, Any]()) for _ in range(8))))
    models.turns.extend(Turn(text="thought", used=(100, 4_000)) for _ in range(8))
    run = await working.run(agent({"workflow": "think"}, max_tokens=20_000, max_turns=2))
    run = await until(working, run.id, "failed")
    assert run.error["code"] == "agent_limit"
    assert 3 <= len(models.asked) - 1 <= 6  # of eight


async def test_a_child_run_of_a_fork_that_begins_at_a_call_spends_within_the_limits_of_the_agent(
    working: House, models: ModelServer
) -> None:
    """The fork has the turn of the model already, and its agent asks none before the child run does."""
    await registry.put(working.actor.tenant, TINY)
    thoughts = [{"id": id, "type": "llm", "config": {"prompt": "p", "max_tokens": 4_000}} for id in "xyz"]
    await working.publish(flow(*thoughts, edges=[("x", "y"), ("y", "z")]) | {"name": "think"})
    models.turns.extend([calls(("think", {})), Turn(status=400), Turn(text="done")])
    run = await working.run(agent({"workflow": "think"}, max_tokens=6_000))
    assert run.state == "succeeded", run.error
    asked = len(models.asked)
    models.turns.extend(Turn(text="thought", used=(100, 4_000)) for _ in range(3))
    fork = await forking.fork(working.runtime, working.actor, run.id, node="a/call_1_1", changes=Changes(edits={}, vars={}))
    fork = await until(working, fork.id, "failed")
    assert fork.error["code"] == "agent_limit"
    assert len(models.asked) - asked == 2  # of three, and a turn


@pytest.mark.parametrize("order", [1, -1])
async def test_of_two_limits_of_one_name_the_smaller_holds(working: House, models: ModelServer, order: int) -> None:
    await registry.put(working.actor.tenant, TINY)
    limits = [{"key": "mine", "tokens": 10}, {"key": "mine", "tokens": 10**9}][::order]
    run = await working.run(flow({"id": "l", "type": "llm", "config": {"prompt": "p", "limits": limits}}))
    assert (run.state, run.error["code"]) == ("failed", "budget_exceeded")


@pytest.mark.parametrize("arguments", [None, {"type": "object"}])
async def test_a_model_does_not_say_what_a_call_may_spend_nor_who_pays(working: House, models: ModelServer, arguments: Any) -> None:
    given = {"prompt": "p", "limits": [{"key": "agent:a", "tokens": 10**9}], "agent": "somebody"}
    models.turns.extend([calls(("llm", given)), Turn(text="inner"), Turn(text="done")])
    run = await working.run(agent({"node": "llm", **({"arguments": arguments} if arguments else {})}, max_tokens=50_000))
    assert run.state == "succeeded"
    page = await spending.calls(working.actor.tenant, run_id=run.id, before=None, limit=10)
    assert {call.agent for call in page} <= {None, "agent a"}
    assert arguments or "bad_arguments" in results(models)[0]
