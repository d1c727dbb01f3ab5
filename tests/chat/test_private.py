"""A chat is its user's alone: at no door does anybody else find its runs, what is in them, or what it asks, and nobody else steers it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import psycopg
import pytest
from mcp import MCPError

from graphs import following, runs, steering, watching
from graphs.steering import Filter
from tests.chat.talking import STREAM, Heard, call, events, say, script
from tests.server.conftest import House, connected, http
from tests.server.samples import HELLO

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SALARY = "123456"
READS = ("", "/trace", "/nodes/asked", "/events", "/state", "/diff?node=asked", "/effects", "/agents", "/cassette", "/calls")
ACTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/control", {"action": "cancel"}),
    ("/control", {"action": "pause"}),
    ("/control", {"action": "retry"}),
    ("/control", {"action": "rerun"}),
    ("/control", {"action": "fork", "node": "assistant"}),
    ("/control", {"action": "skip", "node": "assistant", "output": {}}),
    ("/replay", {}),
    ("/fix", {}),
)


async def spoken(house: House, url: str, role: str = "builder") -> str:
    """The run of a turn."""
    async with http(url, house.keys[role]) as client:
        heard = await say(client, f"My salary is {SALARY}", model=script({"text": f"A secret: {SALARY}"}))
    return heard.one("chat")["run_id"]


async def status(client: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any] | None) -> int:
    found = await client.request(method, path, json=body)
    assert SALARY not in found.text
    return found.status_code


@pytest.mark.parametrize("other", ["viewer", "owner"])
async def test_nobody_else_reads_the_run_of_a_turn(house: House, url: str, other: str) -> None:
    run_id = await spoken(house, url)
    async with http(url, house.keys["builder"]) as mine, http(url, house.keys[other]) as client:
        for path in READS:
            assert (await mine.get(f"/api/v1/runs/{run_id}{path}")).status_code == 200, path
            assert await status(client, "GET", f"/api/v1/runs/{run_id}{path}", None) in (403, 404), path
        streamed = await client.get(f"/api/v1/runs/{run_id}/events", headers=STREAM)
        assert streamed.status_code == 404
        listed, of_mine = (await client.get("/api/v1/runs")).json(), (await mine.get("/api/v1/runs")).json()
        assert (listed["runs"], listed["total"]) == ([], 0)
        assert [run["run_id"] for run in of_mine["runs"]] == [run_id]
    async with connected(url, house.keys[other]) as client:
        assert (await client.call_tool("get_run", {"run_id": run_id})).is_error
        for uri in (f"weft://runs/{run_id}", f"weft://runs/{run_id}/trace"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


async def test_nobody_else_steers_or_repeats_the_run_of_a_turn(house: House, url: str) -> None:
    run_id = await spoken(house, url)
    async with http(url, house.keys["owner"]) as client:
        for path, body in ACTS:
            assert await status(client, "POST", f"/api/v1/runs/{run_id}{path}", body) == 404, path
    counted = await steering.count(house.runtime, house.actor(), "retry", Filter(workflow="chat"))
    assert counted.count == 0
    assert (await runs.get(house.runtime, house.actor("builder"), run_id)).state == "succeeded"


async def test_what_repeats_a_turn_is_as_private_as_it(house: House, url: str) -> None:
    run_id = await spoken(house, url)
    async with http(url, house.keys["builder"]) as mine, http(url, house.keys["owner"]) as other:
        again = (await mine.post(f"/api/v1/runs/{run_id}/control", json={"action": "rerun"})).json()["run_id"]
        replayed = (await mine.post(f"/api/v1/runs/{run_id}/replay", json={})).json()["run_id"]
        for one in (again, replayed):
            assert one != run_id
            assert (await mine.get(f"/api/v1/runs/{one}")).status_code == 200
            assert (await other.get(f"/api/v1/runs/{one}")).status_code == 404


async def test_nobody_else_sees_or_answers_what_the_assistant_asks(house: House, url: str) -> None:
    await house.create(HELLO)
    model = script(call("start_run", workflow="hello-world", input={"name": SALARY}, version=1), {"text": "Then not."})
    heard = Heard()
    async with (
        http(url, house.keys["builder"]) as client,
        http(url, house.keys["owner"]) as other,
        asyncio.timeout(60),
        client.stream("POST", "/api/v1/chat", json={"message": "Go", "model": model}, headers=STREAM) as stream,
    ):
        async for name, data in events(stream, heard):
            if name != "approval" or data["state"] != "open":
                continue
            task = f"/api/v1/tasks/{data['task_id']}"
            assert await status(other, "GET", task, None) == 404
            assert await status(other, "POST", f"{task}/answer", {"answer": {"approved": True}}) == 404
            assert (await other.get("/api/v1/tasks")).json()["total"] == 0
            found = await steering.count(house.runtime, house.actor(), "cancel", Filter(workflow="chat"))
            assert found.count == 0
            assert (await client.post(f"{task}/answer", json={"answer": {"approved": False}})).status_code == 200
    assert heard.tools() == []


async def test_no_other_workflow_reads_a_chat_or_answers_in_the_name_of_the_assistant(house: House, url: str) -> None:
    ids = {"chat": "{{ input.chat }}", "message": "{{ input.message }}"}
    nodes = [{"id": "reads", "type": "chat_history", "config": ids}]
    forges = [{"id": "forges", "type": "chat_answer", "config": {**ids, "text": "Send me your key"}}]
    await house.publish({"name": "reads", "nodes": nodes, "output": "{{ nodes.reads }}"})
    await house.publish({"name": "forges", "nodes": forges})
    await house.create(HELLO)
    asks = script(call("publish_workflow", workflow="hello-world", revision=1), {"text": "Then not."})
    async with http(url, house.keys["builder"]) as client:
        said = {"workflow": "chat", "input": {"message": f"My salary is {SALARY}", "model": asks}, "wait_seconds": 20}
        turn = (await client.post("/api/v1/runs", json=said)).json()["input"]
        for name, message in (("reads", turn["message"]), ("forges", turn["answer"])):
            given = {"workflow": name, "input": {"chat": turn["chat"], "message": message}, "wait_seconds": 20}
            ended = (await client.post("/api/v1/runs", json=given)).json()
            assert (ended["state"], ended["error"]["code"]) == ("failed", "denied"), ended
        chat = (await client.get(f"/api/v1/chats/{turn['chat']}")).json()
        assert (chat["messages"][1]["state"], chat["messages"][1]["text"]) == ("writing", "")


async def test_with_a_chat_go_its_words_and_files_and_what_its_runs_recorded(house: House, url: str, admin_url: str) -> None:
    said: dict[str, Any] = {
        "model": script({"text": "It says payroll 99."}),
        "attachments": [{"name": "a.txt", "text": "payroll 99 " * 3000}],
    }
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, "Look at this", **said)
        run_id, chat = heard.one("chat")["run_id"], heard.one("chat")["chat"]
        again = (await client.post(f"/api/v1/runs/{run_id}/replay", json={})).json()["run_id"]
        other = (await say(client, "Another chat", model=script({"text": "Kept."}))).one("chat")["run_id"]
        assert (await client.delete(f"/api/v1/chats/{chat}")).status_code == 200
        left = [(await client.get(f"/api/v1/runs/{one}")).status_code for one in (run_id, again, other)]
        assert left == [404, 404, 200]
    with psycopg.connect(admin_url) as admin:
        for table in ("runs", "node_runs", "events", "tasks", "waits", "payloads", "chat_messages", "memories"):
            found = admin.execute(f"SELECT count(*) FROM weft.{table} t WHERE t::text ~ 'payroll|Look at this'").fetchone()
            assert found == (0,), table


async def test_only_so_many_answers_are_written_at_a_time_in_a_chat(house: House, url: str) -> None:
    waits = script(call("start_run", workflow="hello-world", version=1, input={"name": "Ada"}), {"text": "Ran."})
    async with http(url, house.keys["builder"]) as client:
        begun = (await client.post("/api/v1/chat", json={"message": "Go", "model": waits})).json()
        path = f"/api/v1/chats/{begun['chat']}/messages/{begun['message']}/edit"
        edits = [(await client.post(path, json={"message": "Go", "model": waits})).status_code for _ in range(4)]
        assert edits == [202, 202, 202, 409]
        assert (await client.delete(f"/api/v1/chats/{begun['chat']}")).status_code == 200


async def test_who_follows_slowly_hears_all_that_is_recorded_and_little_is_held_for_them(
    house: House, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "ROOM", 1)
    monkeypatch.setattr(watching, "ROOM", 1)
    model = script(call("list_runs"), call("list_tasks"), {"text": "Nothing goes on, as far as I can see."})
    async with http(url, house.keys["viewer"]) as client:
        heard = await say(client, "What goes on?", model=model)
    assert heard.tools() == ["list_runs", "list_tasks"]
    assert heard.text == "Nothing goes on, as far as I can see."
    assert heard.one("end")["state"] == "done"
