"""What tests of models ask with: Models without a database, and the vendors side by side."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from graphs.definition import Schema
from graphs.models import Message, Models, ModelSettings
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from tests.models.loopback import ModelServer

HELLO = (Message(role="system", text="Be brief."), Message(role="user", text="Hello"))
KIND: Schema = {
    "type": "object",
    "properties": {"kind": {"enum": ["refund", "other"]}, "amount": {"type": "number", "minimum": 1}},
    "required": ["kind"],
    "additionalProperties": False,
}


@asynccontextmanager
async def asking(settings: ModelSettings) -> AsyncGenerator[Models]:
    async with Outbound(Policy()) as outbound:
        yield Models(settings, outbound)


async def failing(settings: ModelSettings, **options: Any) -> Failure:
    async with asking(settings) as models:
        with pytest.raises(Failure) as failed:
            await models.complete(None, HELLO, **options)
    assert failed.value.code.startswith("model_")
    assert "sk-" not in failed.value.message  # nor a part of any key
    return failed.value


def both(server: ModelServer) -> tuple[ModelSettings, ModelSettings]:
    return server.openai(), server.anthropic()


def ignored(_: str) -> None:
    """For `on_text` where only the end counts."""
