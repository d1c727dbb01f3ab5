"""Finding a chat again: by words that were said, by other words for the same, else nothing; also in a long one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx2
import psycopg
import pytest

from graphs.expressions import Evaluator
from graphs.models import ModelSettings
from graphs.runtime import Runtime
from memory.embedding import built_in
from store.postgres import Database
from tests.chat.conftest import process
from tests.chat.talking import SCRIPTS, say, script
from tests.server.conftest import House, http

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator) -> AsyncGenerator[Runtime]:
    async with process(database, evaluator, models=ModelSettings(scripts=SCRIPTS)) as opened:
        opened.engine.embedder = built_in()
        yield replace(opened, embedder=opened.engine.embedder)


async def found(client: httpx2.AsyncClient, search: str) -> list[str]:
    got = await client.get("/api/v1/chats", params={"search": search})
    return [one["title"] for one in got.json()["chats"]]


async def test_a_search_finds_what_was_said_and_what_means_the_same_and_else_nothing(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        for said in ("Make me a workflow that greets people", "My dog is called Rex and bites", "Please pay the invoice of Acme"):
            await say(client, said, model=script({"text": "Noted."}))
        assert await found(client, "invoice Acme") == ["Please pay the invoice of Acme"]
        assert await found(client, "puppy pet animal") == ["My dog is called Rex and bites"], "in other words"
        for nothing in ("zzz", "quantum physics", "xyzzy plugh"):
            assert await found(client, nothing) == [], nothing
    async with http(url, house.keys["owner"]) as other:
        assert await found(other, "invoice Acme") == []


LONG = """
INSERT INTO weft.chat_messages (org_id, id, chat_id, parent_id, role, state, content, text, run_id)
SELECT c.org_id, md5(c.id::text || n)::uuid, c.id, CASE WHEN n = 1 THEN c.head ELSE md5(c.id::text || (n - 1))::uuid END,
       CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END, CASE n %% 2 WHEN 1 THEN 'said' ELSE 'done' END, '[]',
       repeat('Words about parcels and invoices. ', 10) || n,
       CASE n %% 2 WHEN 0 THEN md5('run' || n)::uuid END
FROM weft.chats c, generate_series(1, %s) n WHERE c.id = %s
"""


async def test_a_chat_of_two_thousand_messages_is_read_found_and_gone_on_with(house: House, url: str, admin_url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        chat = (await say(client, "Hello", model=script({"text": "Hi."}))).one("chat")["chat"]
        with psycopg.connect(admin_url) as admin:
            admin.execute(LONG, [2_000, chat])
            admin.execute("UPDATE weft.chats SET head = md5(id::text || 2000)::uuid WHERE id = %s", [chat])
        read: dict[str, Any] = (await client.get(f"/api/v1/chats/{chat}")).json()
        assert len(read["messages"]) == 2_002
        assert await found(client, "parcels 1777") == ["Hello"]
        heard = await say(client, "And on", chat=chat, model="scripted")
        assert heard.one("end")["state"] == "done", heard.one("message")
