"""Agents replay from what they had: neither the model nor a tool is asked, whatever has become of their tools and profiles since."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from graphs import authoring, fixing, profiles, replaying, runs, steering
from graphs.trying import Proposal
from store.runs import Run
from tests.agents.conftest import agent, answer, book, calls, models, post, until, working
from tests.agents.test_tools import Lent
from tests.engine.conftest import House, flow, put
from tests.faults.ledger import Ledger
from tests.models.loopback import ModelServer, Turn

__all__ = ["book", "models", "working"]

pytestmark = pytest.mark.anyio
ADD: dict[str, Any] = {"node": "script", "name": "add", "config": {"code": "return a + b"}}
BAD: dict[str, Any] = {"node": "script", "name": "bad", "config": {"code": "return 1 / 0"}}


def child(value: int) -> dict[str, Any]:
    return {**flow(put("p", a=value), output={"a": "{{ nodes.p.a }}"}), "name": "child"}


def everything(book: Ledger) -> dict[str, Any]:
    look = {"node": "http", "name": "look", "config": {"url": f"http://127.0.0.1:{book.port}/t/look", "method": "GET"}}
    memory = {"remember": True}
    return agent(ADD, BAD, look, post(book), {"workflow": "child"}, {"agent": "bob"}, {"ask": {}}, memory=memory)


async def save(house: House, **body: Any) -> None:
    await profiles.save(house.runtime, house.actor, "bob", body)


async def recorded(house: House, models: ModelServer, book: Ledger) -> Run:
    """Several turns, tools side by side, one that fails, one that is approved of, a workflow, a sub-agent, a question, a memory."""
    await house.publish(child(1))
    await save(house, system="You are kind.", tools=[ADD])
    models.turns.extend(
        [
            calls(
                ("add", {"a": 1, "b": 2}), ("bad", {}), ("look", {}), ("child", {}),
                ("plan", {"items": [{"text": "x", "state": "open"}]}),
            ),
            calls(("pay", {"json": {"amount": 7}})),
            calls(("bob", {"prompt": "add"})),
            calls(("add", {"a": 3, "b": 4})),  # bob
            Turn(text="seven"),  # bob
            calls(("ask_person", {"title": "Enough?"})),
            Turn(text="done"),
        ]
    )  # fmt: skip
    run = await house.run(everything(book))
    run = await asked(house, run.id, "a/approve_2_1")
    await answer(house, run.id, {"approved": True}, at="a/approve_2_1")
    run = await asked(house, run.id, "a/call_4_1")
    await answer(house, run.id, {"answer": "yes"}, at="a/call_4_1")
    run = await until(house, run.id, "succeeded")
    assert run.output["text"] == "done"
    return run


async def asked(house: House, run_id: str, position: str) -> Run:
    while True:
        run = await until(house, run_id, "waiting")
        if [wait for wait in run.waiting_for if wait["position"] == position]:
            return run


async def test_an_agent_replays_without_a_single_request_whatever_its_tools_have_become(
    working: House, models: ModelServer, book: Ledger
) -> None:
    run = await recorded(working, models, book)
    requests = len(models.asked), len(book.arrivals)
    first = await replaying.replay(working.runtime, working.actor, run.id)
    assert first.equal, replaying.report_of(first)
    assert first.digest == first.recorded
    draft = await authoring.get(working.runtime, working.actor, "child")
    changes = [{"op": "replace", "path": "/nodes/0/config/values/a", "value": 2}, {"op": "add", "path": "/description", "value": "Other."}]
    await authoring.edit(working.runtime, working.actor, "child", changes, draft.revision)
    await authoring.publish(working.runtime, working.actor, "child")
    await save(working, system="You are rude.")
    later = await replaying.replay(working.runtime, working.actor, run.id)
    assert later.equal, replaying.report_of(later)
    assert (len(models.asked), len(book.arrivals)) == requests
    steps = {step.position: step for step in await runs.trace(working.runtime, working.actor, later.run.id)}
    assert {"a/turn_1", "a/call_1_2", "a/call_1_4", "a/approve_2_1", "a/call_3_1/call_1_1", "a/call_4_1"} <= steps.keys()


async def test_an_edit_of_an_agent_is_located_at_the_agent(working: House, models: ModelServer, book: Ledger) -> None:
    run = await recorded(working, models, book)
    requests = len(models.asked), len(book.arrivals)
    edits: list[tuple[str, Any]] = [
        ("prompt", "Do other work."),
        ("tools", everything(book)["nodes"][0]["config"]["tools"][1:]),
        ("approve", True),
        ("approvers", {"group": "support"}),
    ]
    for field, value in edits:
        for policy in ("stop", "simulate"):
            draft = copy.deepcopy(everything(book))
            draft["nodes"][0]["config"][field] = value
            again = await replaying.replay(working.runtime, working.actor, run.id, draft, on_divergence=policy)
            assert again.divergence, field
            assert (again.divergence.position, again.divergence.what) == ("a", "config"), field
    assert (len(models.asked), len(book.arrivals)) == requests


async def test_an_agent_with_a_profile_keeps_it(working: House, models: ModelServer) -> None:
    await save(working, system="be kind", tools=[ADD])
    models.turns.extend([calls(("add", {"a": 1, "b": 1})), Turn(text="two")])
    run = await working.run(agent(profile="bob"))
    await save(working, system="be rude")
    again = await replaying.replay(working.runtime, working.actor, run.id)
    assert again.equal, replaying.report_of(again)


async def test_an_agent_whose_tools_could_not_be_looked_up_fails_as_it_did(working: House, models: ModelServer) -> None:
    run = await working.run(agent({"house": ["list_runs"]}))
    assert run.error["code"] == "no_house"
    working.runtime.engine.house = Lent()
    again = await replaying.replay(working.runtime, working.actor, run.id)
    assert again.equal, replaying.report_of(again)
    assert not models.asked


async def test_an_agent_that_a_person_stood_in_for_is_not_asked_again(working: House, models: ModelServer) -> None:
    run = await working.run(agent({"house": ["list_runs"]}))
    await steering.skip(working.runtime, working.actor, run.id, "a", {"text": "mine"})
    run = await until(working, run.id, "succeeded")
    again = await replaying.replay(working.runtime, working.actor, run.id)
    assert again.equal, replaying.report_of(again)


async def test_a_plain_agent_with_a_limit_a_rejection_and_a_schema_replays(working: House, models: ModelServer, book: Ledger) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    models.turns.extend([calls(("pay", {"json": 1}), ("pay", {"json": 2})), Turn(text='{"sum": 3}')])
    run = await working.run(agent(post(book), output_schema=schema, max_calls=1, on_limit="answer"))
    await answer(working, run.id, {"approved": False, "comment": "no"})
    run = await until(working, run.id, "succeeded")
    assert run.output == {"sum": 3}
    requests = len(models.asked)
    again = await replaying.replay(working.runtime, working.actor, run.id)
    assert again.equal, replaying.report_of(again)
    assert again.run.output == run.output
    assert (len(models.asked), book.arrivals) == (requests, [])


async def test_an_agent_cut_off_while_it_waited_replays(working: House, models: ModelServer, book: Ledger) -> None:
    models.turns.append(calls(("add", {"a": 1, "b": 1}), ("pay", {})))
    run = await working.run(agent(ADD, post(book)))
    await asked(working, run.id, "a/approve_1_2")
    await steering.control(working.runtime, working.actor, run.id, "cancel")
    run = await until(working, run.id, "cancelled")
    again = await replaying.replay(working.runtime, working.actor, run.id)
    assert again.equal, replaying.report_of(again)
    assert (len(models.asked), book.arrivals) == (1, [])


async def test_a_fix_of_an_agent_whose_turn_failed_is_tried_at_the_agent(working: House, models: ModelServer) -> None:
    models.turns.append(Turn(status=400, message="no such model"))
    definition = agent()
    definition["nodes"].append(put("told", said="{{ nodes.a.text }}"))
    definition["edges"].append({"from": "a", "to": "told"})
    run = await working.run(definition)
    assert run.error["position"] == "a/turn_1"
    asked_before = len(models.asked)

    async def proposed(*patch: dict[str, Any]) -> Proposal:
        return await fixing.propose(working.runtime, working.actor, run.id, list(patch))

    good = await proposed({"op": "add", "path": "/nodes/0/config/model", "value": "openai:gpt-4.1-mini"})
    assert (good.ok, good.sampled) == (True, True), good.reason
    for patch, why in (
        ({"op": "replace", "path": "/nodes/1/config/values/said", "value": "hello"}, "the failing step still fails"),
        ({"op": "add", "path": "/nodes/0/on_error", "value": "continue"}, "told goes on with nothing in place"),
        ({"op": "add", "path": "/nodes/0/disabled", "value": True}, "a is not done any more"),
    ):
        bad = await proposed(patch)
        assert not bad.ok
        assert why in bad.reason, bad.reason
    assert len(models.asked) == asked_before
