"""Asking models through the vendors' real SDKs: what goes out, what comes back, and what each way of failing is called."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from graphs.definition import Schema
from graphs.models import Completion, ModelSettings, Usage, vendors
from graphs.nodetype import Failure
from tests.models.asking import HELLO, KIND, asking, both, failing
from tests.models.loopback import KEY, ModelServer, Turn, model_server

pytestmark = pytest.mark.anyio


# --- what goes out and comes back -------------------------------------------------------------------------------------


async def test_openai_is_asked_in_its_words(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="Hi."))
    async with asking(loopback.openai()) as models:
        answer = await models.complete(None, HELLO, temperature=0.5, max_tokens=99)
    assert answer == Completion(text="Hi.", json=None, model="openai:tiny", usage=Usage(input_tokens=11, output_tokens=7))
    (asked,) = loopback.asked
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("tiny", 0.5, 99)
    assert "stream" not in asked or not asked["stream"]
    assert loopback.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_anthropic_is_asked_in_its_words(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text="Hi."))
    async with asking(loopback.anthropic()) as models:
        answer = await models.complete(None, HELLO, temperature=0.5, max_tokens=99)
    assert answer == Completion(text="Hi.", json=None, model="anthropic:claude-tiny", usage=Usage(input_tokens=13, output_tokens=5))
    (asked,) = loopback.asked
    assert (asked["system"], asked["messages"]) == ("Be brief.", [{"role": "user", "content": "Hello"}])
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("claude-tiny", 0.5, 99)
    assert KEY in (loopback.headers[0].get("x-api-key"), loopback.headers[0]["authorization"].removeprefix("Bearer "))


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", "anthropic:claude-opus-5-5"])
async def test_a_model_that_takes_no_temperature_gets_none(loopback: ModelServer, model: str) -> None:
    for settings in both(loopback):
        if model.startswith("openai") == bool(settings.openai_api_key):
            async with asking(settings) as models:
                await models.complete(model, HELLO, temperature=0.0)
    assert "temperature" not in loopback.asked[0]


async def test_answers_that_fit_a_schema_come_as_values(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(text='{"kind": "refund", "amount": 3}'))
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, output_schema=KIND)
        assert answer.json == {"kind": "refund", "amount": 3}
    assert loopback.asked[0]["response_format"]["json_schema"]["schema"] == KIND
    assert loopback.asked[1]["tools"][0]["input_schema"] == KIND
    assert loopback.asked[1]["tool_choice"] == {"type": "tool", "name": "answer"}


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        ({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}, '{"value": [1, 2]}', [1, 2]),
        ({"enum": ["a", None]}, '{"value": null}', None),
        ({}, '{"value": "x"}', "x"),
    ],
)
async def test_schemas_of_other_things_than_objects_work_too(loopback: ModelServer, schema: Schema, said: str, value: Any) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(text=said))
        async with asking(settings) as models:
            assert (await models.complete(None, HELLO, output_schema=schema)).json == value
    assert loopback.asked[0]["response_format"]["json_schema"]["schema"]["type"] == "object"


async def test_json_in_a_code_fence_is_read(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(text='```json\n{"kind": "other"}\n```'))
    async with asking(loopback.openai()) as models:
        assert (await models.complete(None, HELLO, output_schema=KIND)).json == {"kind": "other"}


@pytest.mark.parametrize("bad", ["Sure! It is a refund.", '{"kind": "sale"}', '{"kind": "refund", "amount": NaN}', "[]", "", "[" * 100_000])
async def test_a_model_gets_one_chance_to_mend_a_wrong_answer(loopback: ModelServer, bad: str) -> None:
    for settings in both(loopback):
        text = bad if settings.openai_api_key or not bad.startswith("{") or "NaN" not in bad else '{"kind": 1}'
        loopback.turns.extend([Turn(text=text), Turn(text='{"kind": "refund"}')])
        async with asking(settings) as models:
            answer = await models.complete(None, HELLO, output_schema=KIND)
        assert answer.json == {"kind": "refund"}
        again = loopback.asked[-1]["messages"]
        assert again[-1]["role"] == "user"
        assert "does not fit the schema" in json.dumps(again[-1]["content"])
        assert answer.usage.output_tokens in (14, 10)  # both rounds are counted


async def test_a_model_that_does_not_mend_it_fails_with_what_is_wrong(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.extend([Turn(text='{"kind": "sale"}')] * 2)
        failure = await failing(settings, output_schema=KIND)
        assert (failure.code, failure.retryable) == ("model_output", True)
        assert "/kind: 'sale' is not one of ['refund', 'other']" in failure.message
    assert len(loopback.asked) == 4


async def test_a_server_that_knows_no_schemas_is_told_in_words(loopback: ModelServer) -> None:
    loopback.turns.extend([Turn(status=400, message="This response_format type is unavailable now"), Turn(text='{"kind": "other"}')])
    async with asking(loopback.openai()) as models:
        assert (await models.complete(None, HELLO, output_schema=KIND)).json == {"kind": "other"}
    assert loopback.asked[1]["response_format"] == {"type": "json_object"}
    assert '"enum": ["refund", "other"]' in loopback.asked[1]["messages"][-1]["content"]


async def test_a_claude_that_cannot_be_made_to_use_a_tool_is_told_in_words(loopback: ModelServer) -> None:
    loopback.turns.extend([Turn(status=400, message="tool_choice: type tool is not supported"), Turn(text='{"kind": "other"}')])
    async with asking(loopback.anthropic()) as models:
        assert (await models.complete(None, HELLO, output_schema=KIND)).json == {"kind": "other"}
    assert "tool_choice" not in loopback.asked[1]
    assert loopback.asked[1]["tools"][0]["input_schema"] == KIND


async def test_many_can_ask_at_once(loopback: ModelServer) -> None:
    async with asking(loopback.openai()) as models:
        answers = await asyncio.gather(*(models.complete(None, HELLO) for _ in range(20)))
    assert {answer.text for answer in answers} == {"ok"}


# --- what can go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "code", "retryable", "says"),
    [
        (Turn(status=403), "model_auth", False, "may not use this model"),
        (Turn(status=404, message="The model `tiny` does not exist"), "model_not_found", False, "check `model`, WEFT_MODEL and"),
        (Turn(status=429), "model_rate_limited", True, "too many requests"),
        (Turn(status=429, code="insufficient_quota", message="insufficient_quota"), "model_quota", False, "no credit left"),
        (Turn(status=400, message="max_tokens is too large"), "model_request", False, "max_tokens is too large"),
        (Turn(status=500), "model_unavailable", True, "has trouble of its own (500)"),
        (Turn(status=503), "model_unavailable", True, "has trouble of its own (503)"),
        (Turn(status=529, code="overloaded_error"), "model_unavailable", True, "(529)"),
        (Turn(status=408), "model_unavailable", True, "later (408)"),
        (Turn(status=302, headers={"location": "http://169.254.169.254/"}), "model_redirects", False, "set the base URL"),
        (Turn(body=b"<html>Bad gateway</html>"), "model_bad_answer", True, "not of its API"),
        (Turn(body=b'{"hello": 1}'), "model_bad_answer", True, "not of its API"),
        (Turn(body=b'{"choices": [], "content": null}'), "model_bad_answer", True, "not of its API"),
        (Turn(body=b"[]"), "model_bad_answer", True, "not of its API"),
        (Turn(body=b""), "model_bad_answer", True, "not of its API"),
        (Turn(cut=True), "model_cut", True, "broke before its answer was complete"),
    ],
)
async def test_every_way_to_fail_has_a_code_and_a_sentence(
    loopback: ModelServer, turn: Turn, code: str, retryable: bool, says: str
) -> None:
    for settings in both(loopback):
        loopback.turns.append(turn)
        failure = await failing(settings)
        assert (failure.code, failure.retryable) == (code, retryable)
        assert says in failure.message
        assert failure.message.startswith(settings.default or "")
    assert len(loopback.asked) == 2  # the engine retries, nobody else


async def test_a_wrong_key_is_never_shown_and_the_setting_is_named(loopback: ModelServer) -> None:
    for settings, setting in zip(
        (loopback.openai(key="sk-wrong"), loopback.anthropic(key="sk-wrong")), ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"), strict=True
    ):
        failure = await failing(settings)
        assert (failure.code, failure.retryable) == ("model_auth", False)
        assert f"the API key is not accepted; check {setting}" in failure.message


async def test_a_server_that_repeats_the_key_does_not_make_us_repeat_it(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(status=400, message=f"what kind of key is {KEY}?"))
        assert "what kind of key is ***?" in (await failing(settings)).message
        assert KEY not in repr(settings)


async def test_retry_after_is_passed_on(loopback: ModelServer) -> None:
    for settings in both(loopback):
        loopback.turns.append(Turn(status=429, headers={"retry-after": "17"}))
        assert (await failing(settings)).retry_after == 17


async def test_a_silent_model_fails_in_time(loopback: ModelServer) -> None:
    for settings in both(loopback):
        async with asking(settings) as models:
            await models.complete(None, HELLO)  # the SDK is imported by now
        loopback.turns.append(Turn(silent=True))
        failure = await failing(settings, timeout=0.3)
        assert (failure.code, failure.retryable) == ("model_timeout", True)


async def test_a_server_that_is_not_there_is_named_with_its_setting() -> None:
    with model_server() as gone:
        pass
    for settings, setting in zip(both(gone), ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"), strict=True):
        failure = await failing(settings)
        assert (failure.code, failure.retryable) == ("model_connect", True)
        assert failure.message.endswith(f"check {setting}")


async def test_a_refusal_is_a_failure_and_not_an_answer(loopback: ModelServer) -> None:
    loopback.turns.append(Turn(refusal="I will not."))
    assert (await failing(loopback.openai())).code == "model_refused"
    loopback.turns.append(Turn(text="I will not.", ending="refusal"))
    failure = await failing(loopback.anthropic())
    assert (failure.code, failure.message) == ("model_refused", "anthropic:claude-tiny refused to answer: I will not.")


async def test_running_out_of_tokens_names_max_tokens(loopback: ModelServer) -> None:
    for settings, ending in zip(both(loopback), ("length", "max_tokens"), strict=True):
        loopback.turns.append(Turn(text='["kind', ending=ending))
        failure = await failing(settings, output_schema=KIND)
        assert failure.code == "model_output"
        assert "raise max_tokens" in failure.message


# --- which model ------------------------------------------------------------------------------------------------------


async def test_the_default_model_is_the_operators_then_that_of_a_key_then_scripted(loopback: ModelServer) -> None:
    for settings, expected in (
        (loopback.openai(), "openai:tiny"),
        (ModelSettings(openai_api_key=loopback.openai().openai_api_key), "openai:gpt-5-mini"),
        (ModelSettings(anthropic_api_key=loopback.openai().openai_api_key), "anthropic:claude-haiku-5-5"),
        (ModelSettings(), "scripted"),
    ):
        async with asking(settings) as models:
            assert models.default() == expected


@pytest.mark.parametrize(
    ("settings", "model", "code", "says"),
    [
        (ModelSettings(), "openai:gpt-5-mini", "model_missing", "the operator must set OPENAI_API_KEY"),
        (ModelSettings(), "anthropic:x", "model_missing", "the operator must set ANTHROPIC_API_KEY"),
        (ModelSettings(openai_base_url="http://127.0.0.1:1/v1"), None, "model_missing", "WEFT_MODEL=openai:<a model of that server>"),
        (ModelSettings(), "gpt-5", "model_unknown", "write anthropic:<model>, openai:<model> or scripted"),
        (ModelSettings(), "openai:", "model_unknown", "is not a model"),
        (ModelSettings(), "gemini:pro", "model_unknown", "is not a model"),
    ],
)
async def test_a_model_that_cannot_be_asked_says_what_to_set(settings: ModelSettings, model: str | None, code: str, says: str) -> None:
    async with asking(settings) as models:
        with pytest.raises(Failure) as failed:
            await models.complete(model, HELLO)
    assert failed.value.code == code
    assert says in failed.value.message


async def test_without_a_key_the_scripted_provider_answers_and_says_so() -> None:
    async with asking(ModelSettings()) as models:
        for _ in range(2):
            answer = await models.complete(None, HELLO)
            assert answer.text == "(scripted answer, no model was asked) Hello"
            assert answer.model == "scripted"
            assert (await models.complete(None, HELLO, output_schema=KIND)).json == {"kind": "refund", "amount": 1}


async def test_the_environment_of_the_sdks_changes_nothing(loopback: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/elsewhere")
    for name in ("OPENAI_PROXY", "ANTHROPIC_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("LANGSMITH_GATEWAY", "true")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    for settings in both(loopback):
        async with asking(settings) as models:
            assert (await models.complete(None, HELLO)).text == "ok"


def test_every_vendor_keeps_the_contract() -> None:
    assert set(vendors()) == {"anthropic", "openai", "scripted"}
    for vendor in vendors().values():
        assert isinstance(vendor.NEEDS, str)
        assert isinstance(vendor.BASE, str)
        assert vendor.endpoint(ModelSettings()) is None or vendor is vendors()["scripted"]
        assert isinstance(vendor.default(ModelSettings()), str)


def test_the_sdks_are_not_imported_before_they_are_asked() -> None:
    code = (
        "import sys; from graphs.models import Models, vendors; vendors(); "
        "print([name for name in ('openai', 'anthropic', 'langchain_core', 'langsmith', 'tiktoken') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"
