"""The odd answers of model servers, on both wires: each has one code, one sentence that helps, and costs what it may."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import SecretStr

from graphs.models import Caller, Message, Models, ModelSettings, ToolCall, ToolSpec
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from store import models as registry
from store.postgres import Tenant
from tests.models.asking import HELLO, KIND, asking, both, failing, ignored
from tests.models.loopback import KEY, ModelServer, Turn, model_server
from tests.models.test_spending import TINY, rows, spent, total

pytestmark = pytest.mark.anyio
LOOK = ToolSpec(name="look_up", description="Looks something up.", schema={"type": "object", "properties": {"id": {"type": "integer"}}})

WAITS = {
    "seconds": ({"retry-after": "17"}, 17.0),
    "an instant": ({"retry-after": "in a minute"}, 60.0),
    "milliseconds": ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    "an hour": ({"retry-after": "3600"}, 3600.0),
    "no number": ({"retry-after-ms": "soon", "retry-after": "later"}, None),
    "less than nothing": ({"retry-after-ms": "-5"}, None),
    "a year": ({"retry-after": "31536000"}, 86_400.0),
}


@pytest.mark.parametrize("said", WAITS)
@pytest.mark.parametrize("status", [429, 503, 529])
async def test_how_long_to_wait_is_what_the_vendor_says_in_whatever_form(loopback: ModelServer, said: str, status: int) -> None:
    headers, wait = WAITS[said]
    for settings in both(loopback):
        told = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True) if said == "an instant" else None
        loopback.turns.append(Turn(status=status, headers={"retry-after": told} if told else headers))
        failure = await failing(settings)
        assert failure.retryable
        assert failure.retry_after == (pytest.approx(wait, abs=5.0 if told else 0.0) if wait is not None else None)


OPENAI_LONG = Turn(status=400, code="context_length_exceeded", message="This model's maximum context length is 8192 tokens.")
CLAUDE_LONG = Turn(status=400, code="invalid_request_error", message="prompt is too long: 210000 tokens > 200000 maximum")
TOLD: dict[str, tuple[Turn, str, bool, str]] = {
    "no model": (Turn(status=404), "model_not_found", False, "check `model`, WEFT_MODEL and"),
    "forbidden": (Turn(status=403), "model_auth", False, "check the key's permissions"),
    "no credit": (Turn(status=402, message="add credits"), "model_quota", False, "no credit left"),
    "too long, said by OpenAI": (OPENAI_LONG, "model_context", False, "send less"),
    "too long, said by Anthropic": (CLAUDE_LONG, "model_context", False, "weft models set"),
    "too large": (Turn(status=413, message="Request exceeds the maximum size"), "model_context", False, "tokens were sent"),
    "filtered": (Turn(status=400, code="content_filter", message="content_filter: triggered"), "model_refused", False, "refused to answer"),
    "overloaded": (Turn(status=529, code="overloaded_error"), "model_unavailable", True, "overloaded (529)"),
    "an error that is a success": (Turn(body=b'{"error": {"message": "upstream is gone", "code": 502}}'), "", True, ""),
    "packed": (
        Turn(body=gzip.compress(b" " * 50_000_000), headers={"content-encoding": "gzip"}), "model_bad_answer", False, "packed its answer",
    ),
    "no choices": (Turn(body=b'{"choices": [], "usage": null}'), "", True, ""),
}  # fmt: skip


@pytest.mark.parametrize("told", TOLD)
async def test_every_odd_answer_has_a_code_and_says_what_to_do(loopback: ModelServer, told: str) -> None:
    turn, code, retryable, says = TOLD[told]
    for settings in both(loopback):
        loopback.turns.append(turn)
        failure = await failing(settings)
        assert failure.code == code or (not code and failure.code in ("model_bad_answer", "model_unavailable"))
        assert failure.retryable is retryable
        assert says in failure.message
    assert len(loopback.asked) == 2  # nobody but the engine tries again


async def test_a_context_that_is_known_is_named(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, replace(TINY, context=8_192))
    loopback.turns.append(OPENAI_LONG)
    async with house_of(tenant, loopback) as models:
        with pytest.raises(Failure) as failed:
            await models.complete("openai:tiny", HELLO, max_tokens=500)
    assert "more than the 8,192 tokens that it takes" in failed.value.message
    assert "the answer may have 500" in failed.value.message


STREAMS: dict[str, tuple[Turn, str]] = {
    "before the first piece": (Turn(text="Words.", cut=True, said=0), "model_cut"),
    "in the arguments of a call": (Turn(text="", calls=(("look_up", {"id": 123456789}),), cut=True, said=5), "model_cut"),
    "an error inside": (Turn(text="Some words.", broken="upstream connect error"), "model_unavailable"),
    "too long after all": (Turn(text="Some words.", broken="prompt is too long"), "model_context"),
}


@pytest.mark.parametrize("told", STREAMS)
async def test_a_stream_that_breaks_is_no_answer(loopback: ModelServer, told: str) -> None:
    turn, code = STREAMS[told]
    for settings in both(loopback):
        loopback.turns.append(turn)
        assert (await failing(settings, tools=[LOOK], on_text=ignored)).code == code


async def test_an_answer_that_was_whole_when_its_stream_broke_is_taken_and_estimated(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await registry.put(tenant, replace(TINY, name="anthropic:claude-tiny"))
    async with house_of(tenant, loopback) as models:
        for model, pieces in (("openai:tiny", 4), ("anthropic:claude-tiny", 5)):
            loopback.turns.append(Turn(text="Done", cut=True, said=pieces - (model == "openai:tiny")))
            answer = await models.complete(model, HELLO, on_text=ignored)
            assert answer.text == "Done"
            assert answer.usage.output_tokens > 0
    counted, heard = await rows(tenant)
    assert (counted.estimated, counted.outcome) == (True, "ok")  # OpenAI counts after the end
    assert heard.outcome == "ok"


async def test_null_content_is_an_empty_answer(loopback: ModelServer) -> None:
    whole: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "stop", "index": 0}]}
    loopback.turns.append(Turn(body=json.dumps(whole).encode()))
    async with asking(loopback.openai()) as models:
        assert (await models.complete(None, HELLO)).text == ""


async def test_what_the_filter_stops_is_a_refusal_streamed_or_not(loopback: ModelServer) -> None:
    for streamed in (None, ignored):
        for settings, ending in zip(both(loopback), ("content_filter", "refusal"), strict=True):
            loopback.turns.append(Turn(text="I must", ending=ending))
            assert (await failing(settings, on_text=streamed)).code == "model_refused"


async def test_an_answer_that_is_cut_off_is_not_mended_for_ever(loopback: ModelServer) -> None:
    for streamed in (None, ignored):
        for settings, ending in zip(both(loopback), ("length", "max_tokens"), strict=True):
            loopback.turns.append(Turn(text="kind: ref", ending=ending))
            failure = await failing(settings, output_schema=KIND, on_text=streamed)
            assert (failure.code, failure.retryable) == ("model_output", False)
    assert len(loopback.asked) == 4


async def test_a_server_that_drips_is_given_up_when_its_time_is_over(loopback: ModelServer) -> None:
    for settings in both(loopback):
        async with asking(settings) as models:
            await models.complete(None, HELLO)  # the SDK is imported by now
        loopback.turns.append(Turn(text="x" * 4_000, pause=0.05))
        failure = await failing(settings, on_text=ignored, timeout=1.0)
        assert (failure.code, failure.retryable) == ("model_timeout", True)


async def test_a_conversation_with_calls_names_its_tools_to_claude_also_when_none_may_be_called(loopback: ModelServer) -> None:
    said = Message(role="assistant", text="", calls=(ToolCall(id="c1", name="look_up"),))
    async with asking(loopback.anthropic()) as models:
        await models.complete(None, [*HELLO, said, Message(role="tool", text="1", call_id="c1")])
    (asked,) = loopback.asked
    assert ([tool["name"] for tool in asked["tools"]], asked["tool_choice"]) == (["look_up"], {"type": "none"})


# --- who answers instead, and what it costs ---------------------------------------------------------------------------


@asynccontextmanager
async def house_of(
    tenant: Tenant, loopback: ModelServer, caller: Caller | None = None, *, other: ModelServer | None = None
) -> AsyncGenerator[Models]:
    """With both vendors; `other` is the server of anthropic."""
    settings = replace(loopback.openai(), anthropic_api_key=SecretStr(KEY), anthropic_base_url=(other or loopback).url)
    async with Outbound(Policy()) as outbound:
        yield Models(settings, outbound).of(tenant, caller or Caller())


async def test_who_asks_for_an_hour_is_not_waited_for_where_another_model_can_answer(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.choose(tenant, default="openai:tiny", fallbacks=("anthropic:claude-tiny",), only_listed=False)
    early = Caller(last=False)  # its step would be tried again
    with model_server() as other:
        async with house_of(tenant, other, early, other=loopback) as models:
            other.turns.append(Turn(status=429, headers={"retry-after": "3600"}))
            for _ in range(2):  # the second time our own gate holds the call back
                assert (await models.complete(None, HELLO)).model == "anthropic:claude-tiny"
            assert len(other.asked) == 1
        async with house_of(tenant, loopback, early, other=other) as models:
            loopback.turns.append(Turn(status=429, headers={"retry-after": "5"}))
            with pytest.raises(Failure) as failed:
                await models.complete(None, HELLO)
            assert (failed.value.code, failed.value.retry_after) == ("model_rate_limited", 5.0)


async def test_what_is_no_answer_costs_its_input_and_not_all_that_was_set_aside(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=100.0)
    async with house_of(tenant, loopback) as models:
        loopback.turns.append(Turn(body=b"<html>Welcome</html>"))
        with pytest.raises(Failure):
            await models.complete("openai:tiny", HELLO)
    (row,) = await rows(tenant)
    assert (row.outcome, row.output_tokens, row.estimated) == ("model_bad_answer", 0, True)
    assert (await spent(tenant))[2:] == (0.0, 0)


async def test_a_missing_count_is_estimated_and_refills_no_budget(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=100.0)
    whole: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop", "index": 0}]}
    async with house_of(tenant, loopback) as models:
        for usage in (None, {}, {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10}):
            loopback.turns.append(Turn(body=json.dumps({**whole, "usage": usage}).encode()))
            before = (await spent(tenant))[0]
            assert (await models.complete("openai:tiny", HELLO)).usage.cost_usd
            assert (await spent(tenant))[0] > before
    assert all(row.estimated for row in await rows(tenant))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_errors_name_what_the_organization_has_set_and_not_the_operators_settings(
    tenant: Tenant, loopback: ModelServer, vendor: str
) -> None:
    with model_server() as gone:
        pass
    for server, says in ((loopback, "--connection"), (gone, f"weft models set {vendor}:own --base-url")):
        await registry.put(tenant, replace(TINY, name=f"{vendor}:own", base_url=server.url + ("/v1" if vendor == "openai" else "")))
        async with Outbound(Policy(allow_hosts=("127.0.0.1",))) as outbound:
            with pytest.raises(Failure) as failed:
                await Models(ModelSettings(), outbound).of(tenant).complete(f"{vendor}:own", HELLO)
        assert says in failed.value.message
        assert "_BASE_URL" not in failed.value.message
        assert "_API_KEY" not in failed.value.message
