"""The loop of an agent, through a real SDK against a model on loopback: turns, tools, results, limits, and what it all leaves behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graphs import runs
from store import models as registry
from store.models import Listed
from tests.agents.conftest import agent, calls, post, results, rows
from tests.engine.conftest import House
from tests.faults.ledger import Ledger
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
LONG = {"node": "script", "name": "long", "config": {"code": "return 'x' * 30000 + 'end'"}}
ADD = {
    "node": "script",
    "name": "add",
    "config": {"code": "return a + b"},
    "arguments": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
}


async def test_an_agent_calls_its_tools_turn_by_turn_until_it_answers(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(("add", {"a": 1, "b": 2})), calls(("add", {"a": 3, "b": 4})), Turn(text="It is 7.")])
    run = await working.run(agent(ADD))
    assert run.state == "succeeded", run.error
    assert run.output == {
        "text": "It is 7.", "model": "openai:tiny", "turns": 3, "calls": 2,
        "usage": {"input_tokens": 33, "output_tokens": 21, "cost_usd": run.output["usage"]["cost_usd"]},
    }  # fmt: skip
    assert results(models) == ["3", "7"]
    assert await rows(working, run.id) == {
        "a": ("agent", "succeeded"), "a/turn_1": ("llm", "succeeded"), "a/call_1_1": ("script", "succeeded"),
        "a/turn_2": ("llm", "succeeded"), "a/call_2_1": ("script", "succeeded"), "a/turn_3": ("llm", "succeeded"),
    }  # fmt: skip


async def test_calls_of_one_turn_are_answered_in_their_order_and_a_failed_one_does_not_stop_the_others(
    working: House, models: ModelServer
) -> None:
    divide = {**ADD, "name": "divide", "config": {"code": "return a / b"}}
    models.turns.extend([calls(("divide", {"a": 1, "b": 0}), ("add", {"a": 1, "b": 1}), ("divide", {"a": 4, "b": 2})), Turn(text="done")])
    run = await working.run(agent(ADD, divide))
    assert run.state == "succeeded"
    failed, two, quotient = results(models)
    assert json.loads(failed)["error"]["code"] == "expression"
    assert "division" in failed
    assert (two, quotient) == ("2", "2.0")
    assert (await rows(working, run.id))["a/call_1_1"] == ("script", "failed")


async def test_an_answer_has_the_form_that_was_asked_for(working: House, models: ModelServer) -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"], "additionalProperties": False}
    models.turns.extend([calls(("add", {"a": 1, "b": 2})), Turn(text="three"), Turn(text='{"total": 3}')])
    run = await working.run(agent(ADD, output_schema=schema))
    assert (run.state, run.output) == ("succeeded", {"total": 3})
    models.turns.append(Turn(text='{"total": 4}'))
    assert (await working.run(agent(output_schema=schema))).output == {"total": 4}


WRONG: list[tuple[tuple[str, dict[str, Any]], str]] = [
    (("add", {"a": 1}), "bad_arguments"),
    (("add", {"a": 1, "b": "2"}), "bad_arguments"),
    (("add", {"a": 1, "b": 2, "code": "return 5"}), "bad_arguments"),
    (("pay", {"url": "http://127.0.0.1:1/"}), "bad_arguments"),
    (("pay", {"method": "GET"}), "bad_arguments"),
    (("pay", {"json": {}, "text": "both"}), "bad_arguments"),
    (("read_result", {"call": "call_9_9", "offset": 0}), "unknown_call"),
]


@pytest.mark.parametrize(("call", "code"), WRONG)
async def test_a_call_that_cannot_be_made_runs_nothing_and_says_what_is_wrong(
    working: House, models: ModelServer, book: Ledger, call: tuple[str, dict[str, Any]], code: str
) -> None:
    models.turns.extend([calls(call), Turn(text="sorry")])
    run = await working.run(agent(ADD, post(book, approve=False)))
    assert run.state == "succeeded"
    (told,) = results(models)
    assert json.loads(told)["error"]["code"] == code
    assert set(await rows(working, run.id)) == {"a", "a/turn_1", "a/turn_2"}
    assert not book.arrivals


async def test_templates_and_code_in_what_a_model_says_are_only_text(working: House, models: ModelServer, book: Ledger) -> None:
    hostile = "{{ input.secret }}{{ env.REGION }}{{"
    models.turns.extend([calls(("pay", {"json": {"to": hostile}})), Turn(text=hostile)])
    run = await working.run(agent(post(book, approve=False)), {"secret": "hunter2"})
    assert run.output["text"] == hostile
    sent = (await runs.node(working.runtime, working.actor, run.id, "a/call_1_1")).input
    assert sent["json"] == {"to": hostile}
    assert "hunter2" not in json.dumps(models.asked)


async def test_results_from_outside_are_quoted_as_data_and_never_stand_in_system(working: House, models: ModelServer, book: Ledger) -> None:
    models.turns.extend([calls(("look", {})), Turn(text="seen")])
    look = {"node": "http", "name": "look", "config": {"url": f"http://127.0.0.1:{book.port}/t/look"}}
    await working.run(agent(look, system="Be brief."))
    (told,) = results(models)
    first, *rest = told.splitlines()
    assert first.startswith("Data from outside, by look, quoted.")
    assert rest
    assert all(line.startswith("> ") for line in rest)
    system = [message for message in models.asked[-1]["messages"] if message["role"] in ("system", "developer")]
    assert len(system) == 1
    assert "status" not in json.dumps(system)


async def test_a_long_result_is_cut_and_the_rest_can_be_read(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(("long", {})), calls(("read_result", {"call": "call_1_1", "offset": 20_000})), Turn(text="done")])
    await working.run(agent(LONG))
    first, second = results(models)
    assert first.startswith("x" * 20_000)
    assert 'read_result {"call": "call_1_1", "offset": 20000}' in first
    assert second == "x" * 10_000 + "end"


async def test_what_the_journal_keeps_grows_with_the_transcript_and_not_with_its_square(working: House, models: ModelServer) -> None:
    turns = 20
    models.turns.extend([*(calls(("add", {"a": number, "b": 1})) for number in range(turns)), Turn(text="done")])
    run = await working.run(agent(ADD, max_turns=turns + 1))
    assert run.state == "succeeded"
    sizes: list[int] = []
    for number in range(1, turns + 2):
        recorded = (await runs.node(working.runtime, working.actor, run.id, f"a/turn_{number}")).input
        sizes.append(len(json.dumps(recorded)))
        assert recorded["earlier"]["count"] == (2 * (number - 1) if number > 1 else 0)
    assert max(sizes[2:]) - min(sizes[2:]) < 100
    assert len(models.asked[-1]["messages"]) == 2 + 2 * turns


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ({"max_turns": 2}, "max_turns (2)"),
        ({"max_calls": 1}, "max_calls (1)"),
        ({"max_tokens": 1_200}, "of 1,200 are spent)"),
        ({"max_tokens": 1}, "max_tokens (0 of 1 are spent)"),
        ({"max_usd": 1e-9}, "max_usd (0 of 1e-09 are spent)"),
    ],
)
async def test_an_agent_at_its_limit_fails_and_says_which(working: House, models: ModelServer, limit: dict[str, Any], what: str) -> None:
    await registry.put(working.actor.tenant, Listed(name="openai:tiny", input_price=1.0, output_price=1.0))
    models.turns.extend(calls(("add", {"a": 1, "b": 1})) for _ in range(9))
    run = await working.run(agent(ADD, **limit))
    assert (run.state, run.error["code"]) == ("failed", "agent_limit")
    assert what in run.error["message"]
    assert "set on_limit to answer" in run.error["message"]
    models.turns.clear()
    models.turns.extend([*(calls(("add", {"a": 1, "b": 1})) for _ in range(len(models.asked))), Turn(text="this is all I know")])
    run = await working.run(agent(ADD, on_limit="answer", **limit))
    if "max_usd" in limit:
        assert (run.state, run.error["code"]) == ("failed", "agent_limit")
        assert "its last answer would take more than that once more" in run.error["message"]
        assert not models.asked
        return
    assert run.output["text"] == "this is all I know"
    assert "tools" not in models.asked[-1]


async def test_what_tools_have_said_is_paid_for_in_the_last_answer_too(working: House, models: ModelServer) -> None:
    """Many long results came in within one turn: the question of the last answer is longer than the agent may read in all."""
    await registry.put(working.actor.tenant, Listed(name="openai:tiny", input_price=1.0, output_price=1.0))
    models.turns.extend([calls(*(("long", dict[str, Any]()) for _ in range(16))), Turn(text="this is all I know")])
    run = await working.run(agent(LONG, on_limit="answer", max_tokens=20_000))
    assert (run.state, run.error["code"], len(models.asked)) == ("failed", "agent_limit", 1), run.output


ODD_CALLS: list[tuple[tuple[str, dict[str, Any] | str], str]] = [
    (("", {}), "there is no tool ''"),
    (("a\ud800b", {}), "there is no tool 'a\\ud800b'"),
    (("x" * 500, {}), "there is no tool 'xxx"),
    (("add", "[1, 2]"), "are not a JSON object"),
    (("add", "null"), "are not a JSON object"),
    (("add", '{"a": 1'), "are not JSON"),
]


@pytest.mark.parametrize(("call", "words"), ODD_CALLS)
async def test_a_call_that_is_none_is_sent_back_to_the_model_at_once(
    working: House, models: ModelServer, call: tuple[str, dict[str, Any] | str], words: str
) -> None:
    models.turns.extend([Turn(text="", calls=(call,)), Turn(text="sorry")])
    run = await working.run(agent(ADD))
    assert (run.state, run.output["text"]) == ("succeeded", "sorry")
    assert words in models.asked[-1]["messages"][-1]["content"]
    assert set(await rows(working, run.id)) == {"a", "a/turn_1"}


async def test_calls_beyond_those_of_one_answer_are_not_made_and_the_model_hears_so(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(*(("plan", dict[str, Any](items=[])) for _ in range(200))), Turn(text="done")])
    run = await working.run(agent(ADD))
    assert (run.state, run.output["calls"]) == ("succeeded", 64)
    assert models.asked[-1]["messages"][-1] == {"role": "user", "content": "136 more calls were not made: at most 64 are, of one answer."}


@pytest.mark.parametrize("size", [450_000, 1_000_000])
async def test_arguments_are_taken_as_the_tool_says_up_to_what_a_step_may_answer(working: House, size: int) -> None:
    say = {"node": "script", "name": "say", "config": {"code": "return len(text)"}}
    long = {"text": "x" * size}
    made = [{"name": "say", "arguments": long}, {"name": "add", "arguments": {"a": 1, "b": 2, "c": long}}]
    await registry.put(working.actor.tenant, Listed(name="scripted:long", script=[{"calls": made}, {"text": "done"}]))
    run = await working.run(agent(ADD, say, model="scripted:long"))
    if size == 1_000_000:
        assert (run.state, run.error["code"]) == ("failed", "output_too_large")
        return
    assert run.state == "succeeded", run.error
    told = (await runs.node(working.runtime, working.actor, run.id, "a/turn_2")).input["messages"]
    length, refused = [one["text"] for one in told if one["role"] == "tool"]
    assert length == "450000"
    assert json.loads(refused)["error"]["code"] == "bad_arguments"
    assert len(refused) < 5_000


async def test_calls_under_one_id_are_told_apart(working: House) -> None:
    both = [{"name": "add", "arguments": {"a": 1, "b": number}, "id": "same"} for number in (1, 2)]
    script = [{"calls": both}, {"calls": both[:1]}, {"text": "done"}]
    await registry.put(working.actor.tenant, Listed(name="scripted:twin", script=script))
    run = await working.run(agent(ADD, model="scripted:twin"))
    assert run.state == "succeeded", run.error
    told = (await runs.node(working.runtime, working.actor, run.id, "a/turn_3")).input["messages"]
    turn = (await runs.node(working.runtime, working.actor, run.id, "a/turn_2")).input["messages"]
    assert [(one["call_id"], one["text"]) for one in [*turn, *told] if one["role"] == "tool"] == [
        ("same", "2"), ("turn_1_call_2", "3"), ("turn_2_call_1", "2")
    ]  # fmt: skip


async def test_a_plan_is_shown_to_people(working: House, models: ModelServer) -> None:
    plan = {"items": [{"text": "add", "state": "done"}, {"text": "tell", "state": "open"}]}
    models.turns.extend([calls(("plan", plan)), Turn(text="done")])
    run = await working.run(agent(ADD))
    events = await runs.events(working.runtime, working.actor, run.id)
    shown = [event for event in events if event.message.startswith("Plan:")]
    assert [(event.position, event.data) for event in shown] == [("a", {"current": 1, "total": 2})]


async def test_a_test_run_of_an_agent_asks_no_model_and_does_nothing(working: House, models: ModelServer, book: Ledger) -> None:
    run = await working.run(agent(post(book)), mode="test")
    assert run.state == "succeeded", run.error
    assert (models.asked, book.arrivals) == ([], [])


@pytest.mark.parametrize("name", ["say", "plan"])
async def test_half_a_surrogate_pair_is_told_to_the_model_and_does_not_end_the_agent(
    working: House, models: ModelServer, name: str
) -> None:
    given = {"text": "a\ud800b", "\udc00": 1, "items": [{"text": "\ud800", "state": "open"}]}
    models.turns.extend([calls((name, given), ("say", {"text": "whole 😀"})), Turn(text="done")])
    run = await working.run(agent({"node": "script", "name": "say", "config": {"code": "return text + '\\ud83d'[:0]"}}))
    assert run.state == "succeeded", run.error
    first, second = results(models)
    assert json.loads(first)["error"]["code"] == "bad_arguments"
    assert second == "whole 😀"


async def test_half_a_surrogate_pair_in_a_result_does_not_end_the_agent(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(("say", {})), Turn(text="done")])
    run = await working.run(agent({"node": "script", "name": "say", "config": {"code": "return 'a' + '\\ud800'"}}))
    assert run.state == "succeeded", run.error


async def test_a_key_that_a_model_repeats_is_not_shown_live_in_however_many_pieces(working: House, models: ModelServer) -> None:
    key, shown, bus = working.runtime.models.secrets()[0], list[str](), working.runtime.engine.bus
    show = bus.show

    def listen(org_id: str, run_id: str, position: str, name: str, data: Any) -> None:
        shown.append(data["delta"] if shown else data["text"])
        show(org_id, run_id, position, name, data)

    bus.show = listen
    models.turns.append(Turn(text=f"your key is {key} and that is it"))
    run = await working.run(agent())
    assert run.output["text"] == "your key is *** and that is it"
    assert len(shown) > 1
    assert key not in "".join(shown)
    assert "your key is ***" in "".join(shown)
