"""openai: OpenAI, and any server that speaks its chat completions (Ollama, vLLM, llama.cpp, LM Studio, OpenRouter, LiteLLM, …)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import SecretStr

from graphs.models import _langchain
from graphs.models._langchain import Heard
from graphs.models._messages import Call, Endpoint, Message, Reply
from graphs.models._settings import ModelSettings
from graphs.outbound import Outbound

NEEDS = "OPENAI_API_KEY (or OPENAI_BASE_URL for a compatible server)"
BASE = "OPENAI_BASE_URL"
MODEL = "gpt-5-mini"
HOME = "https://api.openai.com/v1"

Form = dict[str, Any] | None
"""response_format of a request."""


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
    async def once(messages: tuple[Message, ...], form: Form, streams: bool) -> Heard:
        return await _ask(call, messages, form, streams, endpoint, outbound)

    return reply(await held(call, once))


async def held(call: Call, once: Callable[[tuple[Message, ...], Form, bool], Awaitable[Heard]]) -> Heard:
    """Asks by `once(messages, response_format, usage while streaming)`, and again in simpler words where a server knows less."""
    import openai

    form = _form(call)
    try:
        return await once(call.messages, form, True)
    except openai.BadRequestError as wrong:
        if "stream_options" in str(wrong):
            return await once(call.messages, form, False)
        if call.schema is None or "response_format" not in str(wrong):
            raise
    return await once((*call.messages, _langchain.described(call)), {"type": "json_object"}, True)  # many know only JSON as such


def reply(heard: Heard) -> Reply:
    refusal = heard.refusal or ("the content filter stopped it" if heard.ending == "content_filter" else None)
    return Reply(text=heard.text, usage=heard.usage, calls=heard.calls, cut=heard.ending == "length", refusal=refusal)


def _form(call: Call) -> Form:
    """Not OpenAI's "strict" subset, which refuses ordinary schemas: what comes back is checked anyway."""
    if call.schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": call.schema, "strict": False}}


async def _ask(call: Call, messages: tuple[Message, ...], form: Form, streams: bool, endpoint: Endpoint, outbound: Outbound) -> Heard:
    from langchain_openai import ChatOpenAI

    base = endpoint.base_url or HOME
    body = extra(call, form)
    if call.max_tokens is not None:  # compatible servers know the old name, OpenAI's reasoning models only the new one
        body["max_tokens" if endpoint.base_url else "max_completion_tokens"] = call.max_tokens
    model = ChatOpenAI(
        model=call.model,
        base_url=base,
        api_key=key(endpoint.key),
        http_async_client=outbound.client(base, trusted=endpoint.trusted),
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        extra_body=body or None,
        stream_usage=streams,
        stream_chunk_timeout=None,  # the call as a whole has one
        use_responses_api=False,
        openai_proxy=None,
    )
    return await _langchain.invoke(model, call, _langchain.messages(messages))


def extra(call: Call, form: Form) -> dict[str, Any]:
    """What goes into the body as it is."""
    body: dict[str, Any] = {"response_format": form} if form else {}
    if call.tools:
        body["tools"] = _langchain.functions(call.tools)
    return body


def key(secret: SecretStr | None) -> Any:
    """As a coroutine function: then no synchronous client is built, which would load certificates each time."""

    async def given() -> str:
        return secret.get_secret_value() if secret else "none"

    return given
