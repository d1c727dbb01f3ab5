"""openai: OpenAI, and any server that speaks its chat completions (Ollama, vLLM, llama.cpp, LM Studio, OpenRouter, LiteLLM, …)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from graphs.models import _langchain, _thinking
from graphs.models._langchain import Heard
from graphs.models._messages import Call, Effort, Endpoint, Message, Reply
from graphs.models._settings import ModelSettings
from graphs.outbound import Outbound

NEEDS = "OPENAI_API_KEY (or OPENAI_BASE_URL for a compatible server)"
BASE = "OPENAI_BASE_URL"
MODEL = "gpt-5-mini"
HOME = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a server may not know of: `form` is response_format, `counts` whether it counts tokens while streaming."""

    messages: tuple[Message, ...]
    form: dict[str, Any] | None
    effort: Effort | None
    counts: bool = True


def endpoint(settings: ModelSettings) -> Endpoint | None:
    if not (settings.openai_api_key or settings.openai_base_url):
        return None
    return Endpoint(base_url=settings.openai_base_url, key=settings.openai_api_key)


def default(settings: ModelSettings) -> str:
    """Nobody but the operator knows what another server calls its models."""
    return "" if settings.openai_base_url else MODEL


def load() -> None:
    import langchain_openai  # noqa: F401 # pyright: ignore[reportUnusedImport]


async def ask(call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply:
    async def once(words: Words) -> Heard:
        return await _ask(call, words, endpoint, outbound)

    return reply(await held(call, once))


async def held(call: Call, once: Callable[[Words], Awaitable[Heard]]) -> Heard:
    """Asks, and again in simpler words as long as a server knows less."""
    import openai

    words = Words(messages=call.messages, form=_form(call), effort=call.effort)
    while True:
        try:
            return await once(words)
        except openai.BadRequestError as wrong:
            simpler = _simpler(call, words, str(wrong))
            if simpler is None:
                raise
            words = simpler


def _simpler(call: Call, words: Words, wrong: str) -> Words | None:
    """Without what the server says is wrong."""
    if words.counts and "stream_options" in wrong:
        return replace(words, counts=False)
    if words.effort is not None and "reasoning_effort" in wrong:
        return replace(words, effort=None)
    if words.form is not None and words.form["type"] == "json_schema" and "response_format" in wrong:  # many know only JSON as such
        return replace(words, form={"type": "json_object"}, messages=(*words.messages, _langchain.described(call)))
    return None


def reply(heard: Heard) -> Reply:
    refusal = heard.refusal or ("the content filter stopped it" if heard.ending == "content_filter" else None)
    return Reply(
        text=heard.text, usage=heard.usage, calls=heard.calls, cut=heard.ending == "length", refusal=refusal, thoughts=heard.thoughts
    )


def _form(call: Call) -> dict[str, Any] | None:
    """Not OpenAI's "strict" subset, which refuses ordinary schemas: what comes back is checked anyway."""
    if call.schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": call.schema, "strict": False}}


async def _ask(call: Call, words: Words, endpoint: Endpoint, outbound: Outbound) -> Heard:
    from langchain_openai import ChatOpenAI

    base = endpoint.base_url or HOME
    body = extra(call, words)
    if call.max_tokens is not None:  # compatible servers know the old name, OpenAI's reasoning models only the new one
        body["max_tokens" if endpoint.base_url else "max_completion_tokens"] = call.max_tokens
    model = _thinking.reasoned(ChatOpenAI)(
        model=call.model,
        base_url=base,
        api_key=key(endpoint.key),
        http_async_client=outbound.client(base, trusted=endpoint.trusted),
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        extra_body=body or None,
        stream_usage=words.counts,
        stream_chunk_timeout=None,  # the call as a whole has one
        use_responses_api=False,
        openai_proxy=None,
    )
    return await _langchain.invoke(model, call, _langchain.messages(words.messages))


def extra(call: Call, words: Words) -> dict[str, Any]:
    """What goes into the body as it is."""
    body: dict[str, Any] = {"response_format": words.form} if words.form else {}
    if words.effort is not None:
        body["reasoning_effort"] = words.effort
    if call.tools:
        body["tools"] = _langchain.functions(call.tools)
    return body


def key(secret: SecretStr | None) -> Any:
    """As a coroutine function: then no synchronous client is built, which would load certificates each time."""

    async def given() -> str:
        return secret.get_secret_value() if secret else "none"

    return given
