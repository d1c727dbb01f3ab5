"""What a model thinks: it is no answer, it goes back unchanged with the results of the tools it called, and to no other model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from graphs.models import Message, ModelSettings, Thoughts, ToolCall, ToolSpec, Usage
from tests.models.asking import HELLO, KIND, asking, ignored
from tests.models.loopback import KEY, ModelServer, Turn

pytestmark = pytest.mark.anyio
NOW = ToolSpec(name="now", description="Tells the time.")
SIGNED: tuple[dict[str, Any], ...] = (
    {"type": "thinking", "thinking": "Let me see: ünïcode, \u2028 and \\ too.", "signature": "EqQBCgIYAhIM+/=="},
    {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4a"},
    {"type": "thinking", "thinking": "", "signature": "only signed"},
)
DETAILS: list[dict[str, Any]] = [
    {"type": "reasoning.text", "text": "One", "index": 0, "signature": "s"},
    {"type": "reasoning.encrypted", "data": "x", "index": 1},
]
FIELDS: tuple[dict[str, Any], ...] = (
    {"reasoning_content": "Let me see: ünïcode."},
    {"reasoning": "Hmm."},
    {"reasoning_details": DETAILS},
)


def sides(server: ModelServer) -> list[tuple[ModelSettings, tuple[dict[str, Any], ...]]]:
    return [(server.anthropic(), SIGNED), *((server.openai(), (fields,)) for fields in FIELDS)]


@pytest.mark.parametrize("streams", [True, False])
async def test_thoughts_go_back_unchanged_with_the_results_and_are_no_part_of_the_answer(loopback: ModelServer, streams: bool) -> None:
    for settings, thoughts in sides(loopback):
        loopback.turns.extend(
            [Turn(text="Looking.", thoughts=thoughts, calls=(("now", {}), ("now", {"a": 1}))), Turn(text="Noon.", thoughts=thoughts)]
        )
        shown: list[str] = []
        async with asking(settings) as models:
            options: dict[str, Any] = {"tools": [NOW], "on_text": shown.append if streams else None}
            first = await models.complete(None, HELLO, **options)
            said = Message(role="assistant", text=first.text, calls=first.calls, thoughts=first.thoughts)
            said = Message.of_json(json.loads(json.dumps(said.to_json())))  # as journals keep it
            told = [Message(role="tool", text="12:00", call_id=call.id) for call in first.calls]
            last = await models.complete(None, [*HELLO, said, *told], **options)
        assert (first.text, last.text, last.thoughts) == ("Looking.", "Noon.", None)
        assert "".join(shown) == ("Looking.Noon." if streams else "")
        assert [call.arguments for call in first.calls] == [{}, {"a": 1}]
    blocks = loopback.asked[1]["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "redacted_thinking", "thinking", "tool_use", "tool_use"]


async def test_a_server_that_misses_its_thoughts_refuses(loopback: ModelServer) -> None:
    """The loopback does what the tests here rely on."""
    for settings, thoughts in sides(loopback):
        loopback.turns.append(Turn(text="", thoughts=thoughts, calls=(("now", {}),)))
        async with asking(settings) as models:
            first = await models.complete(None, HELLO, tools=[NOW])
            said = Message(role="assistant", text="", calls=first.calls)
            with pytest.raises(Exception, match="must come back unchanged"):
                await models.complete(None, [*HELLO, said, Message(role="tool", text="1", call_id=first.calls[0].id)], tools=[NOW])


async def test_thoughts_go_to_no_other_model(loopback: ModelServer) -> None:
    thoughts = Thoughts(model="anthropic:claude-tiny", parts=SIGNED)
    said = Message(role="assistant", text="Looking.", calls=(ToolCall(id="c1", name="now"),), thoughts=thoughts)
    both = ModelSettings(
        openai_api_key=SecretStr(KEY),
        openai_base_url=loopback.url + "/v1",
        anthropic_api_key=SecretStr(KEY),
        anthropic_base_url=loopback.url,
    )
    async with asking(both) as models:
        for model in ("openai:tiny", "anthropic:claude-other"):
            await models.complete(model, [*HELLO, said, Message(role="tool", text="12:00", call_id="c1")], tools=[NOW])
    assert "thinking" not in json.dumps(loopback.asked)
    assert all("Looking." in json.dumps(asked["messages"]) for asked in loopback.asked)


async def test_effort_is_told_in_the_words_of_the_model(loopback: ModelServer) -> None:
    async with asking(loopback.openai()) as models:
        await models.complete("openai:gpt-5-mini", HELLO, effort="low")
    async with asking(loopback.anthropic()) as models:
        await models.complete("anthropic:claude-opus-5-5", HELLO, effort="medium")
        await models.complete("anthropic:claude-haiku-4-5", HELLO, effort="high", temperature=0.5)
        await models.complete("anthropic:claude-haiku-4-5", HELLO, effort="high", max_tokens=6000)
        await models.complete("anthropic:claude-haiku-4-5", HELLO)
    low, new, old, short, plain = loopback.asked
    assert low["reasoning_effort"] == "low"
    assert (new["output_config"], new["thinking"]["type"]) == ({"effort": "medium"}, "adaptive")
    assert (old["thinking"], old["max_tokens"]) == ({"type": "enabled", "budget_tokens": 24_576}, 32_768)
    assert "temperature" not in old  # which such a model refuses
    assert short["thinking"]["budget_tokens"] == 3000
    assert "thinking" not in plain


async def test_a_model_that_knows_no_effort_is_asked_without(loopback: ModelServer) -> None:
    loopback.turns.extend([Turn(status=400, message="Unsupported parameter: 'reasoning_effort'"), Turn(text="Hi.")])
    async with asking(loopback.openai()) as models:
        assert (await models.complete(None, HELLO, effort="low")).text == "Hi."
    loopback.turns.extend([Turn(status=400, message="thinking.type: not known")] * 2)
    async with asking(loopback.anthropic()) as models:
        assert (await models.complete(None, HELLO, effort="low")).text == "ok"
    assert [asked.get("thinking", {}).get("type") for asked in loopback.asked[2:]] == ["enabled", "adaptive", None]


async def test_a_model_that_thinks_is_not_made_to_use_the_tool_of_a_schema(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text='{"kind": "other"}', thoughts=SIGNED))
    async with asking(loopback.anthropic()) as models:
        answer = await models.complete(None, HELLO, output_schema=KIND, effort="low", on_text=ignored)
    assert answer.json == {"kind": "other"}
    assert "tool_choice" not in loopback.asked[0]  # which the API refuses with thinking


async def test_a_loop_begun_without_thoughts_is_gone_on_with_without_them(loopback: ModelServer) -> None:
    said = Message(role="assistant", text="", calls=(ToolCall(id="c1", name="now"),))
    async with asking(loopback.anthropic()) as models:
        await models.complete(
            "anthropic:claude-haiku-4-5", [*HELLO, said, Message(role="tool", text="1", call_id="c1")], tools=[NOW], effort="low"
        )
    assert loopback.asked[0].get("thinking", {}).get("type") != "enabled"


async def test_tokens_of_thinking_are_tokens_of_the_answer(loopback: ModelServer) -> None:
    counted = {"prompt_tokens": 11, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5}}
    for total, output in ((18, 7), (23, 12)):  # most count it in, some beside
        whole = {"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop", "index": 0}]}
        loopback.turns.append(Turn(body=json.dumps({**whole, "usage": {**counted, "total_tokens": total}}).encode()))
        async with asking(loopback.openai()) as models:
            assert (await models.complete(None, HELLO)).usage == Usage(input_tokens=11, output_tokens=output)
