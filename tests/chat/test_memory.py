"""What a chat gives to memory and gets from it: the user's own chats, nobody else's, no run that others read, and no pasted key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from graphs import memories, runs
from graphs.memories import Wanted
from graphs.redaction import blotted
from tests.chat.talking import say, script
from tests.server.conftest import House, connected, http, told

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
DOG = "My dog is called Rex and bites."
ASKS: dict[str, Any] = {
    "name": "asks-memory",
    "nodes": [
        {"id": "step", "type": "recall", "config": {"query": "What is my dog called?"}},
        {"id": "tool", "type": "house_tool", "config": {"tool": "recall", "arguments": {"query": "What is my dog called?"}}},
    ],
    "output": {"step": "{{ nodes.step.text }}", "tool": "{{ nodes.tool }}"},
}


async def known(house: House, url: str, role: str) -> str:
    """What memory tells the assistant of this user in a new chat."""
    async with http(url, house.keys[role]) as client:
        heard = await say(client, "What is my dog called?", model="scripted")
    found = await runs.node(house.runtime, house.actor(role), heard.one("chat")["run_id"], "known")
    return str(found.output)


async def test_what_was_said_in_one_chat_is_recalled_in_another_of_its_user_and_nowhere_else(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, DOG, model=script({"text": "Noted."}))
        assert DOG in await known(house, url, "builder")
        assert "Rex" not in await known(house, url, "owner"), "another user"
        await house.publish(ASKS)
        async with connected(url, house.keys["builder"]) as person:
            told(await person.call_tool("remember", {"text": "The dog called Bello is not mine."}))
            run = told(await person.call_tool("start_run", {"workflow": "asks-memory", "wait_seconds": 20}))
            assert "Bello" in run["output"]["step"]
            assert "Rex" not in str(run["output"]["step"]), "a run that others read"
            assert "Rex" not in str(run["output"]["tool"]), run["output"]["tool"]
            assert "Bello" in str(run["output"]["tool"])
            found = told(await person.call_tool("recall", {"query": "What is my dog called?"}))
            assert DOG in str(found), "themselves"
        await client.delete(f"/api/v1/chats/{heard.one('chat')['chat']}")
    left = await memories.recall(memories.access(house.runtime, house.actor("builder")), Wanted(query="Rex bites"))
    assert [hit for hit in left.recalled.hits if "Rex" in hit.memory.body] == []


KEYS = (
    "sk-abcdefghijklmnop1234",
    "ghp_abcdefghijklmnop1234567890",
    "weft_live_0123456789ab_abcdefghijklmnopqrstuv",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
    "ann:hunter2secret@",
)


async def test_keys_that_a_user_pastes_are_kept_nowhere_and_told_to_nobody(house: House, url: str, admin_url: str) -> None:
    words = f"Use {KEYS[0]} and {KEYS[1]} or {KEYS[2]}\n{KEYS[3]}\nat postgres://{KEYS[4]}db, please"
    attached = [{"name": "env.txt", "text": f"OPENAI_API_KEY={KEYS[0]}\nBASE=1"}]
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, words, model="scripted", attachments=attached)
        chat = (await client.get(f"/api/v1/chats/{heard.one('chat')['chat']}")).json()
    assert chat["messages"][0]["text"] == "Use *** and *** or ***\n***\nat postgres://***@db, please"
    with psycopg.connect(admin_url) as admin:
        for table in ("chats", "chat_messages", "memories", "node_runs", "events", "payloads", "runs", "model_calls"):
            pattern = "klmnop1234|MIIEpAIB|hunter2secret|klmnopqrstuv"
            found = admin.execute(f"SELECT count(*) FROM weft.{table} t WHERE t::text ~ %s", [pattern]).fetchone()
            assert found == (0,), table


@pytest.mark.parametrize(
    "words", ["Basic authentication and bearer tokens", "the key-value-store of a workflow", "https://a.example/b:c@d"]
)
def test_ordinary_words_stay(words: str) -> None:
    assert blotted(words) == words
