"""Profiles: versions that never change, runs that keep theirs, nodes that only narrow, and sub-agents with what is above them in sight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphs import profiles, tasks
from graphs.agents import watching
from graphs.agents.offers import Settings
from graphs.agents.profiles import narrowed
from graphs.checks import Known, check
from graphs.nodetype import Failure
from store.errors import Conflict, Invalid, NotFound
from tests.agents.conftest import agent, answer, calls, post, results, rows, until
from tests.engine.conftest import House, flow
from tests.faults.ledger import Ledger
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
WAIT = {"id": "w", "type": "approval", "config": {"title": "Go on?"}}
ADDER = {"node": "script", "name": "add", "config": {"code": "return 2"}}


async def save(house: House, name: str, **body: Any) -> profiles.Profile:
    return await profiles.save(house.runtime, house.actor, name, body, description=f"It is {name}.")


def system(models: ModelServer) -> str:
    return str(models.asked[-1]["messages"][0]["content"])


async def test_versions_count_up_stay_as_they_are_and_the_same_once_more_makes_none(working: House) -> None:
    first = await save(working, "helper", system="one")
    again = await save(working, "helper", system="one")
    second = await save(working, "helper", system="two")
    assert [first.version, again.version, second.version] == [1, 1, 2]
    runtime, actor = working.runtime, working.actor
    assert (await profiles.get(runtime, actor, "helper", 1)).body == {"system": "one"}
    assert (await profiles.get(runtime, actor, "helper")).version == 2
    assert [item.version for item in await profiles.versions(runtime, actor, "helper")] == [2, 1]
    with pytest.raises(Conflict, match="newest version of helper is 2"):
        await profiles.save(runtime, actor, "helper", {"system": "three"}, expect=1)
    with pytest.raises(NotFound, match=r"Did you mean helper\?"):
        await profiles.get(runtime, actor, "helpr")
    with pytest.raises(NotFound, match="no version 9; the newest is 2"):
        await profiles.get(runtime, actor, "helper", 9)


async def test_several_who_save_at_once_get_a_version_each_or_hear_of_the_others(working: House) -> None:
    made = await asyncio.gather(*(save(working, "busy", system=str(number)) for number in range(8)), return_exceptions=True)
    saved = [one for one in made if not isinstance(one, BaseException)]
    assert all(isinstance(one, Conflict) for one in made if isinstance(one, BaseException))
    assert sorted(one.version for one in saved) == list(range(1, len(saved) + 1))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": "x"}, "/prompt"),
        ({"tools": [{"node": "foreach"}]}, "no node type that can be a tool"),
        ({"tools": [{"node": "subflow"}]}, 'write {"workflow": name}'),
        ({"tools": [{"node": "agent"}]}, 'write {"agent": profile}'),
        ({"tools": [{"node": "house_tool"}]}, 'write {"house": '),
        ({"tools": [{"node": "mcp_tool"}]}, 'write {"mcp": connection'),
        ({"tools": [{"node": "openapi"}]}, 'write {"openapi": connection'),
        ({"tools": [{"node": "while"}]}, "no node type that can be a tool"),
        ({"tools": [{"node": "voice"}]}, "`connection` of voice is the author's"),
        ({"tools": [{"node": "llm", "arguments": {"type": "object", "properties": {"limits": True}}}]}, "who pays"),
        ({"tools": [{"node": "http", "workflow": "x"}]}, "exactly one of"),
        ({"tools": [{"node": "http", "config": {"uri": "x"}}]}, "no field 'uri'"),
        ({"system": "for {{ input.name }}"}, "no templates"),
        ({"model": "nobody:x"}, "is not a model"),
        ({"max_turns": 201}, "/max_turns"),
    ],
)
async def test_what_is_no_profile_is_refused_with_the_place(working: House, body: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        await profiles.save(working.runtime, working.actor, "wrong", body)


async def test_a_run_keeps_the_profile_that_was_there_when_it_began(working: House, models: ModelServer) -> None:
    await save(working, "helper", system="the old way")
    definition = flow(WAIT, {"id": "a", "type": "agent", "config": {"prompt": "go", "profile": "helper"}}, edges=[("w", "a")])
    run = await working.run(definition)
    await save(working, "helper", system="the new way")
    await answer(working, run.id, {"approved": True})
    await until(working, run.id, "succeeded")
    assert system(models).startswith("the old way")
    (root,) = await watching.at_work(working.runtime, working.actor, run.id)
    assert root.profile == "helper@1"
    await working.run(agent(profile="helper"))
    assert system(models).startswith("the new way")
    await working.run(agent(profile="helper@1"))
    assert system(models).startswith("the old way")


async def test_definitions_that_name_unknown_profiles_are_problems_with_a_repair(working: House) -> None:
    def named(**config: Any) -> dict[str, Any]:
        return flow({"id": "a", "type": "agent", "config": {"prompt": "go", **config}})

    known = Known(agents={"helper": 2}, workflows={"refund": {}}, connections={"shop": "mcp"}, tools={"shop": {"find": {}}})
    for config, code, patch in [
        ({"profile": "helpr"}, "unknown_agent", "helper"),
        ({"profile": "helper@3"}, "unknown_agent", "helper@2"),
        ({"tools": [{"agent": "helpr"}]}, "unknown_agent", "helper"),
        ({"tools": [{"workflow": "refnd"}]}, "unknown_workflow", "refund"),
        ({"tools": [{"mcp": "shop", "tools": ["fnd"]}]}, "unknown_tool", "find"),
        ({"tools": [{"mcp": "shp"}]}, "unknown_connection", "shop"),
        ({"tools": [{"house": ["lst_runs"]}]}, "unknown_tool", "list_runs"),
    ]:
        report = await check(named(**config), working.evaluator, known)
        (problem,) = report.diagnostics
        assert (problem.code, problem.suggestions[0]) == (code, patch)
    assert (await check(named(profile="helper@2", tools=[{"agent": "helper"}]), working.evaluator, known)).ok


# -- narrowing -------------------------------------------------------------------------------------------------------------------

WIDE = Settings.model_validate(
    {
        "system": "Be kind.", "model": "openai:tiny", "approve": "effects", "max_turns": 10, "max_usd": 1.0, "max_depth": 1,
        "tools": [{"node": "http", "name": "look", "config": {"method": "GET"}}, {**ADDER, "approve": True}],
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("node", "field", "value"),
    [
        ({}, "max_turns", 10),
        ({"max_turns": 50}, "max_turns", 10),
        ({"max_turns": 3}, "max_turns", 3),
        ({"max_usd": 9.0}, "max_usd", 1.0),
        ({"max_tokens": 100}, "max_tokens", 100),
        ({"max_depth": 5}, "max_depth", 1),
        ({"approve": False}, "approve", "effects"),
        ({"approve": True}, "approve", True),
        ({"system": "Be brief."}, "system", "Be kind.\n\nBe brief."),
        ({"model": "openai:other"}, "model", "openai:other"),
    ],
)
def test_a_node_takes_away_from_its_profile_and_adds_nothing(node: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(narrowed(WIDE, Settings.model_validate(node)), field) == value


def test_tools_of_a_node_with_a_profile_leave_some_out_or_ask_more_often() -> None:
    chosen = narrowed(WIDE, Settings.model_validate({"tools": [{**ADDER, "approve": False}]})).tools
    assert [(tool.name, tool.approve) for tool in chosen] == [("add", True)]
    assert [tool.name for tool in narrowed(WIDE, Settings()).tools] == ["look", "add"]
    for wider in ({"node": "http", "name": "look"}, {"node": "http", "name": "look", "config": {"method": "POST"}}, {"workflow": "refund"}):
        with pytest.raises(Failure, match="can only leave some out"):
            narrowed(WIDE, Settings.model_validate({"tools": [wider]}))


# -- sub-agents ------------------------------------------------------------------------------------------------------------------


async def test_a_sub_agent_works_on_a_task_of_its_own_and_who_ran_whom_can_be_seen(working: House, models: ModelServer) -> None:
    await save(working, "adder", system="You add.", tools=[ADDER])
    await save(working, "boss", system="You lead.", tools=[{"agent": "adder"}])
    models.turns.extend(
        [
            calls(("adder", {"prompt": "one and one"})),  # the boss
            calls(("add", {})),  # the adder
            Turn(text="two"),
            Turn(text="the adder says two"),
        ]
    )
    run = await working.run(agent(profile="boss"))
    assert run.output["text"] == "the adder says two"
    assert results(models) == ["two"] or '"text":"two"' in results(models)[0]
    (boss,) = await watching.at_work(working.runtime, working.actor, run.id)
    (adder,) = boss.inside
    assert (boss.position, boss.profile, boss.turns, boss.calls, boss.depth) == ("a", "boss@1", 2, 1, 0)
    assert (adder.position, adder.parent, adder.profile, adder.turns, adder.calls, adder.depth) == ("a/call_1_1", "a", "adder@1", 2, 1, 1)
    assert adder.usage["input_tokens"] == 22
    assert (await rows(working, run.id))["a/call_1_1/call_1_1"] == ("script", "succeeded")
    told = await watching.transcript(working.runtime, working.actor, run.id, "a/call_1_1")
    messages: Any = told["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages[1]["text"] == "one and one"
    assert messages[0]["text"].startswith("You add.")


async def test_sub_agents_go_no_deeper_than_they_may(working: House, models: ModelServer) -> None:
    await save(working, "same", tools=[ADDER])
    await save(working, "same", tools=[ADDER, {"agent": "same@1"}])
    await save(working, "same", tools=[ADDER, {"agent": "same@2"}])
    models.turns.extend([calls(("same", {"prompt": "deeper"})), Turn(text="end"), Turn(text="done")])
    await working.run(agent(profile="same@3", max_depth=1))
    offered = [[tool["function"]["name"] for tool in asked["tools"]] for asked in models.asked]
    assert ["same" in names for names in offered] == [True, False, True]


async def test_a_sub_agent_asks_before_effects_as_the_agent_above_it_would(working: House, models: ModelServer, book: Ledger) -> None:
    await save(working, "payer", approve=False, tools=[post(book)])
    models.turns.extend([calls(("payer", {"prompt": "pay"})), calls(("pay", {})), Turn(text="paid"), Turn(text="done")])
    run = await working.run(agent({"agent": "payer"}))
    assert run.state == "waiting"
    assert not book.arrivals
    await answer(working, run.id, {"approved": True}, at="a/call_1_1/approve_1_1")
    await until(working, run.id, "succeeded")
    assert [seen.name for seen in book.of("t")] == ["pay"]
    (root,) = await watching.at_work(working.runtime, working.actor, run.id)
    assert root.inside[0].approvals == 1


async def test_spending_limits_hold_for_all_that_an_agent_runs(working: House, models: ModelServer) -> None:
    """The sub-agent has no limit of its own; that of the agent above it pays for both."""
    await save(working, "adder", tools=[ADDER])
    models.turns.append(calls(("adder", {"prompt": "x"})))
    models.turns.extend(Turn(text="", calls=(("add", {}),), used=(3_000, 100)) for _ in range(15))
    run = await working.run(agent({"agent": "adder"}, max_tokens=20_000))
    assert (run.state, run.error["code"]) == ("failed", "agent_limit")
    assert run.error["position"] == "a"
    assert 3 <= len(models.asked) <= 9


def test_a_node_that_asks_more_often_also_asks_about_the_tools_that_the_profile_does_not() -> None:
    profile = Settings.model_validate({"approve": False, "tools": [{**ADDER, "approve": False}, {"node": "set"}]})
    assert [tool.approve for tool in narrowed(profile, Settings.model_validate({"approve": True})).tools] == [True, None]
    assert [tool.approve for tool in narrowed(profile, Settings()).tools] == [False, None]


async def test_a_sub_agent_asks_the_people_of_the_agent_above_it_about_every_tool(
    working: House, models: ModelServer, book: Ledger
) -> None:
    await save(working, "payer", approve=False, tools=[post(book, approve=False)])
    models.turns.extend([calls(("payer", {"prompt": "pay"})), calls(("pay", {})), Turn(text="paid"), Turn(text="done")])
    run = await working.run(agent({"agent": "payer", "approve": False}, approve=True, approvers={"group": "support"}))
    assert run.state == "waiting"
    (task,) = (await tasks.page(working.runtime, working.actor, run_id=run.id)).items
    assert (task.position, task.assign_to) == ("a/call_1_1/approve_1_1", {"group": "support"})
    assert not book.arrivals
