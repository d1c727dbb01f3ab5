"""anthropic: Claude by the Messages API."""

from __future__ import annotations

import json
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field, SecretStr

from graphs.models import Call, Message, ModelSettings, Reply, _langchain
from graphs.outbound import Outbound

if TYPE_CHECKING:  # slow to import
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

NEEDS = "ANTHROPIC_API_KEY"
BASE = "ANTHROPIC_BASE_URL"
MODEL = "claude-haiku-5-5"
HOME = "https://api.anthropic.com"
MAX_TOKENS = 8192  # the API wants a bound; every current model can do this one
TOOL = "answer"


def configured(settings: ModelSettings) -> bool:
    return bool(settings.anthropic_api_key or settings.anthropic_base_url)


def default(settings: ModelSettings) -> str:
    return MODEL


def load() -> None:
    import langchain_anthropic  # noqa: F401 # pyright: ignore[reportUnusedImport]


async def ask(call: Call, settings: ModelSettings, outbound: Outbound) -> Reply:
    model = _model(call, settings, outbound)
    message = await (_langchain.invoke(model, call, call.messages) if call.schema is None else _held(model, call))
    text = _langchain.text(message)
    if call.schema is not None and message.tool_calls:
        text = json.dumps(message.tool_calls[0]["args"])
    ending = _langchain.ending(message)
    refusal = (text or "no reason given") if ending == "refusal" else None
    return Reply(text=text, usage=_langchain.usage(message), cut=ending == "max_tokens", refusal=refusal)


async def _held(model: BaseChatModel, call: Call) -> AIMessage:
    """The schema goes along as a tool that the model must use; any schema of an object can. Some models refuse to be
    made to (Claude Opus 5.5, Sonnet 5.5): they are told in words."""
    import anthropic

    tools = [{"name": TOOL, "description": "Gives the answer.", "input_schema": call.schema}]
    try:
        forced = {"type": "tool", "name": TOOL}
        return await _langchain.invoke(model, call, call.messages, tools=tools, tool_choice=forced)
    except anthropic.BadRequestError as wrong:
        if "tool_choice" not in str(wrong):
            raise
    told = Message(role="user", text=f"Give your answer by calling the tool `{TOOL}` once, and write nothing else.")
    return await _langchain.invoke(model, call, (*call.messages, told), tools=tools)


def _model(call: Call, settings: ModelSettings, outbound: Outbound) -> BaseChatModel:
    base = settings.anthropic_base_url or HOME
    return _guarded()(
        model=call.model,
        base_url=base,
        api_key=settings.anthropic_api_key or SecretStr("none"),
        http_async_client=outbound.client(base),
        max_tokens=call.max_tokens or MAX_TOKENS,
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        anthropic_proxy=None,
    )


@cache
def _guarded() -> Any:
    import anthropic
    from langchain_anthropic import ChatAnthropic

    class Guarded(ChatAnthropic):
        """ChatAnthropic takes no HTTP client from outside, so the property that makes its SDK client is ours."""

        http_async_client: Any = Field(exclude=True)

        @cached_property
        def _async_client(self) -> anthropic.AsyncClient:
            return anthropic.AsyncClient(**self._client_params, http_client=self.http_async_client)

    return Guarded
