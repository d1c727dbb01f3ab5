"""anthropic: Claude by the Messages API."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field, SecretStr

from graphs.models import _langchain
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
    model = _model(call, endpoint, outbound)
    heard = await (_held(model, call) if call.schema is not None else _langchain.invoke(model, call, _messages(call), **_tools(call)))
    answers = [wish for wish in heard.calls if call.schema is not None and wish.name == ANSWER]
    calls = tuple(wish for wish in heard.calls if wish not in answers)
    refusal = (heard.text or "no reason given") if heard.ending == "refusal" else None
    text = answers[0].arguments if answers and not calls else heard.text
    return Reply(text=text, usage=heard.usage, calls=calls, cut=heard.ending == "max_tokens", refusal=refusal)


async def _held(model: BaseChatModel, call: Call) -> Heard:
    """The schema goes along as a tool that the model must use; any schema of an object can. Some models refuse to be
    made to (Claude Opus 5.5, Sonnet 5.5): they are told in words."""
    import anthropic

    tools = _tools(call)["tools"]
    forced = {"type": "any"} if call.tools else {"type": "tool", "name": ANSWER}
    try:
        return await _langchain.invoke(model, call, _messages(call), tools=tools, tool_choice=forced)
    except anthropic.BadRequestError as wrong:
        if "tool_choice" not in str(wrong):
            raise
    once = "When you have it, give" if call.tools else "Give"
    told = Message(role="user", text=f"{once} your answer by calling the tool `{ANSWER}` once, and write nothing else.")
    return await _langchain.invoke(model, call, _messages(call, told), tools=tools)


def _tools(call: Call) -> dict[str, Any]:
    tools = [{"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in call.tools]
    if call.schema is not None:
        tools.append({"name": ANSWER, "description": "Gives the answer.", "input_schema": call.schema})
    if call.tools:
        tools[-1]["cache_control"] = CACHED
    return {"tools": tools} if tools else {}


def _messages(call: Call, *more: Message) -> list[BaseMessage]:
    """What comes again with the next call is marked to be kept: instructions when they are long, and the conversation of a tool loop."""
    from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

    said = _langchain.messages((*call.messages, *more))
    for message in said[:1]:
        if isinstance(message, SystemMessage) and message.content and (call.tools or len(str(message.text)) >= WORTH):
            message.content = [{"type": "text", "text": str(message.text), "cache_control": CACHED}]
    last = said[-1] if said and call.tools else None
    if isinstance(last, HumanMessage | ToolMessage) and last.content:
        blocks: list[Any] = [{"type": "text", "text": last.content}] if isinstance(last.content, str) else list(cast(Any, last.content))
        last.content = [*blocks[:-1], {**blocks[-1], "cache_control": CACHED}]
    return said


def _model(call: Call, endpoint: Endpoint, outbound: Outbound) -> BaseChatModel:
    base = endpoint.base_url or HOME
    return _guarded()(
        model=call.model,
        base_url=base,
        api_key=endpoint.key or SecretStr("none"),
        http_async_client=outbound.client(base, trusted=endpoint.trusted),
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
