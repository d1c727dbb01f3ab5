"""chat_history: what a message of a chat asks and what was said before it, for an agent."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import turns
from graphs.definition import Closed, Json, Schema
from graphs.memories import in_step
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Read what a message of one's own chat asks and what was said before it: the last messages, and the rest summed up."
FAMILY: Family = "ai"
EFFECT = Effect.READ
LABELS = frozenset({"private", "untrusted"})
EXAMPLES: tuple[dict[str, Any], ...] = ({"chat": "{{ input.chat }}", "message": "{{ input.message }}"},)


class Config(Closed):
    chat: str = Field(max_length=64, description="id of a chat of whoever started the run")
    message: str = Field(max_length=64, description="id of a message of the person")


def output(config: Config) -> Schema:
    said: Schema = {"type": "array", "items": {"type": "object"}}
    text: Schema = {"type": "string"}
    properties: Schema = {"messages": said, "prompt": text, "query": text, "said": text, "left_out": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    with in_step():
        return await turns.conversation(context, config.chat, config.message)
