"""Tools, images and conversations: what goes out in each vendor's words, and calls that cannot be made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from graphs.models import Image, Message, ModelSettings, ToolCall, ToolSpec, Usage
from graphs.nodetype import Failure
from tests.models.asking import HELLO, KIND, asking, both, failing, ignored
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
LOOK = ToolSpec(name="look_up", description="Looks something up.", schema={"type": "object", "properties": {"id": {"type": "integer"}}})
NOW = ToolSpec(name="now", description="Tells the time.")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TALK = (
    *HELLO,
    Message(role="assistant", text="", calls=(ToolCall(id="a", name="look_up", arguments={"id": 1}), ToolCall(id="b", name="now"))),
    Message(role="tool", text='{"found": true}', call_id="a"),
    Message(role="tool", text="noon", call_id="b"),
)


async def test_tools_and_their_results_go_out_in_openais_words(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="", calls=(("look_up", {"id": 2}), ("now", {}))))
    async with asking(loopback.openai()) as models:
        answer = await models.complete(None, TALK, tools=[LOOK, NOW])
    assert [call.to_json() for call in answer.calls] == [
        {"id": "call_1", "name": "look_up", "arguments": {"id": 2}},
        {"id": "call_2", "name": "now", "arguments": {}},
    ]
    (asked,) = loopback.asked
    assert asked["tools"][0] == {
        "type": "function",
        "function": {"name": "look_up", "description": "Looks something up.", "parameters": LOOK.schema},
    }
    called, first, second = asked["messages"][2:]
    assert [json.loads(call["function"]["arguments"]) for call in called["tool_calls"]] == [{"id": 1}, {}]
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", "a", '{"found": true}')
    assert second["tool_call_id"] == "b"


async def test_tools_and_their_results_go_out_in_anthropics_words(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="Well.", calls=(("now", {}),)))
    async with asking(loopback.anthropic()) as models:
        answer = await models.complete(None, TALK, tools=[LOOK, NOW])
    assert answer.calls == (ToolCall(id="toolu_1", name="now"),)
    assert answer.text == "Well."
    (asked,) = loopback.asked
    assert [tool["name"] for tool in asked["tools"]] == ["look_up", "now"]
    called, results = asked["messages"][1:]
    assert [(block["type"], block["id"], block["input"]) for block in called["content"]] == [
        ("tool_use", "a", {"id": 1}),
        ("tool_use", "b", {}),
    ]
    assert [(block["type"], block["tool_use_id"]) for block in results["content"]] == [("tool_result", "a"), ("tool_result", "b")]


async def test_what_comes_again_with_the_next_call_is_marked_to_be_kept(loopback: ModelServer) -> None:
    async with asking(loopback.anthropic()) as models:
        await models.complete(None, TALK, tools=[LOOK, NOW])
        await models.complete(None, HELLO)
        await models.complete(None, (Message(role="system", text="long " * 1000), Message(role="user", text="Hello")))
    loop, short, long = loopback.asked
    kept = {"type": "ephemeral"}
    assert loop["system"][0]["cache_control"] == loop["tools"][-1]["cache_control"] == kept
    assert loop["messages"][-1]["content"][-1]["cache_control"] == kept
    assert "cache_control" not in json.dumps(short)
    assert long["system"][0]["cache_control"] == kept
    assert "cache_control" not in json.dumps(long["messages"])


async def test_cached_tokens_are_counted(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(used=(1000, 20), cached=600))
        async with asking(settings) as models:
            assert (await models.complete(None, HELLO)).usage == Usage(input_tokens=1000, output_tokens=20, cached_tokens=600)
    loopback.turns.append(Turn(used=(1000, 20), cached=600, written=300))
    async with asking(loopback.anthropic()) as models:
        usage = (await models.complete(None, HELLO)).usage
    assert usage == Usage(input_tokens=1000, output_tokens=20, cached_tokens=600, written_tokens=300)


UNMAKEABLE: list[tuple[Any, str]] = [
    ((("look_up", '{"id": 7'),), "the arguments of look_up are not JSON"),
    ((("look_up", "[7]"),), "the arguments of look_up are not a JSON object"),
    ((("delete_all", {}),), "there is no tool 'delete_all'; there are look_up, now"),
    ((("now", {}), ("look_up", "nonsense")), "the arguments of look_up are not JSON"),
]


@pytest.mark.parametrize(("calls", "says"), UNMAKEABLE)
@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_that_cannot_be_made_are_mended_once(loopback: ModelServer, calls: Any, says: str, streamed: bool) -> None:
    sayings: dict[str, Any] = {"on_text": ignored} if streamed else {}
    for settings in both(loopback):
        if settings.anthropic_api_key and not streamed and not all(isinstance(arguments, dict) for _, arguments in calls):
            continue  # a whole answer of Anthropic holds objects
        if not streamed and says.endswith("not a JSON object"):
            continue  # of a whole answer LangChain takes this for a broken one, which the engine asks for again
        loopback.turns.extend([Turn(text="", calls=calls), Turn(text="", calls=(("look_up", {"id": 7}),))])
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, tools=[LOOK, NOW], **sayings)
        assert [(call.name, call.arguments) for call in answer.calls] == [("look_up", {"id": 7})]
        assert answer.usage.output_tokens in (14, 10)  # both rounds are counted
        assert says in json.dumps(loopback.asked[-1]["messages"][-1]["content"]).replace("\\u2026", "…")
        loopback.turns.extend([Turn(text="", calls=calls)] * 2)
        failure = await failing(settings, tools=[LOOK, NOW], **sayings)
        assert (failure.code, failure.retryable) == ("model_output", True)
        assert says in failure.message


async def test_images_go_out_in_each_vendors_words(loopback: ModelServer) -> None:
    shown = Message(role="user", text="What is this?", images=(Image(media_type="image/png", data=PIXEL),))
    for settings in both(loopback):
        async with asking(settings) as models:
            await models.complete(None, (shown,))
    openai, anthropic = (asked["messages"][0]["content"] for asked in loopback.asked)
    assert openai == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "text", "text": "What is this?"},
    ]
    assert anthropic[0] == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert anthropic[1]["text"] == "What is this?"


async def test_a_structured_answer_may_come_after_tool_calls(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.extend([Turn(text="", calls=(("now", {}),)), Turn(text='{"kind": "refund"}')])
        async with asking(settings) as models:
            first = await models.complete(None, HELLO, tools=[NOW], output_schema=KIND)
            assert ([call.name for call in first.calls], first.json) == (["now"], None)
            assert (await models.complete(None, HELLO, tools=[NOW], output_schema=KIND)).json == {"kind": "refund"}
    assert loopback.asked[2]["tool_choice"] == {"type": "any"}
    assert [tool["name"] for tool in loopback.asked[2]["tools"]] == ["now", "answer"]


def test_messages_survive_their_json() -> None:
    for message in (*TALK, Message(role="user", text="x", images=(Image(media_type="image/png", data=PIXEL),))):
        assert Message.of_json(json.loads(json.dumps(message.to_json()))) == message
    for wrong in (
        {"role": "robot"},
        {"role": "user", "texts": "x"},
        {"role": "user", "images": [{"media_type": "text/html", "data": "x"}]},
        "hello",
    ):
        with pytest.raises(ValueError, match=r"validation error"):
            Message.of_json(wrong)


# --- scripts ----------------------------------------------------------------------------------------------------------

SCRIPT = (
    {"text": "Making it.", "calls": [{"name": "look_up", "arguments": {"id": 4}, "id": "made"}], "usage": {"output_tokens": 3}},
    {"text": "It is ${results.made.run.id}.", "calls": [{"name": "look_up", "arguments": {"id": "${results.made.parts.1}"}}]},
    {"json": {"kind": "refund"}},
    {"fails": {"code": "model_unavailable", "retry_after": 3}},
)


async def test_a_script_is_played_by_the_number_of_answers_so_far() -> None:
    pieces: list[str] = []
    async with asking(ModelSettings(scripts={"demo": SCRIPT})) as models:
        first = await models.complete("scripted:demo", HELLO, tools=[LOOK], on_text=pieces.append)
        again = await models.complete("scripted:demo", HELLO, tools=[LOOK])
        assert (first, "".join(pieces)) == (again, "Making it.")
        assert first.usage.output_tokens == 3
        said = Message(role="assistant", text=first.text, calls=first.calls)
        result = Message(role="tool", text='{"run": {"id": "r-1"}, "parts": [5, 6]}', call_id="made")
        second = await models.complete("scripted:demo", (*HELLO, said, result), tools=[LOOK])
        assert (second.text, second.calls[0].arguments) == ("It is r-1.", {"id": 6})
        third = await models.complete("scripted:demo", (*HELLO, said, said), output_schema=KIND, tools=[LOOK])
        assert third.json == {"kind": "refund"}
        with pytest.raises(Failure) as failed:
            await models.complete("scripted:demo", (*HELLO, said, said, said))
        assert (failed.value.code, failed.value.retryable, failed.value.retry_after) == ("model_unavailable", True, 3)
        with pytest.raises(Failure, match="has 4 turns, and turn 5 was asked for"):
            await models.complete("scripted:demo", (*HELLO, said, said, said, said))
        with pytest.raises(Failure, match="there is no script 'other'"):
            await models.complete("scripted:other", HELLO)
        assert (await models.complete("scripted:other", HELLO, script=[{"text": "given along"}])).text == "given along"
