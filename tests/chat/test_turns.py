"""Turns under way, with a model that streams over the wire: stopped, followed from elsewhere, shown by another process, taken over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from graphs import chats, chatting, ending, following, keeping, runs, steering
from graphs.chatting import Said
from graphs.expressions import Evaluator
from graphs.following import News
from graphs.live import so_far
from graphs.models import ModelSettings
from graphs.runtime import Runtime
from server import chats as door_chats
from server import turn_progress, waiting
from store import chats as chat_rows
from store.errors import Unavailable
from store.postgres import Database
from tests.chat.conftest import process
from tests.chat.talking import SCRIPTS, SECONDS, STREAM, Heard, call, events, script
from tests.chat.talking import following as follow
from tests.models.loopback import ModelServer, Turn, model_server
from tests.server.conftest import House, http
from tests.server.samples import HELLO

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LONG = "Once upon a time there was a workflow that never ended."


@pytest.fixture
def model() -> Generator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator, model: ModelServer) -> AsyncGenerator[Runtime]:
    async with process(database, evaluator, models=model.openai()) as opened:
        yield opened


@asynccontextmanager
async def reading(stream: httpx2.Response, heard: Heard) -> AsyncGenerator[None]:
    """Takes in what comes; waits at the end until all has."""

    async def read() -> None:
        async for _ in events(stream, heard):
            pass

    task = asyncio.create_task(read())
    yield
    async with asyncio.timeout(SECONDS):
        await task


async def until_said(heard: Heard, enough: str) -> None:
    async with asyncio.timeout(SECONDS):
        while not heard.text.startswith(enough):
            await asyncio.sleep(0.01)


async def test_tokens_stream_and_a_stop_keeps_what_was_said(house: House, url: str, model: ModelServer) -> None:
    held = threading.Event()
    model.turns.append(Turn(text=LONG, held=held))
    heard = Heard()
    async with http(url, house.keys["viewer"]) as client, http(url, house.keys["viewer"]) as phone:
        said = {"message": "Tell me a story"}
        async with client.stream("POST", "/api/v1/chat", json=said, headers=STREAM) as stream, reading(stream, heard):
            await until_said(heard, "Once upon a time")
            assert len(heard.all("text")) >= 3, "in pieces"
            stopped = (await phone.post(f"/api/v1/chats/{heard.one('chat')['chat']}/stop")).json()
        held.set()
        assert (stopped["state"], heard.one("end")["state"]) == ("stopped", "stopped")
        assert stopped["text"].startswith("Once upon a time")
        assert (await phone.post(f"/api/v1/chats/{heard.one('chat')['chat']}/stop")).status_code == 409
        run = await runs.get(house.runtime, house.actor("viewer"), heard.one("chat")["run_id"])
        assert run.state == "cancelled"
        model.turns.append(Turn(text="Gladly."))
        on = await client.post("/api/v1/chat", json={"message": "Go on", "chat": heard.one("chat")["chat"]})
        async with follow(phone, on.json()["chat"]) as told:
            assert [data["text"] async for name, data in told if name == "message"] == ["Gladly."]
    asked = model.asked[-1]["messages"]
    assert asked[-2]["content"].startswith("Once upon a time")
    assert asked[-2]["content"].endswith("(stopped by the person)")


async def test_who_follows_a_chat_that_is_deleted_hears_its_end(house: House, url: str, model: ModelServer) -> None:
    held = threading.Event()
    model.turns.append(Turn(text=LONG, held=held))
    heard = Heard()
    async with http(url, house.keys["viewer"]) as client, http(url, house.keys["viewer"]) as phone:
        said = {"message": "Tell me a story"}
        async with client.stream("POST", "/api/v1/chat", json=said, headers=STREAM) as stream, reading(stream, heard):
            await until_said(heard, "Once upon a time")
            chat = heard.one("chat")["chat"]
            assert (await phone.delete(f"/api/v1/chats/{chat}")).status_code == 200
        held.set()
        assert heard.one("end")["state"] in ("stopped", "deleted")
        assert (await phone.get(f"/api/v1/chats/{chat}")).status_code == 404
        assert (await phone.get(f"/api/v1/runs/{heard.one('chat')['run_id']}")).status_code == 404


async def test_while_an_answer_is_written_no_other_message_goes_behind_it(house: House, url: str, model: ModelServer) -> None:
    held = threading.Event()
    model.turns.append(Turn(text=LONG, held=held))
    async with http(url, house.keys["viewer"]) as client:
        turn = (await client.post("/api/v1/chat", json={"message": "Tell me a story"})).json()
        refused = await client.post("/api/v1/chat", json={"message": "And?", "chat": turn["chat"]})
        assert (refused.status_code, "still being written" in refused.text) == (409, True)
        held.set()
        async with follow(client, turn["chat"]) as told:
            assert [data["text"] async for name, data in told if name == "message"] == [LONG]


async def test_on_another_device_what_was_recorded_is_told_again_and_then_it_goes_on(house: House, url: str, model: ModelServer) -> None:
    """The first connection is gone in the middle of an approval; the second one sees the tools, is asked, and hears the end."""
    await house.create(HELLO)
    model.turns.extend(
        [
            Turn(text="Let me look.", calls=(("get_workflow", {"workflow": "hello-world"}),)),
            Turn(text="Now I publish.", calls=(("publish_workflow", {"workflow": "hello-world", "revision": 1}),)),
            Turn(text="It is published."),
        ]
    )
    heard, there = Heard(), Heard()
    said = {"message": "Publish it"}
    async with http(url, house.keys["builder"]) as client, client.stream("POST", "/api/v1/chat", json=said, headers=STREAM) as stream:
        async for name, _ in events(stream, heard):
            if name == "approval":
                break
    async with http(url, house.keys["builder"]) as phone:
        chat = heard.one("chat")["chat"]
        path = f"/api/v1/chats/{chat}/events"
        async with asyncio.timeout(SECONDS), phone.stream("GET", path, headers=STREAM) as stream:
            async for name, data in events(stream, there):
                if name == "approval" and data["state"] == "open":
                    answer = {"task_id": data["task_id"], "approved": True}
                    assert (await phone.post(f"/api/v1/chats/{chat}/approve", json=answer)).status_code == 200
        assert there.tools() == ["get_workflow", "publish_workflow"]
        assert there.text == "Let me look.Now I publish.It is published."
        assert there.one("end")["state"] == "done"
        later = Heard()
        resumed = {**STREAM, "Last-Event-ID": str(there.ids[-1])}
        async with asyncio.timeout(SECONDS), phone.stream("GET", path, headers=resumed) as stream:
            async for _ in events(stream, later):
                pass
        assert (later.tools(), later.one("end")["state"]) == ([], "done"), "nothing is told twice to who says how far they were"


async def test_a_turn_driven_by_a_worker_streams_at_a_door_that_drives_nothing(
    house: House, database: Database, evaluator: Evaluator, app_url: str, model: ModelServer
) -> None:
    """Both hear notifications; the runtime of the fixture is put out of the way first."""
    held = threading.Event()
    model.turns.append(Turn(text=LONG, held=held))
    house.runtime.engine.slots = 0  # it claims nothing
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(process(database, evaluator, models=model.openai(), serving=False, listen=app_url))
        turn = await chatting.send(door, house.actor(), Said(text="Tell me a story"))
        said = [""]

        async def listen() -> None:
            async for news in following.turn(door, house.actor(), turn.run_id):
                if news.name == "text":
                    said.append(so_far(said[-1], news.data))
                    held.set()

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(SECONDS):
            while not door.engine.bus.watched_here(house.tenant.org_id, turn.run_id):
                await asyncio.sleep(0.01)
        await stack.enter_async_context(process(database, evaluator, models=model.openai(), listen=app_url))
        async with asyncio.timeout(SECONDS):
            await listening
        assert said[-1] == LONG
        assert (await chats.ended(door, house.actor(), turn.chat, turn.answer)).text == LONG


async def test_a_stop_after_the_process_that_began_the_turn_is_gone_keeps_what_is_recorded(
    house: House, database: Database, evaluator: Evaluator
) -> None:
    await house.create(HELLO)
    house.runtime.engine.slots = 0
    settings = ModelSettings(scripts=SCRIPTS)
    chosen = script({"text": "I publish it now.", **call("publish_workflow", workflow="hello-world", revision=1)}, {"text": "Done."})
    actor = house.actor("builder")
    async with process(database, evaluator, models=settings) as first:
        turn = await chatting.send(first, actor, Said(text="Publish it", model=chosen))
        async for news in following.turn(first, actor, turn.run_id):
            if news.name == "approval":
                break
    async with process(database, evaluator, models=settings) as second:
        stopped = await ending.stop(second, actor, turn.chat)
    assert (stopped.state, stopped.text) == ("stopped", "I publish it now.")


async def test_what_was_said_in_a_turn_that_broke_off_with_nobody_left_who_began_it_is_kept_by_who_looks(
    house: House, database: Database, evaluator: Evaluator
) -> None:
    house.runtime.engine.slots = 0
    settings, actor = ModelSettings(scripts=SCRIPTS), house.actor("builder")
    await house.create(HELLO)
    chosen = script({"text": "I publish it now.", **call("publish_workflow", workflow="hello-world", revision=1)}, {"text": "Done."})
    async with process(database, evaluator, models=settings) as first:
        turn = await chatting.send(first, actor, Said(text="Publish it", model=chosen))
        async for news in following.turn(first, actor, turn.run_id):
            if news.name == "approval":
                break
    async with process(database, evaluator, models=settings) as second:
        await steering.control(second, actor, turn.run_id, "cancel")
        await runs.wait(second, actor, turn.run_id, seconds=SECONDS)
        on = await chatting.send(second, actor, Said(text="Go on", model=script({"text": "Gladly."})), chat=turn.chat)
        row = await chat_rows.message(actor.tenant, actor.user_id, turn.chat, turn.answer)
        assert row
        assert (row.state, row.text) == ("stopped", "I publish it now.")
        await runs.wait(second, actor, on.run_id, seconds=SECONDS)


async def test_what_was_said_is_kept_though_postgres_goes_away_as_the_turn_ends(
    house: House, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, tries = chat_rows.settle, list[str]()

    async def flaky(*given: Any, **more: Any) -> bool:
        tries.append(more["state"])
        if len(tries) == 1:
            raise Unavailable("Postgres is away")
        return await settle(*given, **more)

    monkeypatch.setattr(chat_rows, "settle", flaky)
    monkeypatch.setattr(keeping, "LOOK", (0.05, 0.05))
    model.turns.append(Turn(status=400, message="no such model"))
    actor = house.actor("viewer")
    turn = await chatting.send(house.runtime, actor, Said(text="Tell me"))
    await keeping.over(house.runtime, actor, turn.run_id)
    assert (await chats.ended(house.runtime, actor, turn.chat, turn.answer)).state == "failed"
    row = await chat_rows.message(actor.tenant, actor.user_id, turn.chat, turn.answer)
    assert (row.state if row else None, tries) == ("failed", ["failed", "failed"])


async def test_who_listens_hears_of_the_end_when_the_last_words_are_kept(
    house: House, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, actor, states = keeping.settle, house.actor("viewer"), list[str]()
    ended = asyncio.Event()

    async def slow(*given: Any) -> None:
        await asyncio.sleep(0.3)
        await settle(*given)

    class Listener:
        async def notify_resource_updated(self, uri: str) -> None:
            row = await chat_rows.message(actor.tenant, actor.user_id, turn.chat, turn.answer)
            states.append(row.state if row else "")
            if len(states) == 4:  # the chat and the list of them, at the beginning and at the end
                ended.set()

    monkeypatch.setattr(keeping, "settle", slow)
    model.turns.append(Turn(status=400, message="no such model"))
    turn = await chatting.send(house.runtime, actor, Said(text="Tell me"))
    caller: Any = SimpleNamespace(runtime=house.runtime, actor=actor)
    listener: Any = Listener()
    await door_chats.tell(listener, caller, turn)
    async with asyncio.timeout(SECONDS):
        await ended.wait()
    assert states[2:] == ["failed", "failed"]


async def test_a_turn_whose_process_died_before_its_run_began_is_no_obstacle(
    house: House, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: Any, **__: Any) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(runs, "start_definition", killed)
    actor = house.actor("viewer")
    with pytest.raises(ProcessLookupError):
        await chatting.send(house.runtime, actor, Said(text="Hello"))
    (chat,) = (await chats.page(house.runtime, actor)).items
    async with http(url, house.keys["viewer"]) as client:
        stopped = await client.post(f"/api/v1/chats/{chat.id}/stop")
        assert (stopped.status_code, "begins just now" in stopped.text) == (409, True)
        assert (await client.delete(f"/api/v1/chats/{chat.id}")).status_code == 200
        assert (await client.get(f"/api/v1/chats/{chat.id}")).status_code == 404


async def test_deleting_a_chat_stops_the_answers_on_all_its_branches(
    house: House, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, cancelled, held, actor = steering.control, set[str](), threading.Event(), house.actor("viewer")

    async def noted(*given: Any) -> Any:
        cancelled.add(given[2])
        return await control(*given)

    monkeypatch.setattr(steering, "control", noted)
    model.turns.extend([Turn(text=LONG, held=held), Turn(text=LONG, held=held)])
    first = await chatting.send(house.runtime, actor, Said(text="Tell me a story"))
    second = await chatting.again(house.runtime, actor, first.chat, first.answer)
    await ending.delete(house.runtime, actor, first.chat)
    held.set()
    assert cancelled == {first.run_id, second.run_id}


async def test_a_turn_that_runs_is_not_called_failed_by_who_could_not_hear_that_it_began(
    house: House, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = runs.start_definition

    async def unheard(*given: Any, **more: Any) -> None:
        await start(*given, **more)
        raise Unavailable("the connection broke after the commit")

    monkeypatch.setattr(runs, "start_definition", unheard)
    model.turns.append(Turn(text="Gladly."))
    actor = house.actor("viewer")
    turn = await chatting.send(house.runtime, actor, Said(text="Tell me", key="one"))
    await keeping.over(house.runtime, actor, turn.run_id)
    done = await chats.ended(house.runtime, actor, turn.chat, turn.answer)
    assert (done.state, done.text) == ("done", "Gladly.")


async def test_what_is_asked_between_the_look_at_a_turn_and_the_listening_is_heard(
    house: House, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.create(HELLO)
    held, along, actor = threading.Event(), turn_progress.along, house.actor("builder")
    told: list[str] = []

    async def later(*given: Any, **more: Any) -> None:
        held.set()
        while not (await runs.wait(house.runtime, actor, turn.run_id, seconds=SECONDS, until="settled")).waiting_for:
            pass
        await along(*given, **more)

    async def report(number: float, total: float | None, message: str) -> None:
        told.append(message)

    caller = SimpleNamespace(runtime=house.runtime, actor=actor)
    client: Any = SimpleNamespace(request_context=SimpleNamespace(meta={"progress_token": 1}), report_progress=report)

    def caller_of(_: object) -> SimpleNamespace:
        return caller

    monkeypatch.setattr(waiting, "caller_of", caller_of)
    monkeypatch.setattr(turn_progress, "along", later)
    model.turns.append(Turn(text="Now I publish.", calls=(("publish_workflow", {"workflow": "hello-world", "revision": 1}),), held=held))
    turn = await chatting.send(house.runtime, actor, Said(text="Publish it"))
    async with asyncio.timeout(waiting.MAX_WAIT - 5):
        run = await waiting.settle(client, turn.run_id, waiting.MAX_WAIT)
    assert run.state == "waiting"
    assert any(line.startswith("asks:") for line in told), told


async def test_progress_tells_words_once_though_they_are_told_again_from_their_beginning() -> None:
    told: list[str] = []

    async def report(number: float, total: float | None, message: str) -> None:
        told.append(message)

    client: Any = SimpleNamespace(report_progress=report)
    telling = turn_progress.Telling(client)
    for piece in ({"text": "Hello"}, {"delta": " wor"}, {"text": "He"}, {"delta": "llo world"}, {"text": "Hello world."}):
        await telling.hear(News(name="text", data={"part": "turn_1", **piece}))
    await telling.flush()
    assert "".join(told) == "Hello world."
