"""What models think before they call tools: how it comes in each vendor's words, and how it goes back with the results, unchanged.

Claude thinks in blocks of its content, which it signs and wants back in their order. Servers like vLLM, DeepSeek and OpenRouter have fields
of their own beside the answer, which LangChain's package for OpenAI leaves out; so its class is extended here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from graphs.definition import Json
from graphs.models import _arguments
from graphs.models._messages import Message

if TYPE_CHECKING:  # slow to import
    from langchain_core.messages import AIMessage

Parts = tuple[dict[str, Json], ...]
KEPT = "thoughts"  # of `additional_kwargs` of a message of LangChain
BLOCKS = {
    "thinking": ("type", "thinking", "signature"),
    "redacted_thinking": ("type", "data"),
    "text": ("type", "text"),
    "tool_use": ("type",),
}
TEXTS, DETAILS = ("reasoning_content", "reasoning"), "reasoning_details"
BUDGETS = {"low": 2_048, "medium": 8_192, "high": 24_576}
"""Tokens that a model may think for an effort, where it is told in tokens; the bound of an answer has room for as many."""


def bound(messages: Iterable[Message], full: str) -> tuple[Message, ...]:
    """The conversation as the model `full` may get it: without the thoughts of others, which it cannot read and may refuse."""
    return tuple(replace(said, thoughts=None) if said.thoughts and said.thoughts.model != full else said for said in messages)


def of(message: AIMessage) -> Parts:
    """What was thought, () when nothing was."""
    if isinstance(message.content, list):
        return _of_blocks([cast("dict[str, Any]", block) for block in message.content if isinstance(block, dict)])
    return _of_fields(cast("list[dict[str, Any]]", message.additional_kwargs.get(KEPT) or []))


def words(piece: AIMessage) -> str:
    """What is thought in a piece of a stream, as text to be counted."""
    return "".join(str(value) for part in of(piece) for key, value in part.items() if key in ("thinking", "data", *TEXTS, DETAILS))


# -- Claude ------------------------------------------------------------------------------------------------------------------------


def _of_blocks(blocks: Sequence[Mapping[str, Any]]) -> Parts:
    """All blocks in their order; of a tool call only its place, for it is known beside."""
    if not any("thinking" in str(block.get("type")) for block in blocks):
        return ()
    kept = [
        {key: block[key] for key in BLOCKS[str(block["type"])] if block.get(key) is not None} for block in blocks if block["type"] in BLOCKS
    ]
    return tuple({"thinking": "", **part} if part["type"] == "thinking" else part for part in kept)


def in_blocks(message: AIMessage) -> None:
    """Puts what Claude thought back where it was."""
    parts = cast("list[dict[str, Any]]", message.additional_kwargs.pop(KEPT, None) or [])
    if not parts:
        return
    calls = iter(message.tool_calls)
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if part.get("type") != "tool_use":
            blocks.append(dict(part))
        elif call := next(calls, None):
            blocks.append({"type": "tool_use", "id": call["id"], "name": call["name"], "input": call["args"]})
    message.content = cast(Any, blocks)


def unthought(messages: Sequence[Message]) -> bool:
    """Whether the tool loop under way has a turn of which no thoughts are known: Claude does not think in the middle of one."""
    begun = max((place for place, said in enumerate(messages) if said.role == "user"), default=-1)
    return any(said.calls and said.thoughts is None for said in messages[begun + 1 :])


# -- servers like OpenAI's ---------------------------------------------------------------------------------------------------------


def _of_fields(pieces: Sequence[Mapping[str, Any]]) -> Parts:
    """The fields, put together from the pieces of a stream."""
    found: dict[str, Json] = {field: text for field in TEXTS if (text := "".join(str(piece[field]) for piece in pieces if field in piece))}
    details = _joined([cast("dict[str, Any]", part) for piece in pieces for part in piece.get(DETAILS, ()) if isinstance(part, dict)])
    if details:
        return ({DETAILS: details},)  # which say all that the texts say
    return (found,) if found else ()


def _joined(details: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of one entry have the same index and type."""
    whole: list[dict[str, Any]] = []
    for part in details:
        last = whole[-1] if whole else {}
        if part.get("index") is None or (part.get("index"), part.get("type")) != (last.get("index"), last.get("type")):
            whole.append(dict(part))
            continue
        for key, value in part.items():
            joins = key in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(key), str)
            last[key] = last[key] + value if joins else last.get(key) if value is None else value
    return whole


def _fields(given: object) -> list[dict[str, Any]]:
    if not isinstance(given, dict):
        return []
    said = cast("dict[str, Any]", given)
    found = {field: said[field] for field in TEXTS if isinstance(said.get(field), str) and said[field]}
    if isinstance(said.get(DETAILS), list) and said[DETAILS]:
        found[DETAILS] = said[DETAILS]
    return [found] if found else []


@cache
def reasoned(base: Any) -> Any:
    """The class of LangChain, with the fields of thoughts heard and sent, and long arguments read by us."""

    class Reasoned(base):
        def _convert_chunk_to_generation_chunk(self, chunk: dict[str, Any], *more: Any) -> Any:
            plain: Any = super()
            choices: list[dict[str, Any]] = chunk.get("choices") or [{}]
            delta: dict[str, Any] = choices[0].get("delta") or {}
            arguments = _arguments.take(delta.get("tool_calls") or ())
            made = plain._convert_chunk_to_generation_chunk(chunk, *more)
            if made is not None and (found := _fields(delta)):
                made.message.additional_kwargs[KEPT] = found
            if made is not None and arguments:
                made.message.additional_kwargs[_arguments.KEPT] = arguments
            return made

        def _create_chat_result(self, response: Any, *more: Any) -> Any:
            plain: Any = super()
            made = plain._create_chat_result(response, *more)
            answer: Any = response.model_dump(warnings=False) if hasattr(response, "model_dump") else response
            for generation, choice in zip(made.generations, answer["choices"], strict=True):
                if found := _fields(choice.get("message")):
                    generation.message.additional_kwargs[KEPT] = found
            return made

        def _get_request_payload(self, input_: Any, **more: Any) -> Any:
            own: Any = self
            plain: Any = super()
            payload = plain._get_request_payload(input_, **more)
            for said, sent in zip(own._convert_input(input_).to_messages(), payload["messages"], strict=True):
                for part in said.additional_kwargs.get(KEPT) or ():
                    sent.update(part)
            return payload

    return Reasoned
