"""Remote tools of agents: what a person approved is what they call, for as long as they work."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from graphs import connecting, remoting
from graphs.nodetype import Effect
from graphs.remoting import Choice
from tests.agents.conftest import agent, answer, calls, results, until
from tests.engine.conftest import House
from tests.models.loopback import ModelServer, Turn
from tests.remote.toolserver import ToolServer, tool_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def there() -> Generator[ToolServer]:
    with tool_server() as server:
        yield server


async def approve(house: House, effect: Effect) -> None:
    await remoting.refresh(house.runtime, house.actor, "acme")
    tools = await remoting.show(house.runtime, house.actor, "acme")
    choices = [Choice(name=tool.name, digest=tool.digest or "", effect=effect) for tool in tools.tools if tool.name == "echo"]
    await remoting.approve(house.runtime, house.actor, "acme", choices)


@pytest.mark.parametrize("change", ["effect", "definition", "nothing"])
async def test_an_agent_does_not_call_a_tool_that_was_approved_anew_as_something_else(
    working: House, models: ModelServer, there: ToolServer, change: str
) -> None:
    await connecting.create(working.runtime, working.actor, name="acme", kind="mcp", settings={"url": there.url})
    await approve(working, Effect.READ)
    models.turns.extend([calls(("ask_person", {"title": "Go on?"})), calls(("echo", {"text": "hi"})), Turn(text="done")])
    run = await working.run(agent({"mcp": "acme", "tools": ["echo"]}, {"ask": {}}))
    if change == "definition":
        there.tools["echo"]["description"] = "Pays."
    await approve(working, Effect.READ if change != "effect" else Effect.WRITE_ONCE)
    await answer(working, run.id, {"answer": "yes"})
    run = await until(working, run.id, "succeeded")
    told: Any = results(models)[1]
    assert there.count("echo") == (change == "nothing")
    assert change == "nothing" or json.loads(told)["error"]["code"] == "tool_changed"


@pytest.mark.parametrize(("named", "code"), [("acme", "tool_unusable"), ("acne", "connection_missing")])
async def test_an_agent_whose_connection_has_nothing_for_it_fails_and_says_so(
    working: House, models: ModelServer, there: ToolServer, named: str, code: str
) -> None:
    await connecting.create(working.runtime, working.actor, name="acme", kind="mcp", settings={"url": there.url})
    await remoting.refresh(working.runtime, working.actor, "acme")
    run = await working.run(agent({"mcp": named}))
    assert (run.state, run.error["code"], models.asked) == ("failed", code, [])
    assert "acme" in run.error["message"]
