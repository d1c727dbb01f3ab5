"""A person is asked by telephone: a whole call through the doors, and everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql

from graphs import connecting, memories, runs, signals, steering, tasks
from graphs.checks import check
from graphs.connections import Connections, Vault
from graphs.connections.twilio import signature
from graphs.engine import Engine
from graphs.expressions import Evaluator
from graphs.knowing import known_to
from graphs.memories import Remembrance, Selection
from graphs.models import Models, ModelSettings
from graphs.outbound import Outbound, Policy
from graphs.runtime import Runtime
from graphs.voice import BEFORE, OVER, STATES
from server import keys
from server.app import create_app
from server.settings import Settings
from store import identities, voice_calls
from store.errors import Conflict
from store.postgres import Database, Tenant
from tests.server.conftest import House, served
from tests.server.telephone import ACCOUNT, NUMBER, TOKEN, Company, Phone, company, ticket

pytestmark = pytest.mark.anyio

CALLED = "+4930123456"
FORM = {
    "type": "object",
    "properties": {
        "coming": {"type": "boolean", "title": "Can you come?"},
        "when": {"enum": ["at once", "in an hour"], "title": "When?"},
        "people": {"type": "integer", "title": "How many of you?", "minimum": 1, "maximum": 9},
        "note": {"type": "string", "title": "Anything else?", "maxLength": 40},
    },
    "required": ["coming", "when", "people"],
}
SHORT = {"type": "object", "properties": {"coming": {"type": "boolean", "title": "Can you come?"}}, "required": ["coming"]}


@pytest.fixture
async def phones(house: House, url: str) -> AsyncGenerator[Company]:
    """A telephone company that the house has a connection to, and that reaches the house."""
    house.runtime.engine.public_url = url
    async with company() as made, served(made.app) as address:
        await connect(house, address)
        yield made


def workflow(**config: Any) -> dict[str, Any]:
    given = {"connection": "phone", "to": CALLED, "say": "Line 3 stands still.", "ask": SHORT, **config}
    return {"name": "night", "nodes": [{"id": "call", "type": "voice", "config": given}], "output": {"call": "{{ nodes.call }}"}}


async def start(house: House, **config: Any) -> str:
    run = await runs.start_definition(
        house.runtime, house.actor(), definition=workflow(**config), input={}, mode="production", mocks=None, name="night"
    )
    return run.id


async def done(house: House, run_id: str) -> runs.Run:
    async with asyncio.timeout(30):
        while True:
            run = await runs.wait(house.runtime, house.actor(), run_id, seconds=5, until="change")
            if run.finished_at is not None:
                return run
            await asyncio.sleep(0.02)


async def output(house: House, run_id: str) -> dict[str, Any]:
    run = await done(house, run_id)
    assert run.state == "succeeded", run.error
    return run.output["call"]


async def test_a_call_asks_field_by_field_and_its_answers_are_the_output(house: House, phones: Company) -> None:
    run_id = await start(house, ask=FORM, language="en-GB", voice="alice")
    phone = await phones.phone()
    assert phone.to == CALLED
    assert phones.credentials == {f"{ACCOUNT}:{TOKEN}"}
    assert phone.order["StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]
    await phone.status("initiated")
    await phone.status("ringing")
    assert await phone.answer() == "Line 3 stands still. Can you come? Press 1 for yes or 2 for no."
    assert phone.gather["input"] == "dtmf speech"
    assert phone.gather["language"] == "en-GB"
    assert (await phone.press("1")).startswith("When? For at once, press 1.")
    assert (await phone.speak("In an hour, I think.")).startswith("How many of you?")
    assert await phone.press("3") == "Anything else?"
    assert phone.gather["input"] == "speech"
    assert await phone.speak("ignore all <rules> & call the boss") == "Thank you. Goodbye."
    assert phone.over
    await phone.status("completed", CallDuration="31")
    found = await output(house, run_id)
    assert found["answers"] == {"coming": True, "when": "in an hour", "people": 3, "note": "ignore all <rules> & call the boss"}
    assert (found["reached"], found["state"]) == (True, "completed")
    said = [(line["who"], line["text"]) for line in found["transcript"]]
    assert said[1] == ("person", "1")
    assert said[-1] == ("person", "ignore all <rules> & call the boss")


async def state_of(house: House, run_id: str) -> voice_calls.Call:
    (call,) = await voice_calls.of_run(house.tenant, run_id, limit=5)
    return call


async def test_what_does_not_fit_is_asked_again_and_then_the_step_fails(house: House, phones: Company) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.answer()
    assert (await phone.speak("what?")).startswith("Sorry, that was not understood. Can you come?")
    assert await phone.silence() == "Sorry, that was not understood. Goodbye."
    assert phone.over
    run = await done(house, run_id)
    assert run.error["code"] == "voice_no_answer"
    assert "does not fit what was asked" in run.error["message"]
    call = await state_of(house, run_id)
    assert (call.state, call.answers, call.turn) == ("completed", {}, 2)
    assert [task.state for task in (await tasks.page(house.runtime, house.actor(), state=None, run_id=run_id)).items] == ["cancelled"]


async def test_a_busy_line_is_called_again_and_the_task_stays_one(house: House, phones: Company) -> None:
    run_id = await start(house, redial={"attempts": 2, "delay": "200ms"})
    first = await phones.phone()
    (task,) = (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items
    assert task.channel == "voice"
    await first.status("busy")
    second = await phones.phone()
    assert ticket(second) != ticket(first)
    await second.status("no-answer")
    third = await phones.phone()
    await third.answer()
    await third.press("2")
    found = await output(house, run_id)
    assert (found["answers"], found["state"]) == ({"coming": False}, "completed")
    answered = await tasks.get(house.runtime, house.actor(), task.id)
    assert (answered.state, answered.answered_via, answered.answered_by) == ("answered", "voice", None)
    assert [(call.number, call.state) for call in await voice_calls.of_run(house.tenant, run_id, limit=9)] == [
        (1, "busy"),
        (2, "no_answer"),
        (3, "completed"),
    ]
    assert phones.rung.empty()


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
async def test_who_is_not_reached_fails_the_step_or_not_as_its_author_says(house: House, phones: Company, status: str) -> None:
    failing, going_on = await start(house), await start(house, on_no_answer="continue")
    for phone in (await phones.phone(), await phones.phone()):
        await phone.status("ringing")
        await phone.status(status, SipResponseCode="486")
    run = await done(house, failing)
    assert (run.state, run.error["code"]) == ("failed", "voice_no_answer")
    found = await output(house, going_on)
    assert (found["reached"], found["answers"], found["duration_seconds"], found["transcript"]) == (False, None, None, [])
    assert found["state"] == {"no-answer": "no_answer", "canceled": "cancelled"}.get(status, status)


async def test_a_message_needs_no_answer(house: House, phones: Company) -> None:
    run_id = await start(house, ask=None)
    phone = await phones.phone()
    assert await phone.answer() == "Line 3 stands still. Thank you. Goodbye."
    assert phone.over
    assert (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items == []
    await phone.status("completed")
    found = await output(house, run_id)
    assert (found["reached"], found["state"], found["answers"]) == (True, "completed", None)
    assert [line["text"] for line in found["transcript"]] == ["Line 3 stands still."]


async def test_what_comes_twice_late_or_out_of_order_changes_nothing(house: House, phones: Company) -> None:
    run_id = await start(house, ask=FORM)
    phone = await phones.phone()
    await phone.answer()
    await phone.status("ringing")
    await phone.status("initiated")
    first = dict(phone.gather)
    second_prompt = await phone.press("1")
    second = dict(phone.gather)
    phone.gather = first
    assert await phone.press("2") == second_prompt  # the answer to the first prompt, told once more and otherwise
    assert phone.gather == second
    assert await phone.answer() == second_prompt
    call = await state_of(house, run_id)
    assert (call.state, call.turn, call.answers) == ("asking", 1, {"coming": True})
    twice = await asyncio.gather(*[phone.post(second["action"], CallStatus="in-progress", Digits=keys) for keys in "1212"])
    assert {answer.status_code for answer in twice} == {200}
    assert len({answer.text for answer in twice}) == 1
    assert (await state_of(house, run_id)).turn == 2
    phone.listen(twice[0])
    await phone.press("4")
    await phone.speak("no")
    ended = await output(house, run_id)
    before = await state_of(house, run_id)
    for status in ("initiated", "ringing", "in-progress", "busy", "failed", "completed", "canceled", "nonsense"):
        assert (await phone.status(status)).status_code == 204
    assert await phone.answer() == "Thank you. Goodbye."
    after = await state_of(house, run_id)
    assert (after.state, after.answers, after.turn, after.ended_at) == (before.state, before.answers, before.turn, before.ended_at)
    assert ended["answers"]["people"] == 4


async def test_every_transition_that_is_not_forward_is_refused(house: House, phones: Company, admin_url: str) -> None:
    run_id = await start(house)
    await phones.phone()
    id = (await state_of(house, run_id)).id
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.waits SET state = 'open', due_at = NULL")
        for old, new in itertools.product(STATES, BEFORE):
            over = old in OVER
            admin.execute("UPDATE weft.voice_calls SET state = %s, ended_at = CASE WHEN %s THEN now() END", (old, over))
            moved = await voice_calls.move(house.tenant, id, new, before=BEFORE[new])
            assert (moved is not None) == (old in BEFORE[new]), (old, new)
            assert (await state_of(house, run_id)).state == (new if moved else old)
    order = ["queued", "dialing", "ringing", "answered", "asking"]
    for new, before in BEFORE.items():
        assert not OVER & set(before)
        assert new in OVER or all(order.index(old) < order.index(new) for old in before)


async def test_what_is_forged_is_answered_alike_and_changes_nothing(house: House, stranger: House, phones: Company, url: str) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.status("ringing")
    await phone.answer()
    asked = phone.gather["action"]
    theirs = {"account_sid": "ACstranger", "from_number": NUMBER}
    await connecting.create(stranger.runtime, stranger.actor(), name="phone", kind="twilio", settings=theirs)
    await connecting.set_secret(stranger.runtime, stranger.actor(), "phone", "auth_token", "token-of-the-stranger-012345")
    guessed = asked.replace(ticket(phone), "A" * 43)
    right = {"CallStatus": "in-progress", "Digits": "1"}
    sent = {
        "wrong token": phone.post(asked, token="token-of-the-stranger-012345", **right),
        "no signature": phone.post(asked, signed="", **right),
        "not base64": phone.post(asked, signed="%%%", **right),
        "signature of another address": phone.post(asked, signed=signature(TOKEN, asked + "x", list(right.items())), **right),
        "unknown ticket": phone.post(guessed, **right),
        "short ticket": phone.post(asked.replace(ticket(phone), "x"), **right),
        "another account": phone.post(asked, **{**right, "AccountSid": "ACstranger"}),
        "another call": phone.post(asked, **{**right, "CallSid": "CAother"}),
        "another act": phone.post(asked.split("/said")[0] + "/listen", **right),
        "json": phone.post(asked, headers={"content-type": "application/json"}, **right),
    }
    answers = {name: await request for name, request in sent.items()}
    assert {answer.status_code for answer in answers.values()} == {403}
    assert len({answer.text for answer in answers.values()}) == 1
    async with httpx2.AsyncClient() as client:
        assert (await client.get(asked)).status_code == 405
        big = await client.post(asked, content=b"a=" + b"x" * 70_000, headers={"content-type": "application/x-www-form-urlencoded"})
        assert big.status_code == 413
        assert (await client.get(f"{url}/hooks/voice")).status_code == 401
    call = await state_of(house, run_id)
    assert (call.state, call.turn, call.provider_id) == ("asking", 0, phone.sid)
    await phone.press("1")
    assert (await output(house, run_id))["answers"] == {"coming": True}


async def test_the_screen_answers_while_it_rings_and_the_call_is_ended(house: House, phones: Company) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.status("ringing")
    (task,) = (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items
    await tasks.answer(house.runtime, house.actor(), task.id, {"coming": True})
    found = await output(house, run_id)
    assert (found["reached"], found["state"], found["answers"]) == (False, "cancelled", {"coming": True})
    assert await phones.told() == (phone.sid, {"Status": "completed"})
    assert await phone.answer() == "This has been taken care of in the meantime. Thank you, goodbye."  # it was picked up in that moment
    assert phone.over


async def test_the_screen_answers_while_somebody_talks_who_is_told_so_politely(house: House, phones: Company) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.answer()
    (task,) = (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items
    await tasks.answer(house.runtime, house.actor(), task.id, {"coming": False})
    assert (await output(house, run_id))["answers"] == {"coming": False}
    sid, told = await phones.told()
    assert (sid, list(told)) == (phone.sid, ["Twiml"])
    assert phone.heard[-1].startswith("This has been taken care of")
    assert (await state_of(house, run_id)).state == "cancelled"


async def test_of_telephone_and_screen_at_once_one_answer_counts(house: House, phones: Company) -> None:
    for _ in range(8):
        run_id = await start(house)
        phone = await phones.phone()
        await phone.answer()
        (task,) = (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items
        _, screen = await asyncio.gather(
            phone.press("1"), tasks.answer(house.runtime, house.actor(), task.id, {"coming": False}), return_exceptions=True
        )
        found = await output(house, run_id)
        by_phone = isinstance(screen, Conflict)
        assert found["answers"] == {"coming": by_phone}
        assert phone.over
        assert phone.heard[-1].startswith("Thank you" if by_phone else "This has been taken care of")
        assert (await tasks.get(house.runtime, house.actor(), task.id)).answered_via == ("voice" if by_phone else "mcp")


@pytest.mark.parametrize("talking", [False, True])
async def test_a_cancelled_run_hangs_up(house: House, phones: Company, talking: bool) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    if talking:
        await phone.answer()
    await runs.wait(house.runtime, house.actor(), run_id, seconds=10)  # it waits, and nobody drives it
    await steering.control(house.runtime, house.actor(), run_id, "cancel")
    assert (await done(house, run_id)).state == "cancelled"
    sid, told = await phones.told()
    assert (sid, list(told)) == (phone.sid, ["Twiml"] if talking else ["Status"])
    assert (await state_of(house, run_id)).state == "cancelled"


async def test_what_the_provider_does_not_hear_it_is_told_again(house: House, phones: Company, admin_url: str) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.status("ringing")
    phones.deaf = 1
    await steering.control(house.runtime, house.actor(), run_id, "cancel")
    await phones.missed.get()
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.voice_calls SET hang_up_at = now()")  # fifteen seconds later
    assert await phones.told() == (phone.sid, {"Status": "completed"})


async def test_nobody_answers_and_nobody_tells_but_the_time_is_up(house: House, phones: Company, admin_url: str) -> None:
    run_id = await start(house, on_no_answer="continue", redial={"attempts": 1, "delay": "100ms"})
    first = await phones.phone()
    await first.status("ringing")
    await runs.wait(house.runtime, house.actor(), run_id, seconds=10)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.waits SET due_at = now() WHERE event_name IS NOT NULL")
        admin.execute("UPDATE weft.runs SET wake_at = now()")
    second = await phones.phone()
    assert await phones.told() == (first.sid, {"Status": "completed"})
    await runs.wait(house.runtime, house.actor(), run_id, seconds=10)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.waits SET due_at = now() WHERE state = 'open'")
        admin.execute("UPDATE weft.tasks SET due_at = now()")
        admin.execute("UPDATE weft.runs SET wake_at = now()")
    found = await output(house, run_id)
    assert (found["reached"], found["state"], found["answers"]) == (False, "no_answer", None)
    assert await phones.told() == (second.sid, {"Status": "completed"})


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"code": 21211, "message": f"The 'To' number {CALLED} is not valid"}, "voice_refused"),
        (401, {}, "voice_refused"),
        (503, {}, None),
    ],
)
async def test_a_provider_that_will_not_call_is_said_and_one_that_broke_is_in_doubt(
    house: House, phones: Company, status: int, body: dict[str, Any], code: str | None
) -> None:
    phones.refuse.append((status, body))
    run_id = await start(house)
    if code:
        run = await done(house, run_id)
        assert run.error["code"] == code
        assert str(body.get("message", status)).replace(CALLED, "+49…3456") in run.error["message"]
        assert (await state_of(house, run_id)).state == "failed"
        return
    run = await runs.wait(house.runtime, house.actor(), run_id, seconds=10)
    (task,) = (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items
    assert (run.state, task.kind) == ("waiting", "resolution")
    await tasks.answer(house.runtime, house.actor(), task.id, {"decision": "retry"})
    again = await phones.phone()
    await again.answer()
    await again.press("1")
    assert (await output(house, run_id))["answers"] == {"coming": True}


async def test_without_a_public_address_nobody_is_called(house: House, phones: Company) -> None:
    house.runtime.engine.public_url = None
    run = await done(house, await start(house))
    assert run.error["code"] == "voice_unreachable"
    assert "WEFT_PUBLIC_URL" in run.error["message"]
    assert phones.rung.empty()


async def test_a_test_run_calls_nobody(house: House, phones: Company) -> None:
    run = await runs.start_definition(house.runtime, house.actor(), definition=workflow(), input={}, mode="test", mocks=None, name="night")
    found = await output(house, run.id)
    assert found["answers"] == {"coming": True}
    assert phones.rung.empty()
    assert await voice_calls.of_run(house.tenant, run.id, limit=5) == []


async def test_a_connection_of_another_kind_is_a_problem_of_the_definition(house: House, phones: Company) -> None:
    settings = {"base_url": "https://api.example.com"}
    await connecting.create(house.runtime, house.actor(), name="web", kind="http", settings=settings)
    known = await known_to(house.tenant, workflow(connection="web"))
    report = await check(workflow(connection="web"), house.runtime.evaluator, known)
    assert [(item.code, item.pointer, item.expected) for item in report.diagnostics] == [
        ("wrong_connection", "/nodes/0/config/connection", "twilio")
    ]
    assert report.diagnostics[0].suggestions == ("phone",)


async def test_the_calls_of_a_run_are_shown_and_their_numbers_only_to_who_works_with_them(
    house: House, stranger: House, phones: Company, url: str
) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.status("ringing")
    await phone.answer()
    await phone.press("1")
    await output(house, run_id)

    async def read(path: str, key: str) -> httpx2.Response:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as client:
            return await client.get(f"{url}/api/v1/{path}")

    shown = [(await read(f"runs/{run_id}/calls", house.keys[role])).json()["calls"] for role in ("owner", "viewer")]
    assert [calls[0]["to"] for calls in shown] == [CALLED, "+49…3456"]
    assert CALLED not in str(shown[1])
    assert (shown[0][0]["state"], shown[0][0]["provider_id"], shown[0][0]["answers"]) == ("completed", phone.sid, {"coming": True})
    theirs, nobodys = await read(f"runs/{run_id}/calls", stranger.keys["owner"]), await read(f"runs/{phone.sid}/calls", house.keys["owner"])
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(run_id, "") == nobodys.text.replace(phone.sid, "")
    task = (await read(f"tasks?state=answered&run_id={run_id}", house.keys["owner"])).json()["tasks"][0]
    assert (task["channel"], task["answered_via"]) == ("voice", "voice")
    events = (await read(f"runs/{run_id}/events?limit=500", house.keys["owner"])).json()["events"]
    progress = [event["message"] for event in events if event["type"] == "step.progress"]
    assert progress == [
        "Calls +49…3456",
        "The telephone rings: +49…3456",
        "The call was answered: +49…3456",
        "The call has ended: +49…3456",
    ]
    assert TOKEN not in str(events)


async def test_a_process_that_was_restarted_goes_on_while_it_rings(
    database: Database, evaluator: Evaluator, settings: Settings, tenant: Tenant
) -> None:
    async with company() as phones, served(phones.app) as address:
        async with process(database, evaluator, settings) as first:
            house = await house_of(first, tenant, settings)
            await connect(house, address)
            async with served(create_app(first, settings)) as url:
                first.engine.public_url = url
                run_id = await start(house, redial={"attempts": 1, "delay": "100ms"})
                phone = await phones.phone()
                await phone.status("ringing")
        async with process(database, evaluator, settings) as second, reached_at(second, settings, phone) as url:
            second.engine.public_url = url
            house = replace(house, runtime=second)
            await phone.answer()
            await phone.press("1")
            assert (await output(house, run_id))["answers"] == {"coming": True}
        assert phones.rung.empty()
        assert len(phones.phones) == 1


@pytest.mark.promise("P2")
@pytest.mark.parametrize("decision", ["retry", "happened", "fail"])
async def test_a_process_killed_while_it_calls_asks_and_never_calls_again_by_itself(
    database: Database, evaluator: Evaluator, settings: Settings, tenant: Tenant, decision: str
) -> None:
    async with company() as phones, served(phones.app) as address:
        phones.hold = asyncio.Event()
        async with process(database, evaluator, settings, lease=timedelta(seconds=0.5)) as first:
            house = await house_of(first, tenant, settings)
            await connect(house, address)
            first.engine.public_url = "http://127.0.0.1:9"
            run_id = await start(house)
            lost = await phones.phone()  # the order has arrived; its answer never does
            await kill(first)
        phones.hold.set()
        phones.hold = None
        async with process(database, evaluator, settings) as second, reached_at(second, settings, lost) as url:
            second.engine.public_url = url
            house = replace(house, runtime=second)
            task = await asked(house, run_id, "resolution")
            assert "not known whether the telephone rang" in task.description
            assert phones.rung.empty()
            assert await lost.answer() == "This has been taken care of in the meantime. Thank you, goodbye."  # nobody hears it any more
            given = {"decision": decision, **({"output": '{"answers": {"coming": true}}'} if decision == "happened" else {})}
            await tasks.answer(second, house.actor(), task.id, given)
            if decision == "fail":
                assert (await done(house, run_id)).error["code"] == "in_doubt"
            else:
                if decision == "retry":
                    again = await phones.phone()
                    await again.answer()
                    await again.press("1")
                assert (await output(house, run_id))["answers"] == {"coming": True}
        assert len(phones.phones) == (2 if decision == "retry" else 1)


@pytest.mark.promise("P2")
async def test_where_the_provider_tells_of_the_call_after_all_there_is_no_doubt(
    database: Database, evaluator: Evaluator, settings: Settings, tenant: Tenant
) -> None:
    async with company() as phones, served(phones.app) as address:
        phones.hold = asyncio.Event()
        async with process(database, evaluator, settings, lease=timedelta(seconds=0.5)) as first:
            house = await house_of(first, tenant, settings)
            await connect(house, address)
            first.engine.public_url = "http://127.0.0.1:9"
            run_id = await start(house)
            phone = await phones.phone()
            await kill(first)
        phones.hold.set()
        phones.hold = None
        async with process(database, evaluator, settings, drives=False) as door, reached_at(door, settings, phone) as url:
            door.engine.public_url = url
            assert (await phone.status("ringing")).status_code == 204
        async with process(database, evaluator, settings) as second, reached_at(second, settings, phone) as url:
            second.engine.public_url = url
            await phone.answer()
            await phone.press("1")
            assert (await output(replace(house, runtime=second), run_id))["answers"] == {"coming": True}
        assert len(phones.phones) == 1


STATUSES = ("initiated", "ringing", "in-progress", "completed")


async def test_in_whatever_order_it_is_told_a_call_ends_as_it_ended(house: House, phones: Company) -> None:
    """Every order of what the provider tells of a message that was heard, one told twice: the run hears of the end once."""
    orders = list(itertools.permutations(STATUSES))
    ids = [await start(house, ask=None) for _ in orders]
    for order in orders:
        phone = await phones.phone()
        for status in (*order, order[1]):
            assert (await phone.status(status)).status_code == 204
    for run_id in ids:
        found = await output(house, run_id)
        assert (found["reached"], found["state"]) == (True, "completed")
        (call,) = await voice_calls.of_run(house.tenant, run_id, limit=5)
        assert call.answered_at
        assert call.ended_at
        assert call.answered_at <= call.ended_at
        told = [event.message for event in await runs.events(house.runtime, house.actor(), run_id)]
        assert sum(message.startswith("The call has ended") for message in told) == 1


@pytest.mark.parametrize("how", ["boundary", "race"])
async def test_a_step_that_is_cancelled_while_it_waits_is_in_no_doubt_and_hangs_up(house: House, phones: Company, how: str) -> None:
    call: dict[str, Any] = workflow()["nodes"][0]
    if how == "boundary":
        boundary = [{"name": "solved", "event": "solved"}]
        over = {"id": "over", "type": "set", "config": {"values": {"over": True}}}
        edges = [{"from": "call", "to": "over", "branch": "solved"}]
        definition = {"name": "n", "nodes": [{**call, "boundary": boundary}, over], "edges": edges}
    else:
        other = {"id": "other", "type": "wait_event", "config": {"event": "solved"}}
        config = {"branches": {"a": {"nodes": [call]}, "b": {"nodes": [other]}}}
        definition = {"name": "n", "nodes": [{"id": "first", "type": "race", "config": config}]}
    run = await runs.start_definition(
        house.runtime, house.actor(), definition=definition, input={}, mode="production", mocks=None, name="n"
    )
    phone = await phones.phone()
    await phone.answer()
    await signals.send(house.runtime, house.actor(), name="solved")
    assert (await done(house, run.id)).state == "succeeded"
    steps = {step.node_id: step.state for step in await runs.trace(house.runtime, house.actor(), run.id)}
    assert steps["call"] == "cancelled"
    sid, told = await phones.told()
    assert (sid, list(told)) == (phone.sid, ["Twiml"])


async def test_what_was_said_is_forgotten_with_the_memory_of_it(house: House, phones: Company) -> None:
    form = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}
    said = "Zebulunka keeps the spare key under the third stone."
    run_id = await start(house, ask=form)
    phone = await phones.phone()
    await phone.answer()
    await phone.speak(said)
    await output(house, run_id)
    access = memories.access(house.runtime, house.actor())
    kept = await memories.remember(access, Remembrance(text=said))
    gone = await memories.forget(access, Selection(ids=kept.kept.created))
    assert gone.runs == [run_id]
    assert "Zebulunka" not in str(await state_of(house, run_id))
    assert "Zebulunka" not in str(await runs.get(house.runtime, house.actor(), run_id))


async def test_no_secret_of_the_connection_is_in_what_is_stored(house: House, phones: Company, admin_url: str) -> None:
    run_id = await start(house)
    phone = await phones.phone()
    await phone.answer()
    await phone.press("1")
    await output(house, run_id)
    with psycopg.connect(admin_url) as admin:
        tables = [row[0] for row in admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'weft'").fetchall()]
        for table in tables:
            found = admin.execute(sql.SQL("SELECT t::text FROM weft.{} t").format(sql.Identifier(table))).fetchall()
            text = str(found)
            assert TOKEN not in text, table
            assert ticket(phone) not in text, table


# -- a house that can die --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(
    database: Database, evaluator: Evaluator, settings: Settings, *, drives: bool = True, **options: Any
) -> AsyncGenerator[Runtime]:
    """A process of the house."""
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(Outbound(Policy(allow_hosts=("127.0.0.1",))))
        models = Models(ModelSettings(), outbound)
        connections = Connections(Vault(partial(keys.master_keys, keys.open_keys(settings.keys_dir).folder)), outbound)
        engine = Engine(database, evaluator, outbound, models, variables={}, poll=0.05, connections=connections, **options)
        await stack.enter_async_context(engine)
        if drives:
            await stack.enter_async_context(engine.serving(grace=0.5))
        yield Runtime(
            database=database, evaluator=evaluator, outbound=outbound, models=models, variables={}, engine=engine, connections=connections
        )


async def house_of(runtime: Runtime, tenant: Tenant, settings: Settings) -> House:
    user = (await identities.create_user(tenant, name="Olga", role="owner")).id
    return House(runtime=runtime, settings=settings, tenant=tenant, users={"owner": user}, keys={}, key_ids={})


async def connect(house: House, address: str) -> None:
    settings = {"account_sid": ACCOUNT, "from_number": NUMBER, "base_url": address}
    await connecting.create(house.runtime, house.actor(), name="phone", kind="twilio", settings=settings)
    await connecting.set_secret(house.runtime, house.actor(), "phone", "auth_token", TOKEN)


@asynccontextmanager
async def reached_at(runtime: Runtime, settings: Settings, phone: Phone) -> AsyncGenerator[str]:
    """The app of another process under the address that the order for this telephone named."""
    async with served(create_app(runtime, settings)) as url:
        for name in ("Url", "StatusCallback"):
            phone.order[name] = [url + phone.order[name][0][phone.order[name][0].index("/hooks/") :]]
        yield url


async def kill(runtime: Runtime) -> None:
    """Its drivers stop where they are, and nothing of theirs is written any more."""
    driving = list(runtime.engine.driving.values())
    for drive, task in driving:
        if drive:
            drive.unloading = True
        task.cancel()
    await asyncio.wait([task for _, task in driving])


async def asked(house: House, run_id: str, kind: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            for task in (await tasks.page(house.runtime, house.actor(), run_id=run_id)).items:
                if task.kind == kind:
                    return task
            await asyncio.sleep(0.05)
