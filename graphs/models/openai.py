"""openai: OpenAI, and any server that speaks its chat completions (Ollama, vLLM, LM Studio, OpenRouter, LiteLLM, …)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from graphs.models import Call, Message, ModelSettings, Reply, _langchain
from graphs.outbound import Outbound

if TYPE_CHECKING:  # slow to import
    from langchain_core.messages import AIMessage

NEEDS = "OPENAI_API_KEY (or OPENAI_BASE_URL for a compatible server)"
BASE = "OPENAI_BASE_URL"
MODEL = "gpt-5-mini"
HOME = "https://api.openai.com/v1"


def configured(settings: ModelSettings) -> bool:
    return bool(settings.openai_api_key or settings.openai_base_url)


def default(settings: ModelSettings) -> str:
    """Nobody but the operator knows what another server calls its models."""
    return "" if settings.openai_base_url else MODEL


def load() -> None:
    import langchain_openai  # noqa: F401 # pyright: ignore[reportUnusedImport]


async def ask(call: Call, settings: ModelSettings, outbound: Outbound) -> Reply:
    import openai

    try:
        message = await _ask(call, call.messages, _held(call), settings, outbound)
    except openai.BadRequestError as wrong:
        if call.schema is None or "response_format" not in str(wrong):
            raise
        # Many compatible servers know only JSON as such; the schema then goes into words.
        messages = (*call.messages, _langchain.described(call))
        message = await _ask(call, messages, {"type": "json_object"}, settings, outbound)
    refusal = message.additional_kwargs.get("refusal")
    ending = _langchain.ending(message)
    return Reply(
        text=_langchain.text(message),
        usage=_langchain.usage(message),
        cut=ending == "length",
        refusal=str(refusal) if refusal else "the content filter stopped it" if ending == "content_filter" else None,
    )


def _held(call: Call) -> dict[str, Any] | None:
    """Not OpenAI's "strict" subset, which refuses ordinary schemas: what comes back is checked anyway."""
    if call.schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": call.schema, "strict": False}}


async def _ask(
    call: Call,
    messages: tuple[Message, ...],
    response_format: dict[str, Any] | None,
    settings: ModelSettings,
    outbound: Outbound,
) -> AIMessage:
    from langchain_openai import ChatOpenAI

    base = settings.openai_base_url or HOME
    body: dict[str, Any] = {"response_format": response_format} if response_format else {}
    if call.max_tokens is not None:  # compatible servers know the old name, OpenAI's reasoning models only the new one
        body["max_tokens" if settings.openai_base_url else "max_completion_tokens"] = call.max_tokens
    model = ChatOpenAI(
        model=call.model,
        base_url=base,
        api_key=_key(settings.openai_api_key),
        http_async_client=outbound.client(base),
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        extra_body=body or None,
        use_responses_api=False,
        openai_proxy=None,
    )
    return await _langchain.invoke(model, call, messages)


def _key(secret: SecretStr | None) -> Any:
    """As a coroutine function: then no synchronous client is built, which would load certificates each time."""

    async def key() -> str:
        return secret.get_secret_value() if secret else "none"

    return key
