"""Talking with the assistant over MCP: start_run(workflow="chat") says it, get_run hears the answer, answer_task allows or refuses."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated
from mcp.types import ElicitRequestParams, ElicitResult, TextResourceContents

from graphs import authoring, runs
from store.errors import Conflict, Denied
from tests.chat.talking import call, script
from tests.server.conftest import House, connected, http, text_of, told
from tests.server.samples import HELLO

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
PUBLISH = call("publish_workflow", workflow="hello-world", revision=1)


async def say(client: Client, message: str, *, wait: float = 20, key: str | None = None, **more: Any) -> dict[str, Any]:
    """The run of the turn, as start_run shows it."""
    given = {"workflow": "chat", "input": {"message": message, **more}, "wait_seconds": wait}
    return told(await client.call_tool("start_run", {**given, "idempotency_key": key} if key else given))


async def chat_of(client: Client, chat: str) -> dict[str, Any]:
    [content] = (await client.read_resource(f"weft://chats/{chat}")).contents
    assert isinstance(content, TextResourceContents)
    return json.loads(content.text)


@ERAS
async def test_a_person_talks_to_the_assistant_and_goes_on_in_the_same_chat(house: House, url: str, mode: str) -> None:
    async with connected(url, house.keys["operator"], mode) as client:
        begun = await say(client, "My dog is called Rex.", wait=0, model=script({"text": "Noted."}))
        assert begun["next"] == f'get_run(run_id="{begun["run_id"]}", wait_seconds=20)'
        first = told(await client.call_tool("get_run", {"run_id": begun["run_id"], "wait_seconds": 20}))
        assert (first["state"], first["output"]["text"], first["chat"]) == ("succeeded", "Noted.", begun["chat"])
        assert f'input={{"chat": "{begun["chat"]}"' in first["next"]
        second = await say(client, "What is it called?", chat=begun["chat"], model=script({"text": "Rex."}, after=1))
        assert (second["output"]["text"], second["chat"]) == ("Rex.", begun["chat"])
        said = [(one["role"], one["text"]) for one in (await chat_of(client, begun["chat"]))["messages"]]
    assert said == [("user", "My dog is called Rex."), ("assistant", "Noted."), ("user", "What is it called?"), ("assistant", "Rex.")]
    async with http(url, house.keys["operator"]) as browser:
        assert [one["id"] for one in (await browser.get("/api/v1/chats")).json()["chats"]] == [begun["chat"]], "it is a chat like any other"


async def test_a_message_is_said_in_the_place_of_another_on_a_branch(house: House, url: str) -> None:
    async with connected(url, house.keys["operator"]) as client:
        first = await say(client, "Hello", model=script({"text": "Hi."}))
        other = await say(client, "Good day", chat=first["chat"], instead_of=first["message"], model=script({"text": "Sir."}))
        assert (other["chat"], other["output"]["text"]) == (first["chat"], "Sir.")
        messages = (await chat_of(client, first["chat"]))["messages"]
        assert [one["text"] for one in messages if one["parent"] is None] == ["Hello", "Good day"]
        lost = await client.call_tool("start_run", {"workflow": "chat", "input": {"message": "x", "instead_of": first["message"]}})
        assert "give that too, as `chat`" in text_of(lost)


@ERAS
async def test_what_the_assistant_asks_is_answered_by_the_person_at_the_client(house: House, url: str, mode: str) -> None:
    await house.create(HELLO)
    asked: list[ElicitRequestParams] = []

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept", content={"approved": True})

    async with connected(url, house.keys["builder"], mode, elicitation_callback=person) as client:
        turn = await say(client, "Publish it", model=script(PUBLISH, {"text": "Published."}))
        assert turn["state"] == "waiting"
        task = turn["waiting_for"][0]["task_id"]
        assert f'answer_task(task_id="{task}")' in turn["next"]
        shown = told(await client.call_tool("list_tasks", {"run_id": turn["run_id"]}))["tasks"][0]
        assert "text: Hello {{ input.name }}" in shown["description"]
        assert told(await client.call_tool("answer_task", {"task_id": task}))["answer"]["approved"] is True
        done = told(await client.call_tool("get_run", {"run_id": turn["run_id"], "wait_seconds": 20}))
    assert done["output"]["text"] == "Published."
    assert "publish_workflow" in asked[0].message
    assert (await authoring.get(house.runtime, house.actor(), "hello-world")).active_version == 1


async def test_a_client_that_cannot_ask_passes_on_what_its_user_said(house: House, url: str) -> None:
    await house.create(HELLO)
    async with connected(url, house.keys["builder"]) as client:
        turn = await say(client, "Publish it", model=script(PUBLISH, {"text": "Then not."}))
        answer = {"task_id": turn["waiting_for"][0]["task_id"], "answer": {"approved": False}}
        assert told(await client.call_tool("answer_task", answer))["answered"]
        done = told(await client.call_tool("get_run", {"run_id": turn["run_id"], "wait_seconds": 20}))
    assert done["output"]["text"] == "Then not."
    assert (await authoring.get(house.runtime, house.actor(), "hello-world")).active_version is None


async def test_a_turn_is_cancelled_like_any_run_and_the_chat_goes_on(house: House, url: str) -> None:
    await house.create(HELLO)
    async with connected(url, house.keys["builder"]) as client:
        turn = await say(client, "Publish it", model=script({"text": "Let me see.", **PUBLISH}, {"text": "Never."}))
        ended = told(await client.call_tool("control_run", {"run_id": turn["run_id"], "action": "cancel"}))
        stopped = told(await client.call_tool("get_run", {"run_id": turn["run_id"], "wait_seconds": 20}))
        assert (ended["run_id"], stopped["state"], stopped["chat"]) == (turn["run_id"], "cancelled", turn["chat"])
        assert stopped["next"].startswith('start_run(workflow="chat"')
        on = await say(client, "Go on", chat=turn["chat"], model="scripted")
        assert on["state"] == "succeeded"
        assert (await chat_of(client, turn["chat"]))["messages"][1]["state"] == "stopped"


async def test_under_one_key_a_message_is_said_once(house: House, url: str) -> None:
    model = script({"text": "Once."})
    async with connected(url, house.keys["operator"]) as client:
        first, again = [await say(client, "Hello", key="k1", model=model) for _ in range(2)]
        assert (again["run_id"], again["chat"]) == (first["run_id"], first["chat"])
        assert len((await chat_of(client, first["chat"]))["messages"]) == 2
        on, repeated = [await say(client, "More", key="k2", chat=first["chat"], model=model) for _ in range(2)]
        assert on["run_id"] == repeated["run_id"] != first["run_id"]
        note = [{"name": "note.txt", "text": "not said before"}]
        for other in (
            {"message": "Else"},
            {"message": "Hello", "model": model, "attachments": note},
            {"message": "Hello", "model": "scripted"},
        ):
            refused = await client.call_tool("start_run", {"workflow": "chat", "input": other, "idempotency_key": "k1"})
            assert "idempotency key was used for" in text_of(refused), other
    async with connected(url, house.keys["builder"]) as someone:
        theirs = await say(someone, "Hello", key="k1", model=model)
        assert theirs["chat"] != first["chat"], "keys are each user's own"


async def test_what_happens_is_told_as_progress(house: House, url: str) -> None:
    model = script({"text": "Let me look.", **call("list_workflows")}, {"text": "There is none."})
    told_: list[str] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told_.append(message or "")

    async with connected(url, house.keys["operator"]) as client:
        given = {"workflow": "chat", "input": {"message": "What is there?", "model": model}, "wait_seconds": 20}
        done = told(await client.call_tool("start_run", given, progress_callback=progress))
    assert done["output"]["text"] == "There is none."
    heard = "".join(told_)
    assert heard.count("Let me look.") == 1, told_
    for words in ("Let me look.", "list_workflows: succeeded", "There is none."):
        assert words in heard, told_


async def test_its_user_who_listens_hears_of_message_and_answer_and_nobody_else_does(house: House, url: str) -> None:
    await house.create(HELLO)
    uri = "weft://chats/all"
    async with http(url, house.keys["owner"]) as browser:  # of what is said here nobody is told
        own = (await browser.post("/api/v1/chat", json={"message": "Hello", "model": script({"text": "Hi."})})).json()["chat"]
    theirs = f"weft://chats/{own}"
    async with (
        asyncio.timeout(60),
        connected(url, house.keys["builder"]) as mine,
        connected(url, house.keys["owner"]) as other,
        mine.listen(resource_subscriptions=[uri]) as heard,
        other.listen(resource_subscriptions=[uri, theirs]) as unheard,
    ):
        turn = await say(mine, "Publish it", model=script(PUBLISH, {"text": "Then not."}))
        news = aiter(heard)
        assert await anext(news) == ResourceUpdated(uri=uri), "something was said"
        await mine.call_tool("answer_task", {"task_id": turn["waiting_for"][0]["task_id"], "answer": {"approved": False}})
        assert await anext(news) == ResourceUpdated(uri=uri), "and answered"
        await say(other, "Again", chat=own, model=script({"text": "Hi."}, after=1))
        assert await anext(aiter(unheard)) == ResourceUpdated(uri=theirs), "what is another's would have come before"


async def test_a_chat_of_somebody_else_is_not_there(house: House, stranger: House, url: str) -> None:
    async with connected(url, house.keys["builder"]) as client:
        mine = await say(client, "Hello", model=script({"text": "Hi."}))
    for key in (house.keys["owner"], stranger.keys["owner"]):
        async with connected(url, key) as client:
            for more in ({}, {"instead_of": mine["message"]}):
                refused = await client.call_tool("start_run", {"workflow": "chat", "input": {"message": "x", "chat": mine["chat"], **more}})
                assert "there is no chat" in text_of(refused)
            assert (await client.call_tool("get_run", {"run_id": mine["run_id"]})).is_error
    async with connected(url, house.keys["viewer"]) as client:
        assert "needs the scope" in text_of(await client.call_tool("start_run", {"workflow": "chat", "input": {"message": "x"}}))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": {"message": " "}}, "say something"),
    ({"input": "Hello"}, "is an object"),
    ({"input": {"message": "x", "answer": "y"}}, "There is no field of the input 'answer'"),
    ({"input": {"massage": "x"}}, "did you mean 'message'?"),
    ({"input": {"message": "x", "model": "nobody:x"}}, "is not a model"),
    ({"input": {"message": "x", "attachments": [{"name": "a.txt"}]}}, "is empty"),
    ({"input": {"message": "x"}, "version": 1}, "leave out version"),
    ({"input": {"message": "x"}, "delay": "2h"}, "leave out version, delay"),
]


async def test_what_is_wrong_is_said_plainly_and_nothing_is_kept(house: House, url: str) -> None:
    async with connected(url, house.keys["operator"]) as client:
        for arguments, words in WRONG:
            refused = await client.call_tool("start_run", {"workflow": "chat", **arguments})
            assert refused.is_error, arguments
            assert words in text_of(refused), arguments
        assert (await chat_of(client, "all"))["chats"] == []


async def test_it_is_shown_as_a_workflow_whose_input_is_what_a_person_says(house: House, url: str) -> None:
    async with connected(url, house.keys["operator"]) as client:
        listed = told(await client.call_tool("list_workflows", {}))
        assert [one["name"] for one in listed["comes_with_weft"]] == ["chat"]
        assert "comes_with_weft" not in told(await client.call_tool("list_workflows", {"search": "refund"}))
        found = told(await client.call_tool("get_workflow", {"workflow": "chat"}))
        assert {"message", "chat", "instead_of", "attachments", "model"} == set(found["input"]["properties"])
        assert found["next"].startswith('start_run(workflow="chat"')
        assert "flowchart" in told(await client.call_tool("get_workflow", {"workflow": "chat", "view": "diagram"}))["mermaid"]
        assert told(await client.call_tool("get_workflow", {"workflow": "chat", "view": "definition"}))["definition"]["name"] == "chat"
        assert "comes with Weft" in text_of(await client.call_tool("get_workflow", {"workflow": "chat", "view": "diff"}))
    with pytest.raises(Conflict, match="comes with Weft"):
        await house.create({**HELLO, "name": "chat"})


async def test_a_run_cannot_chat_and_nobody_is_asked_about_it(house: House, url: str) -> None:
    nested = {"name": "talks", "nodes": [{"id": "say", "type": "house_tool", "config": {"tool": "start_run", "arguments": TALK}}]}
    await house.publish(nested)
    ended = await house.run("talks")
    assert (ended.state, ended.error["code"]) == ("failed", Denied.code)
    assert "a run cannot chat" in ended.error["message"]
    found = await runs.page(house.runtime, house.actor(), workflow="chat")
    assert found.total == 0


TALK = {"workflow": "chat", "input": {"message": "Hello"}, "version": 1}


async def test_by_post_runs_it_is_the_same(house: House, url: str) -> None:
    note = base64.b64encode(b"the code is 42").decode()
    body = {"message": "Look", "model": script({"text": "42"}), "attachments": [{"name": "note.txt", "data": note}]}
    async with http(url, house.keys["operator"]) as client:
        keyed = {"Idempotency-Key": "one"}
        started = [
            (await client.post("/api/v1/runs", json={"workflow": "chat", "input": body, "wait_seconds": 20}, headers=keyed)).json()
            for _ in range(2)
        ]
        assert started[0]["run_id"] == started[1]["run_id"]
        assert started[0]["output"]["text"] == "42"
        chat = (await client.get(f"/api/v1/chats/{started[0]['input']['chat']}")).json()
        assert chat["messages"][0]["attachments"] == [{"name": "note.txt", "type": "file", "characters": 14}]
        refused = await client.post("/api/v1/runs", json={"workflow": "chat", "input": {"message": ""}})
        assert (refused.status_code, "say something" in refused.text) == (422, True)
