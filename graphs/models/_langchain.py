"""What the vendors share: a call made through a LangChain chat model, and its message read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from graphs.models import Call, Message, Usage

if TYPE_CHECKING:  # slow to import
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

ROLES = {"system": "system", "user": "human", "assistant": "ai"}


async def invoke(model: BaseChatModel, call: Call, messages: tuple[Message, ...], **bound: Any) -> AIMessage:
    """Asks once. A temperature goes along only where the model is not known to refuse one.

    LangSmith tracing stays off whatever the environment says: it would send prompts out past the policy."""
    from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType]

    if call.temperature is not None and (model.profile or {}).get("temperature") is not False:
        bound["temperature"] = call.temperature
    with tracing_context(enabled=False):
        return await model.ainvoke([(ROLES[message.role], message.text) for message in messages], **bound)


def usage(message: AIMessage) -> Usage:
    counted = message.usage_metadata
    return Usage(input_tokens=counted["input_tokens"], output_tokens=counted["output_tokens"]) if counted else Usage()


def text(message: AIMessage) -> str:
    """The text of the message; blocks of other kinds (thinking) are left out."""
    return str(message.text)


def ending(message: AIMessage) -> str:
    """Why the model stopped, in the vendor's word."""
    metadata = cast(dict[str, Any], message.response_metadata)
    return str(metadata.get("finish_reason") or metadata.get("stop_reason") or "")


def described(call: Call) -> Message:
    """The schema in words, for servers and models that cannot be held to one."""
    words = f"Answer with one JSON object that fits this JSON Schema, and nothing else: {json.dumps(call.schema)}"
    return Message(role="user", text=words)
