"""Agents of models that think: what was thought goes through the journal and back to the model, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs
from store import node_runs
from tests.agents.conftest import agent
from tests.agents.test_loop import ADD
from tests.engine.conftest import House
from tests.models.loopback import ModelServer, Turn
from tests.models.test_thinking import FIELDS, SIGNED

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
async def test_every_turn_of_an_agent_gets_the_thoughts_before_it_back(house: House, models: ModelServer, vendor: str) -> None:
    thoughts = SIGNED if vendor == "anthropic" else FIELDS[:1]
    call = ("add", {"a": 1, "b": 2})
    models.turns.extend([Turn(text="", thoughts=thoughts, calls=(call,)), Turn(text="", thoughts=thoughts[:1], calls=(call, call))])
    models.turns.append(Turn(text="It is 3."))
    async with house.opened(models=models.anthropic() if vendor == "anthropic" else models.openai()) as runtime:
        house.runtime = runtime
        run = await house.run(agent(ADD, effort="low"))
        assert (run.state, run.output and run.output["text"]) == ("succeeded", "It is 3."), run.error
        row = await node_runs.find(house.actor.tenant, run.id, "a/turn_1")
        trace = await runs.trace(runtime, house.actor, run.id)
    assert [row.state for row in trace] == ["succeeded"] * len(trace)
    assert len(models.asked) == 3  # which the server would have refused without them
    turns = [said for said in models.asked[2]["messages"] if said["role"] == "assistant"]
    assert [thought_of(said, vendor) for said in turns] == [list(thoughts), list(thoughts[:1])]
    kept: Any = row.output if row else None
    assert kept["thoughts"]["model"] == runtime.models.default()


def thought_of(said: dict[str, Any], vendor: str) -> list[dict[str, Any]]:
    if vendor == "openai":
        return [{"reasoning_content": said["reasoning_content"]}]
    return [block for block in said["content"] if "thinking" in block["type"]]
