"""Streamed answers: they come piece by piece, and what is cut off is never taken as whole."""

from __future__ import annotations

import asyncio
import threading

import pytest

from graphs.models import ToolCall, ToolSpec, Usage
from tests.models.asking import HELLO, KIND, asking, both, failing, ignored
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
LOOK = ToolSpec(name="look_up", description="Looks something up.", schema={"type": "object", "properties": {"id": {"type": "integer"}}})
NOW = ToolSpec(name="now", description="Tells the time.")


async def test_text_comes_in_pieces_and_is_whole_at_the_end(loopback: ModelServer) -> None:
    for settings, usage in zip(both(loopback), ((11, 7), (13, 5)), strict=True):
        pieces: list[str] = []
        loopback.turns.append(Turn(text="One two three four."))
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, on_text=pieces.append)
        assert answer.text == "".join(pieces) == "One two three four."
        assert len(pieces) == 5
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == usage
        assert answer.stop == "stop"
    assert all(asked["stream"] for asked in loopback.asked)


async def test_pieces_are_there_before_the_answer_is_complete(loopback: ModelServer) -> None:
    for settings in both(loopback):
        held, seen = threading.Event(), asyncio.Event()
        loopback.turns.append(Turn(text="Early words.", held=held))
        async with asking(settings) as models:
            task = asyncio.create_task(models.complete(None, HELLO, on_text=lambda _, seen=seen: seen.set()))
            await asyncio.wait_for(seen.wait(), 20)
            assert not task.done()
            held.set()
            assert (await task).text == "Early words."


async def test_tool_calls_are_put_together_from_their_pieces(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(text="Let me see.", calls=(("look_up", {"id": 7}), ("now", {}), ("look_up", {"id": 8}))))
        pieces: list[str] = []
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, tools=[LOOK, NOW], on_text=pieces.append)
        assert [(call.name, call.arguments) for call in answer.calls] == [("look_up", {"id": 7}), ("now", {}), ("look_up", {"id": 8})]
        assert len({call.id for call in answer.calls}) == 3
        assert "".join(pieces) == answer.text == "Let me see."
        assert answer.stop == "tool_calls"


async def test_cached_tokens_of_a_stream_are_counted(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(used=(1000, 20), cached=600))
        async with asking(settings) as models:
            usage = (await models.complete(None, HELLO, on_text=ignored)).usage
        assert usage == Usage(input_tokens=1000, output_tokens=20, cached_tokens=600)


@pytest.mark.parametrize("said", [1, 3, 5])
async def test_a_cut_stream_fails_and_may_be_tried_again(loopback: ModelServer, said: int) -> None:
    for settings in both(loopback):
        for turn in (
            Turn(text="A long answer with many pieces.", cut=True, said=said),
            Turn(text="A long answer.", stopped=True, said=said),
        ):
            loopback.turns.append(turn)
            failure = await failing(settings, on_text=ignored)
            assert (failure.code, failure.retryable) == ("model_cut", True)
            assert "broke before its answer was complete" in failure.message


async def test_a_tool_call_that_was_cut_off_is_never_made(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(text="", calls=(("look_up", {"id": 123456789}),), stopped=True, said=5))
        assert (await failing(settings, tools=[LOOK], on_text=ignored)).code == "model_cut"
    assert len(loopback.asked) == 2


@pytest.mark.parametrize(("code", "wanted"), [("overloaded_error", "model_unavailable"), ("rate_limit_error", "model_rate_limited")])
async def test_an_error_in_the_middle_of_a_stream_has_its_name(loopback: ModelServer, code: str, wanted: str) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(text="Some words.", broken="Overloaded", code=code))
        failure = await failing(settings, on_text=ignored)
        assert (failure.code, failure.retryable) == (wanted, True)


async def test_a_model_that_does_not_begin_in_time_is_given_up(loopback: ModelServer) -> None:
    for settings in both(loopback):
        async with asking(settings) as models:
            await models.complete(None, HELLO)  # the SDK is imported by now
        loopback.turns.append(Turn(silent=True))
        failure = await failing(settings, on_text=ignored, first_timeout=0.3, timeout=60)
        assert (failure.code, failure.retryable) == ("model_timeout", True)
        assert "no word of an answer within 0.3 s" in failure.message


async def test_a_model_that_falls_silent_is_given_up_too(loopback: ModelServer) -> None:
    for settings in both(loopback):
        async with asking(settings) as models:
            await models.complete(None, HELLO)
        held = threading.Event()
        loopback.turns.append(Turn(text="Some words.", held=held, rest=4))
        failure = await failing(settings, on_text=ignored, first_timeout=20, timeout=0.5)
        held.set()
        assert (failure.code, failure.retryable) == ("model_timeout", True)


async def test_a_server_that_cannot_count_while_streaming_streams_without(loopback: ModelServer) -> None:
    loopback.turns.extend([Turn(status=400, message="Unrecognized request argument: stream_options"), Turn(text="Hi.")])
    async with asking(loopback.openai()) as models:
        answer = await models.complete(None, HELLO, on_text=ignored)
    assert (answer.text, answer.usage.output_tokens) == ("Hi.", 0)
    assert "stream_options" not in loopback.asked[1]


async def test_calls_are_tool_calls(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="", calls=(("look_up", {"id": 7}),)))
    async with asking(loopback.openai()) as models:
        answer = await models.complete(None, HELLO, tools=[LOOK], on_text=ignored)
    assert answer.calls == (ToolCall(id="call_1", name="look_up", arguments={"id": 7}),)


async def test_an_answer_with_a_schema_streams_its_json_and_a_mended_one_begins_anew(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.extend([Turn(text='{"kind": "sale"}'), Turn(text='{"kind": "refund", "amount": 3}')])
        told: list[str] = []
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, output_schema=KIND, on_text=told.append, on_void=lambda told=told: told.append("|"))
        assert answer.json == {"kind": "refund", "amount": 3}
        assert "".join(told) == '{"kind": "sale"}|{"kind": "refund", "amount": 3}'
        assert len(told) > 8


async def test_with_tools_and_a_schema_only_the_json_of_the_answer_is_streamed_by_claude(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="", calls=(("look_up", {"id": 7}), ("now", {}))))
    told: list[str] = []
    async with asking(loopback.anthropic()) as models:
        answer = await models.complete(None, HELLO, tools=[LOOK, NOW], output_schema=KIND, on_text=told.append)
    assert (len(answer.calls), told) == (2, [])


async def test_long_arguments_cost_time_in_proportion_to_their_length(loopback: ModelServer) -> None:
    long = "[" * 400_000
    for settings in both(loopback):
        loopback.turns.append(Turn(text="", calls=(("look_up", {"text": long}),), size=100_000))
        async with asyncio.timeout(20), asking(settings) as models:
            (call,) = (await models.complete(None, HELLO, tools=[LOOK], on_text=ignored)).calls
        assert call.arguments == {"text": long}
