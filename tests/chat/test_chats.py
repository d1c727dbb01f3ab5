"""A chat over HTTP: an assistant that plays a script works with Weft's own tools, and the person sees, allows, stops, edits and finds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graphs.expressions import Evaluator
from graphs.models import ModelSettings
from graphs.runtime import Runtime
from store.postgres import Database
from tests.chat.conftest import process
from tests.chat.talking import say
from tests.server.conftest import House, http

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SCRIPTS: dict[str, list[dict[str, Any]]] = {}


def script(*turns: dict[str, Any]) -> str:
    """A model that plays these turns."""
    name = f"s{len(SCRIPTS)}"
    SCRIPTS[name] = list(turns)
    return f"scripted:{name}"


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator) -> AsyncGenerator[Runtime]:
    async with process(database, evaluator, models=ModelSettings(scripts=SCRIPTS)) as opened:
        yield opened


async def test_a_message_is_answered_and_both_are_kept(house: House, url: str) -> None:
    async with http(url, house.keys["viewer"]) as client:
        heard = await say(client, "Hello there, what is Weft?", model=script({"text": "A house of durable workflows."}))
        assert [name for name, _ in heard.events if name != "text"] == ["chat", "message", "usage", "end"]
        assert heard.text == "A house of durable workflows."
        assert heard.one("message")["text"] == heard.text
        assert heard.one("end")["state"] == "done"
        chat = (await client.get(f"/api/v1/chats/{heard.one('chat')['chat']}")).json()
    assert chat["title"] == "Hello there, what is Weft?"
    assert [(one["role"], one["state"], one["text"]) for one in chat["messages"]] == [
        ("user", "said", "Hello there, what is Weft?"),
        ("assistant", "done", "A house of durable workflows."),
    ]
    assert chat["head"] == chat["messages"][1]["id"]
