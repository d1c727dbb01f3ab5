"""The llm step: against a model server on loopback, and scripted when there is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from graphs.catalogue import node_types
from graphs.live import so_far
from graphs.models import Models, ModelSettings
from graphs.nodetype import Effect, Failure
from graphs.outbound import Outbound, Policy
from tests.models.loopback import ModelServer, Turn, model_server
from tests.nodes.context import FakeContext, perform

pytestmark = pytest.mark.anyio
LLM = node_types()["llm"]
KIND: dict[str, Any] = {"type": "object", "properties": {"kind": {"enum": ["refund", "other"]}}, "required": ["kind"]}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@asynccontextmanager
async def surroundings(settings: ModelSettings) -> AsyncGenerator[FakeContext]:
    async with Outbound(Policy()) as outbound:
        yield FakeContext(outbound=outbound, models=Models(settings, outbound))


async def test_text_comes_with_the_model_and_what_it_cost(server: ModelServer) -> None:
    server.turns.append(Turn(text="Done."))
    async with surroundings(server.openai()) as context:
        output = await perform("llm", {"prompt": "Do it", "system": "Be brief"}, context)
    usage = {"input_tokens": 11, "output_tokens": 7, "cached_tokens": 0, "cost_usd": None}
    assert output == {"text": "Done.", "model": "openai:tiny", "usage": usage}
    assert context.seen == [("text", {"text": "Done"}), ("text", {"delta": "."})]
    assert [message["role"] for message in server.asked[-1]["messages"]] == ["system", "user"]
    assert context.shown == ["answered by openai:tiny, tokens: 11 in, 7 out"]


async def test_an_attempt_that_broke_off_with_its_process_is_not_told_twice(server: ModelServer) -> None:
    """The one after it has the same number."""
    told = ""
    async with surroundings(server.openai()) as context:
        for text in ("Hello wor", "Hello world"):
            server.turns.append(Turn(text=text))
            await perform("llm", {"prompt": "Greet"}, context)
        assert context.attempt == 1
        for _, data in context.seen:
            told = so_far(told, data)
    assert told == "Hello world"


async def test_with_a_schema_the_output_is_the_object_itself(server: ModelServer) -> None:
    server.turns.extend([Turn(text="it is a refund"), Turn(text='{"kind": "refund"}')])
    async with surroundings(server.openai()) as context:
        assert await perform("llm", {"prompt": "Which?", "output_schema": KIND}, context) == {"kind": "refund"}
    assert context.seen[0] == ("text", {"text": "it i"})
    (_, mended) = [place for place, (_, data) in enumerate(context.seen) if "text" in data]  # takes the place of what was told before
    assert "".join(data.get("delta") or data["text"] for _, data in context.seen[mended:]) == '{"kind": "refund"}'
    assert LLM.output(LLM.config.model_validate({"prompt": "Which?", "output_schema": KIND})) == KIND


async def test_an_answer_that_never_fits_fails_and_may_be_tried_again(server: ModelServer) -> None:
    server.turns.extend([Turn(text="no"), Turn(text="no")])
    async with surroundings(server.openai()) as context:
        with pytest.raises(Failure) as failed:
            await perform("llm", {"prompt": "Which?", "output_schema": KIND}, context)
    assert (failed.value.code, failed.value.retryable) == ("model_output", True)


async def test_without_a_key_the_step_runs_scripted_and_says_so() -> None:
    async with surroundings(ModelSettings()) as context:
        assert (await perform("llm", {"prompt": "Hello"}, context))["model"] == "scripted"
        assert await perform("llm", {"prompt": "Which?", "output_schema": KIND}, context) == {"kind": "refund"}
    assert all(line.startswith("answered by scripted") for line in context.shown)


def test_asking_is_a_read_that_is_tried_three_times() -> None:
    assert LLM.effect(LLM.config.model_validate({"prompt": "x"})) is Effect.READ
    assert LLM.retry
    assert LLM.retry.max_attempts == 3


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "give `prompt`, or `messages`"),
        ({"messages": [{"role": "robot"}]}, "Input should be 'system', 'user', 'assistant' or 'tool'"),
        ({"prompt": "x", "tools": [{"name": "no spaces"}]}, "String should match pattern"),
        ({"prompt": "x", "images": ["https://elsewhere/cat.png"]}, "image 1 is no data URL"),
        ({"prompt": "x", "script": [{"says": "hi"}]}, "turn 1 of the script, at says: extra inputs are not permitted"),
        ({"prompt": ""}, "at least 1 character"),
        ({"prompt": "x" * 400_001}, "at most 400000 characters"),
        ({"prompt": "x", "model": "gpt-5"}, "write vendor:name with a vendor of anthropic, azure, openai, scripted"),
        ({"prompt": "x", "model": "openia:gpt-5"}, "is not a model"),
        ({"prompt": "x", "temperature": 3}, "less than or equal to 2"),
        ({"prompt": "x", "max_tokens": 0}, "greater than or equal to 1"),
        ({"prompt": "x", "output_schema": {"type": "objekt"}}, "not a JSON Schema, at type"),
        ({"prompt": "x", "output_schema": {"items": {"$ref": "http://inside/"}}}, "points outside of the schema"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LLM.config.model_validate(config)


def test_model_and_numbers_may_be_templates() -> None:
    LLM.config.model_validate({"prompt": "x", "model": "{{ input.model }}", "temperature": "{{ input.t }}", "max_tokens": "{{ input.n }}"})


async def test_with_tools_the_output_says_which_it_asks_for_and_a_conversation_goes_on(server: ModelServer) -> None:
    config: dict[str, Any] = {
        "messages": [{"role": "user", "text": "What time is it?"}],
        "tools": [{"name": "now", "description": "Tells the time.", "schema": {"type": "object", "properties": {}}}],
    }
    server.turns.extend([Turn(text="", calls=(("now", {}),)), Turn(text="Noon.")])
    async with surroundings(server.openai()) as context:
        first = await perform("llm", config, context)
        assert (first["calls"], first["stop"]) == ([{"id": "call_1", "name": "now", "arguments": {}}], "tool_calls")
        said = [{"role": "assistant", "text": "", "calls": first["calls"]}, {"role": "tool", "text": "12:00", "call_id": "call_1"}]
        second = await perform("llm", {**config, "messages": [*config["messages"], *said]}, context)
    assert (second["text"], second["calls"], second["stop"]) == ("Noon.", [], "stop")
    check: Any = Draft202012Validator(LLM.output(LLM.config.model_validate(config)))
    check.validate(second)
    assert [message["role"] for message in server.asked[-1]["messages"]] == ["user", "assistant", "tool"]


async def test_images_are_shown_with_the_prompt(server: ModelServer) -> None:
    async with surroundings(server.openai()) as context:
        await perform("llm", {"prompt": "What is this?", "images": ["data:image/png;base64,iVBORw0KGgo="]}, context)
    assert server.asked[-1]["messages"][0]["content"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="


async def test_a_script_given_along_is_played() -> None:
    async with surroundings(ModelSettings()) as context:
        output = await perform("llm", {"prompt": "x", "model": "scripted:demo", "script": [{"text": "Curtain."}]}, context)
    assert (output["text"], output["model"]) == ("Curtain.", "scripted:demo")
