"""anthropic: Claude by the Messages API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field, SecretStr

from graphs.models import _arguments, _langchain, _thinking
from graphs.models._langchain import Heard
from graphs.models._messages import Call, Endpoint, Message, Reply
from graphs.models._settings import ModelSettings
from graphs.outbound import Outbound

if TYPE_CHECKING:  # slow to import
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

NEEDS = "ANTHROPIC_API_KEY"
BASE = "ANTHROPIC_BASE_URL"
MODEL = "claude-haiku-5-5"
HOME = "https://api.anthropic.com"
MAX_TOKENS = 8192  # the API wants a bound; every current model can do this one
ANSWER = "answer"
CUT = frozenset({"max_tokens", "model_context_window_exceeded"})
LEAST = 1_024  # tokens of thinking that can be asked for
UNTHINKING = re.compile(r"thinking\.|adaptive|budget_tokens|effort|not support")
"""Of an answer by which a model does not know the form in which it was told to think."""
CACHED: dict[str, Any] = {"type": "ephemeral"}
WORTH = 4_000  # characters of instructions and tools from which keeping them is worth its price: about what the vendor keeps at least


def endpoint(settings: ModelSettings) -> Endpoint | None:
    if not (settings.anthropic_api_key or settings.anthropic_base_url):
        return None
    return Endpoint(base_url=settings.anthropic_base_url, key=settings.anthropic_api_key)


def default(settings: ModelSettings) -> str:
    return MODEL


def load() -> None:
    import langchain_anthropic  # noqa: F401 # pyright: ignore[reportUnusedImport]


async def ask(call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply:
    heard = await _thoughtful(call, endpoint, outbound)
    answers = [wish for wish in heard.calls if call.schema is not None and wish.name == ANSWER]
    calls = tuple(wish for wish in heard.calls if wish not in answers)
    refusal = (heard.text or "no reason given") if heard.ending == "refusal" else None
    text = answers[0].arguments if answers and not calls else heard.text
    return Reply(text=text, usage=heard.usage, calls=calls, cut=heard.ending in CUT, refusal=refusal, thoughts=heard.thoughts)


async def _thoughtful(call: Call, endpoint: Endpoint, outbound: Outbound) -> Heard:
    """With as much thinking as was asked for, in the form that the model knows: old ones want a number of tokens, new ones only the effort,
    and some do not think."""
    import anthropic

    forms = list(_efforts(call, _model(call, endpoint, outbound)))
    for more in forms[:-1]:
        model = _model(call, endpoint, outbound, **more)
        try:
            return await _asked(model, replace(call, temperature=None), forced=False)
        except anthropic.BadRequestError as wrong:
            if not UNTHINKING.search(str(wrong)):
                raise
    return await _asked(_model(call, endpoint, outbound), call, forced=True)


def _efforts(call: Call, model: BaseChatModel) -> Iterator[dict[str, Any]]:
    """What to tell the model about thinking, the likeliest first; in the end nothing."""
    if call.effort is not None:
        levels = (model.profile or {}).get("reasoning_effort_levels") or ()
        adaptive = {"thinking": {"type": "adaptive", "display": "summarized"}, "reasoning_effort": call.effort}
        tokens = min(_thinking.BUDGETS[call.effort], (call.max_tokens or _bound(call) * 2) // 2)
        budget = {"thinking": {"type": "enabled", "budget_tokens": tokens}}
        if "xhigh" in levels:
            yield adaptive
        elif not _thinking.unthought(call.messages):
            yield from (budget, adaptive) if tokens >= LEAST else (adaptive,)
    yield {}


async def _asked(model: BaseChatModel, call: Call, *, forced: bool) -> Heard:
    """A schema goes along as a tool that the model must use; any schema of an object can. Some models refuse to be made to (Claude
    Opus 5.5, Sonnet 5.5, and all that were told to think): they are told in words."""
    import anthropic

    tools = _tools(call)
    if call.schema is None:
        return await _langchain.invoke(model, call, _messages(call), **tools)
    choice = {"type": "any"} if call.tools else {"type": "tool", "name": ANSWER}
    try:
        if forced:
            return await _langchain.invoke(model, call, _messages(call), answer=ANSWER, **tools, tool_choice=choice)
    except anthropic.BadRequestError as wrong:
        if "tool_choice" not in str(wrong):
            raise
    once = "When you have it, give" if call.tools else "Give"
    told = Message(role="user", text=f"{once} your answer by calling the tool `{ANSWER}` once, and write nothing else.")
    return await _langchain.invoke(model, call, _messages(call, told), answer=ANSWER, **tools)


def _tools(call: Call) -> dict[str, Any]:
    tools = [{"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in call.tools]
    if call.schema is not None:
        tools.append({"name": ANSWER, "description": "Gives the answer.", "input_schema": call.schema})
    if call.tools:
        tools[-1]["cache_control"] = CACHED
    if tools:
        return {"tools": tools}
    called = dict.fromkeys(asked.name for message in call.messages for asked in message.calls)  # the API wants to know what was called
    past = [{"name": name, "description": "Not to be called any more.", "input_schema": {"type": "object"}} for name in called]
    return {"tools": past, "tool_choice": {"type": "none"}} if past else {}


def _messages(call: Call, *more: Message) -> list[BaseMessage]:
    """What comes again with the next call is marked to be kept: instructions when they are long, and the conversation of a tool loop."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    said = _langchain.messages((*call.messages, *more))
    for message in said:
        if isinstance(message, AIMessage):
            _thinking.in_blocks(message)
    for message in said[:1]:
        if isinstance(message, SystemMessage) and message.content and (call.tools or len(str(message.text)) >= WORTH):
            message.content = [{"type": "text", "text": str(message.text), "cache_control": CACHED}]
    last = said[-1] if said and call.tools else None
    if isinstance(last, HumanMessage | ToolMessage) and last.content:
        blocks: list[Any] = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else list(cast(Any, last.content))
        last.content = [*blocks[:-1], {**blocks[-1], "cache_control": CACHED}]
    return said


def _bound(call: Call) -> int:
    return call.max_tokens or MAX_TOKENS + (_thinking.BUDGETS[call.effort] if call.effort else 0)


def _model(call: Call, endpoint: Endpoint, outbound: Outbound, **more: Any) -> BaseChatModel:
    base = endpoint.base_url or HOME
    return _guarded()(
        model=call.model,
        base_url=base,
        api_key=endpoint.key or SecretStr("none"),
        http_async_client=outbound.client(base, trusted=endpoint.trusted),
        max_tokens=_bound(call),
        timeout=call.timeout,
        max_retries=0,  # the engine retries, durably
        anthropic_proxy=None,
        **more,
    )


@cache
def _guarded() -> Any:
    import anthropic
    from langchain_anthropic import ChatAnthropic
    from langchain_core.messages import AIMessageChunk

    class Guarded(ChatAnthropic):
        """ChatAnthropic takes no HTTP client from outside, so the property that makes its SDK client is ours; and long arguments of calls
        are read by us."""

        http_async_client: Any = Field(exclude=True)

        @cached_property
        def _async_client(self) -> anthropic.AsyncClient:
            return anthropic.AsyncClient(**self._client_params, http_client=self.http_async_client)

        def _make_message_chunk_from_anthropic_event(self, event: Any, *, block_start_event: Any = None, **more: Any) -> Any:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                kept = [{"of": event.index, "said": event.delta.partial_json}]
                return AIMessageChunk(content="", additional_kwargs={_arguments.KEPT: kept}), block_start_event
            plain: Any = super()
            return plain._make_message_chunk_from_anthropic_event(event, block_start_event=block_start_event, **more)

    return Guarded
