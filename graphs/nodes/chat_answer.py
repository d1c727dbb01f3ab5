"""chat_answer: writes the answer to a message of a chat."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import turns
from graphs.definition import Closed, Json, Schema
from graphs.memories import in_step
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Write the answer to a message of one's own chat. Written once, however often the step is repeated."
FAMILY: Family = "ai"
EFFECT = Effect.WRITE_IDEMPOTENT
LABELS = frozenset({"private"})
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"chat": "{{ input.chat }}", "message": "{{ input.answer }}", "text": "{{ nodes.assistant.text }}"},
)


class Config(Closed):
    chat: str = Field(max_length=64, description="id of a chat of whoever started the run")
    message: str = Field(max_length=64, description="id of the answer that this run writes")
    text: str = Field(max_length=1_000_000, description="what is answered")


def output(config: Config) -> Schema:
    return {"type": "object", "properties": {"written": {"type": "boolean"}}, "required": ["written"], "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    with in_step():
        return {"written": await turns.answer(await context.memories(), config.chat, config.message, config.text)}
