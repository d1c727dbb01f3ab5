"""What the vendors share: a call made through a LangChain chat model, whole or as a stream, and its message read."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from graphs.models import _arguments, _thinking
from graphs.models._failures import caught
from graphs.models._messages import Call, Message, ToolSpec, Usage, Wish
from graphs.nodetype import Failure

if TYPE_CHECKING:  # slow to import
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An answer read. `ending` is why the model stopped, in the vendor's word; `refusal` its words instead; `thoughts` as of Thoughts."""

    text: str
    calls: tuple[Wish, ...]
    usage: Usage
    ending: str
    refusal: str = ""
    thoughts: _thinking.Parts = ()


async def invoke(model: BaseChatModel, call: Call, messages: list[BaseMessage], *, answer: str | None = None, **bound: Any) -> Heard:
    """Asks once. A temperature goes along only where the model is not known to refuse one. `answer`: the tool by which it gives its JSON.

    LangSmith tracing stays off whatever the environment says: it would send prompts out past the policy."""
    from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType]

    if call.temperature is not None and (model.profile or {}).get("temperature") is not False:
        bound["temperature"] = call.temperature
    with tracing_context(enabled=False):
        if call.on_text is not None:
            return _read(await _streamed(model, call, messages, bound, answer))
        return _read(await model.ainvoke(messages, **bound))


async def _streamed(model: BaseChatModel, call: Call, messages: list[BaseMessage], bound: dict[str, Any], answer: str | None) -> AIMessage:
    """The whole message; one whose stream ended without saying why is not whole."""
    from langchain_core.messages.ai import add_ai_message_chunks

    pieces: list[AIMessageChunk] = []
    ended = False
    ears = _Ears(call, answer)
    stream = cast(Any, model.astream(messages, **bound))
    try:
        async with aclosing(stream), asyncio.timeout(call.first) as waiting:
            async for piece in stream:
                waiting.reschedule(None)
                pieces.append(piece)
                ears.hear(piece)
                ended = ended or bool(_ending(piece))
    except TimeoutError:
        raise Failure("model_timeout", f"no word of an answer within {call.first:g} s", retryable=True) from None
    except caught():
        if not ended:  # what breaks after the end takes nothing from the answer
            raise
    if not ended:
        raise Failure("model_cut", "the stream broke before its answer was complete", retryable=True)
    return add_ai_message_chunks(pieces[0], *pieces[1:])


class _Ears:
    """Tells the pieces of a stream to those who wait for them."""

    def __init__(self, call: Call, answer: str | None) -> None:
        self._call, self._answer = call, answer
        self._answering: set[object] = set()  # places of calls of the tool `answer`

    def hear(self, piece: AIMessageChunk) -> None:
        text, arguments = str(piece.text), [(part.get("index"), part.get("args") or "") for part in piece.tool_call_chunks]
        arguments += _arguments.pieces(piece)
        self._answering |= {part.get("index") for part in piece.tool_call_chunks if self._answer and part.get("name") == self._answer}
        told = "".join(said for index, said in arguments if index in self._answering) if self._answer else text
        if self._call.heard is not None and (whole := text + "".join(said for _, said in arguments) + _thinking.words(piece)):
            self._call.heard(whole)
        if self._call.on_text is not None and told:
            self._call.on_text(told)


def _read(message: AIMessage) -> Heard:
    return Heard(
        text=str(message.text),  # without blocks of other kinds
        calls=_calls(message),
        usage=_usage(message),
        ending=_ending(message),
        refusal=str(message.additional_kwargs.get("refusal") or ""),
        thoughts=_thinking.of(message),
    )


def _calls(message: AIMessage) -> tuple[Wish, ...]:
    """As the vendor wrote them. LangChain's own reading of a streamed call would mend what was cut off, and never say so."""
    streamed = cast("list[dict[str, Any]]", getattr(message, "tool_call_chunks", []))
    if streamed:
        return tuple(_wish(part, (part.get("args") or "") + _arguments.of(message, part.get("index")) or "{}") for part in streamed)
    whole = [_wish(cast(Any, part), json.dumps(part["args"])) for part in message.tool_calls]
    return (*whole, *(_wish(cast(Any, part), part["args"] or "") for part in message.invalid_tool_calls))


def _wish(part: dict[str, Any], arguments: str) -> Wish:
    return Wish(id=str(part.get("id") or ""), name=str(part.get("name") or ""), arguments=arguments)


def _usage(message: AIMessage) -> Usage:
    counted = message.usage_metadata
    if not counted:
        return Usage()
    details = cast("dict[str, int | None]", counted.get("input_token_details") or {})
    written = sum(details.get(kind) or 0 for kind in ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))
    thought = cast("dict[str, int | None]", counted.get("output_token_details") or {}).get("reasoning") or 0
    beside = counted["total_tokens"] == counted["input_tokens"] + counted["output_tokens"] + thought  # some do not count it as output
    return Usage(
        input_tokens=counted["input_tokens"],
        output_tokens=counted["output_tokens"] + (thought if beside else 0),
        cached_tokens=details.get("cache_read") or 0,
        written_tokens=written,
    )


def _ending(message: AIMessage) -> str:
    metadata = cast(dict[str, Any], message.response_metadata)
    return str(metadata.get("finish_reason") or metadata.get("stop_reason") or "")


def messages(said: tuple[Message, ...]) -> list[BaseMessage]:
    """In LangChain's words, which both vendors' packages translate."""
    return [_message(one) for one in said]


def _message(said: Message) -> BaseMessage:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    match said.role:
        case "system":
            return SystemMessage(said.text)
        case "assistant":
            calls = [{"type": "tool_call", "id": call.id, "name": call.name, "args": call.arguments} for call in said.calls]
            thoughts = {_thinking.KEPT: list(said.thoughts.parts)} if said.thoughts else {}
            return AIMessage(content=said.text, tool_calls=cast(Any, calls), additional_kwargs=thoughts)
        case "tool":
            return ToolMessage(content=said.text, tool_call_id=said.call_id or "")
        case "user":
            return HumanMessage(content=said.text if not said.images else _blocks(said))


def _blocks(said: Message) -> Any:
    shown = [{"type": "image_url", "image_url": {"url": image.url}} for image in said.images]
    return [*shown, {"type": "text", "text": said.text}] if said.text else shown


def functions(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """Tools in OpenAI's form."""
    return [
        {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema}} for tool in tools
    ]


def described(call: Call) -> Message:
    """The schema in words, for servers and models that cannot be held to one."""
    words = f"Answer with one JSON object that fits this JSON Schema, and nothing else: {json.dumps(call.schema)}"
    return Message(role="user", text=words)
