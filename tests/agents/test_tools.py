"""Tools that are defined elsewhere: published workflows, people, Weft's own tools, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from graphs import runs, tasks
from graphs.definition import Json
from graphs.nodetype import Effect
from graphs.runtime import HouseTool
from store.postgres import Tenant
from tests.agents.conftest import agent, answer, calls, results, rows, until
from tests.engine.conftest import House, flow, put
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
INPUT = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}


def tools_of(models: ModelServer, turn: int = -1) -> dict[str, Any]:
    return {tool["function"]["name"]: tool["function"] for tool in models.asked[turn]["tools"]}


async def test_a_published_workflow_is_a_tool_with_its_input_as_arguments(working: House, models: ModelServer) -> None:
    refund = flow(put("done", order="{{ input.order }}"), input=INPUT, description="Refunds an order.") | {"name": "refund-order"}
    await working.publish(refund)
    models.turns.extend([calls(("refund_order", {"order": "seven"})), calls(("refund_order", {"order": 7})), Turn(text="refunded")])
    run = await working.run(agent({"workflow": "refund-order"}))
    assert run.state == "succeeded", run.error
    tool = tools_of(models)["refund_order"]
    assert tool["parameters"]["properties"] == INPUT["properties"]
    assert tool["description"].startswith("Refunds an order.")
    refused, done = results(models)
    assert json.loads(refused)["error"]["code"] == "bad_arguments"
    assert json.loads(done)["output"] == {"order": 7}
    child = await runs.get(working.runtime, working.actor, json.loads(done)["run_id"])
    assert (child.workflow, child.state) == ("refund-order", "succeeded")


@pytest.mark.parametrize(
    "step",
    [
        {"id": "p", "type": "http", "config": {"method": "POST", "url": "http://127.0.0.1:9/"}},
        {"id": "p", "type": "http", "config": {"method": "DELETE", "url": "http://127.0.0.1:9/"}},
        {"id": "p", "type": "forget", "config": {"query": "all"}},
    ],
)
async def test_a_workflow_with_effects_is_asked_about_first(working: House, models: ModelServer, step: dict[str, Any]) -> None:
    looped = {"id": "f", "type": "foreach", "config": {"items": [1], "body": {"nodes": [step], "edges": []}}}
    await working.publish(flow(looped) | {"name": "pay"})
    models.turns.extend([calls(("pay", {})), Turn(text="done")])
    run = await working.run(agent({"workflow": "pay"}))
    assert [task.position for task in (await tasks.page(working.runtime, working.actor, run_id=run.id)).items] == ["a/approve_1_1"]


async def test_a_question_to_a_person_waits_for_their_words(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(("ask_person", {"title": "Which colour?"})), Turn(text="red")])
    run = await working.run(agent({"ask": {"assign_to": {"group": "design"}}}))
    (task,) = (await tasks.page(working.runtime, working.actor, run_id=run.id)).items
    assert (task.title, task.assign_to, task.kind) == ("Which colour?", {"group": "design"}, "input")
    await answer(working, run.id, {"answer": "red"})
    run = await until(working, run.id, "succeeded")
    assert json.loads(results(models)[0]) == {"answer": {"answer": "red"}, "answered_by": "Olga", "timed_out": False}


@pytest.mark.parametrize(
    ("tool", "code"),
    [
        ({"workflow": "nowhere"}, "unknown_workflow"),
        ({"agent": "nobody"}, "unknown_agent"),
        ({"mcp": "shop", "tools": ["find"]}, "connection_missing"),
        ({"house": ["list_runs"]}, "no_house"),
    ],
)
async def test_a_tool_that_is_not_there_fails_the_agent_before_it_begins(
    working: House, models: ModelServer, tool: dict[str, Any], code: str
) -> None:
    if tool.keys() & {"workflow", "agent"}:  # the check would not let it run: it went away after that
        wrapped = {"id": "n", "type": "agent", "config": {"prompt": "go", "tools": [tool]}}
        from store import workflows
        from store.runs import NewRun

        digest = await workflows.store_definition(working.actor.tenant, flow(wrapped))
        new: NewRun = await runs.new_run(
            working.runtime, working.actor, flow(wrapped), input={}, workflow_id=None, version=None, digest=digest, name="flow",
            mode="production", mocks=None,
        )  # fmt: skip
        run = await runs.wait(
            working.runtime, working.actor, (await working.runtime.engine.start(working.actor.tenant, new)).run_id, seconds=20
        )
    else:
        run = await working.run(agent(tool))
    assert (run.state, run.error["code"]) == ("failed", code)
    assert not models.asked


class Lent:
    """Weft's own tools as a server lends them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Json]]] = []

    def specs(self, role: str) -> Sequence[HouseTool]:
        names = {"list_runs": Effect.READ, "answer_task": Effect.WRITE_IDEMPOTENT}
        return [HouseTool(name=name, description=name, schema={"type": "object"}, effect=effect) for name, effect in names.items()]

    async def call(
        self,
        tenant: Tenant,
        user_id: str,
        run_id: str,
        tool: str,
        arguments: dict[str, Json],
        *,
        depth: int = 0,
        key: str | None = None,
        show: Callable[[str, Json], None] | None = None,
    ) -> Json:
        self.asked.append((tool, arguments))
        return {"runs": []}


async def test_wefts_own_tools_are_lent_and_answering_for_people_is_always_asked_about(working: House, models: ModelServer) -> None:
    """Else an agent could answer the questions that it has to put to people."""
    lent = Lent()
    working.runtime.engine.house = lent
    models.turns.extend([calls(("list_runs", {"state": "failed"})), calls(("answer_task", {"task": "x"})), Turn(text="done")])
    run = await working.run(agent({"house": ["list_runs", "answer_task"], "approve": False}, approve=False))
    assert run.state == "waiting"
    assert lent.asked == [("list_runs", {"state": "failed"})]
    await answer(working, run.id, {"approved": False})
    await until(working, run.id, "succeeded")
    assert lent.asked == [("list_runs", {"state": "failed"})]
    assert (await rows(working, run.id))["a/call_1_1"] == ("house_tool", "succeeded")


async def test_what_an_agent_was_offered_stays_while_it_works_whatever_is_published(working: House, models: ModelServer) -> None:
    from graphs import authoring

    made, _ = await authoring.create(working.runtime, working.actor, flow(put("done", v=1), input=INPUT) | {"name": "job"})
    assert made
    await authoring.publish(working.runtime, working.actor, "job")
    models.turns.extend([calls(("ask_person", {"title": "Go on?"})), calls(("job", {"order": 1})), Turn(text="done")])
    run = await working.run(agent({"workflow": "job"}, {"ask": {}}))
    patch = [{"op": "replace", "path": "/nodes/0/config/values/v", "value": 2}, {"op": "remove", "path": "/input"}]
    await authoring.edit(working.runtime, working.actor, "job", patch, base_revision=made.revision)
    await authoring.publish(working.runtime, working.actor, "job")
    await answer(working, run.id, {"answer": "yes"})
    await until(working, run.id, "succeeded")
    assert tools_of(models)["job"]["parameters"]["properties"] == INPUT["properties"]
    assert json.loads(results(models)[1])["output"] == {"v": 1}
