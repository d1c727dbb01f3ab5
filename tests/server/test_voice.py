"""A person is asked by telephone: a whole call through the doors, and everything that can go wrong on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graphs import connecting, runs
from tests.server.conftest import House, served
from tests.server.telephone import ACCOUNT, NUMBER, TOKEN, Company, company

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
        settings = {"account_sid": ACCOUNT, "from_number": NUMBER, "base_url": address}
        await connecting.create(house.runtime, house.actor(), name="phone", kind="twilio", settings=settings)
        await connecting.set_secret(house.runtime, house.actor(), "phone", "auth_token", TOKEN)
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
    run = await runs.wait(house.runtime, house.actor(), run_id, seconds=30, until="finished")
    assert run.finished_at is not None, run.state
    return run


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
