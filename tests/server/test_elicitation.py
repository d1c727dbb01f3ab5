"""A question of a run reaches the person at the client, in both protocol eras, and only a valid answer moves the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mcp.server.elicitation import render_elicitation_schema
from mcp.types import ElicitRequestParams, ElicitResult

from graphs import tasks
from server.elicitation import question
from tests.server.conftest import House, connected, text_of, told
from tests.server.samples import ASK

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@ERAS
async def test_the_person_at_the_client_is_asked_and_their_answer_counts(house: House, url: str, mode: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    asked: list[ElicitRequestParams] = []

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept", content={"approved": True, "comment": "go"})

    async with connected(url, house.keys["operator"], mode, elicitation_callback=person) as client:
        done = told(await client.call_tool("answer_task", {"task_id": run.waiting_for[0]["task_id"]}))
        assert done["answered"]
        assert done["answer"] == {"approved": True, "comment": "go"}
        assert asked[0].message == "Do it?"
        assert told(await client.call_tool("get_run", {"run_id": run.id, "wait_seconds": 20}))["output"] == {"did": "it"}
        assert "already answered" in text_of(await client.call_tool("answer_task", {"task_id": run.waiting_for[0]["task_id"]}))
    task = await tasks.get(house.runtime, house.actor(), run.waiting_for[0]["task_id"])
    assert (task.answered_via, task.state) == ("mcp", "answered")


@ERAS
@pytest.mark.parametrize("action", ["cancel", "decline"])
async def test_a_question_that_is_closed_leaves_the_run_waiting(house: House, url: str, mode: str, action: Any) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action=action)

    async with connected(url, house.keys["operator"], mode, elicitation_callback=person) as client:
        assert told(await client.call_tool("answer_task", {"task_id": run.waiting_for[0]["task_id"]}))["answered"] is False
        assert told(await client.call_tool("get_run", {"run_id": run.id}))["state"] == "waiting"


@ERAS
async def test_an_answer_that_does_not_fit_the_form_is_refused_and_may_be_given_again(house: House, url: str, mode: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    given: list[Any] = [{"approved": "perhaps"}, {"approved": False}]

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content=given.pop(0))

    async with connected(url, house.keys["operator"], mode, elicitation_callback=person) as client:
        refused = await client.call_tool("answer_task", {"task_id": run.waiting_for[0]["task_id"]})
        assert refused.is_error
        assert "approved" in text_of(refused)
        assert told(await client.call_tool("answer_task", {"task_id": run.waiting_for[0]["task_id"]}))["answer"] == {"approved": False}


@ERAS
async def test_a_client_that_cannot_ask_is_told_the_form_and_may_answer_by_argument(house: House, url: str, mode: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    async with connected(url, house.keys["operator"], mode) as client:
        task = told(await client.call_tool("get_run", {"run_id": run.id}))["waiting_for"][0]["task_id"]
        unasked = await client.call_tool("answer_task", {"task_id": task})
        assert unasked.is_error
        assert "approved" in text_of(unasked)
        assert told(await client.call_tool("answer_task", {"task_id": task, "answer": {"approved": True}}))["answered"]


FORMS: list[tuple[dict[str, Any], bool]] = [
    ({"properties": {"size": {"enum": ["S", "M"]}, "n": {"type": "integer", "minimum": 1}}, "required": ["n"]}, True),
    ({"properties": {"when": {"type": "string", "format": "date", "pattern": "x"}, "sure": {"type": "boolean", "default": False}}}, True),
    ({"properties": {"level": {"enum": [1, 2]}}}, False),
    ({"properties": {"level": {"type": "integer", "enum": [1, 2]}}}, False),
    ({"properties": {}}, False),
    ({}, False),
]


@pytest.mark.parametrize(("form", "askable"), FORMS)
async def test_forms_are_asked_in_words_the_protocol_knows_or_not_at_all(house: House, form: dict[str, Any], askable: bool) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    task = await tasks.get(house.runtime, house.actor(), run.waiting_for[0]["task_id"])
    asked = question(replace(task, form=form))
    assert (asked is not None) == askable
    if asked is not None:
        schema = render_elicitation_schema(asked.schema)  # raises for what the protocol does not know
        assert schema["properties"].keys() == form["properties"].keys()
