"""An assistant over the wire makes the examples through its tools: each validates, is tested, and runs. It mends a run that failed, and a
patch that does not hold is refused by replay."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest

from graphs import authoring, replaying, runs
from graphs.documents import parse
from graphs.expressions import Evaluator
from graphs.runtime import Runtime
from store import fixes
from store.postgres import Database
from tests.chat.conftest import process
from tests.chat.talking import say
from tests.models.loopback import ModelServer, Turn, model_server
from tests.server.conftest import House, http

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
EXAMPLES = Path(__file__).parents[2] / "examples"
OK: dict[str, Any] = {"status": 200, "ok": True, "headers": {}}
ORDERS = {**OK, "body": [{"id": "A"}, {"id": "B"}]}
TRIED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # input and mocks of the test
    "refund-triage": (
        {"ticket": "My lamp is broken", "customer": "c-17"},
        {"classify": {"kind": "refund", "amount": 20.0}, "refund": {**OK, "body": {}}},
    ),
    "order-fanout": ({"day": "2026-11-20"}, {"orders": ORDERS, "carrier": {**OK, "body": {"name": "bike"}}, "parcel": {**OK, "body": {}}}),
    "reminder": ({"text": "Renew it", "due": "2020-01-01T00:00:00Z", "grace": "10ms"}, {}),
    "payment": ({"order_id": "A-1", "amount": 89.5}, {"paid": {"received": True, "payload": {"amount": 89.5}}}),
    "order-saga": ({"order": "A-1", "amount": 89.5}, {}),
    "draft-review": ({"topic": "opening hours"}, {"review": {"answer": {"decision": "accept", "remark": ""}}}),
}
STARTED = {"reminder": "waiting", "payment": "waiting"}  # production runs that call nobody, and how far they come


@pytest.fixture
def model() -> Generator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
async def runtime(database: Database, evaluator: Evaluator, model: ModelServer) -> AsyncGenerator[Runtime]:
    async with process(database, evaluator, models=model.openai()) as opened:
        yield opened


def example(name: str) -> Any:
    return parse((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))


def turns(*calls: tuple[str, dict[str, Any]], end: str = "Done.") -> list[Turn]:
    return [*(Turn(text="", calls=(call,)) for call in calls), Turn(text=end)]


@pytest.mark.parametrize("name", TRIED)
async def test_an_example_is_written_checked_tested_published_and_run_in_a_chat(
    house: House, url: str, model: ModelServer, name: str
) -> None:
    document, (input, mocks) = example(name), TRIED[name]
    broken = {**document, "nodes": [{**document["nodes"][0], "type": "sett"}, *document["nodes"][1:]]}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_guide", {"section": "definition"}),
        ("find_node_types", {}),
        ("validate_workflow", {"definition": broken}),
        ("validate_workflow", {"definition": document}),
        ("create_workflow", {"definition": document}),
        ("test_workflow", {"workflow": name, "input": input, "mocks": mocks} if mocks else {"workflow": name, "input": input}),
        ("publish_workflow", {"workflow": name, "revision": 1}),
    ]
    if name in STARTED:
        calls.append(("start_run", {"workflow": name, "version": 1, "input": input}))
    model.turns.extend(turns(*calls, end=f"{name} is published."))
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"Make {name}", allow=True)
    assert heard.one("end")["state"] == "done", heard.one("message")
    assert heard.tools() == [call for call, _ in calls], heard.all("tool")
    results = {one["call"]: one["result"] for one in heard.all("tool") if one["state"] == "succeeded"}
    assert results["call_3_1"]["valid"] is False
    assert results["call_4_1"]["valid"] is True
    assert results["call_6_1"]["state"] == "succeeded", results["call_6_1"]
    published = await authoring.get(house.runtime, house.actor(), name)
    assert (published.active_version, published.draft) == (1, document)
    if name in STARTED:
        run = await runs.wait(house.runtime, house.actor(), results["call_8_1"]["run_id"], seconds=20)
        assert run.state == STARTED[name], run.error
    assert heard.text.endswith(f"{name} is published.")


async def test_a_parent_and_its_child_are_made_in_one_chat_and_run(house: House, url: str, model: ModelServer) -> None:
    customers = [{"name": name, "items": [{"text": "gift", "price": 0}]} for name in ("Ada", "Bob")]
    model.turns.extend(
        turns(
            ("create_workflow", {"definition": example("send-invoice")}),
            ("publish_workflow", {"workflow": "send-invoice", "revision": 1}),
            ("create_workflow", {"definition": example("monthly-invoices")}),
            ("publish_workflow", {"workflow": "monthly-invoices", "revision": 1}),
            (
                "start_run",
                {"workflow": "monthly-invoices", "version": 1, "input": {"month": "2026-11", "customers": customers}, "wait_seconds": 20},
            ),
        )
    )
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, "Make the invoices", allow=True)
    assert heard.all("tool")[-1]["result"]["output"] == {"month": "2026-11", "invoices": 2, "net": 0}


FAILING: dict[str, Any] = {
    "name": "greeter",
    "input": {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}, "required": ["names"]},
    "nodes": [
        {"id": "first", "type": "set", "config": {"values": {"name": "{{ input.names[3] }}"}}},
        {"id": "greet", "type": "set", "config": {"values": {"text": "Hello {{ nodes.first.name }}"}}},
    ],
    "edges": [{"from": "first", "to": "greet"}],
    "output": {"text": "{{ nodes.greet.text }}"},
}
MENDED = [{"op": "replace", "path": "/nodes/0/config/values/name", "value": "{{ input.names[0] }}"}]


async def test_a_patch_that_does_not_hold_is_refused_by_replay_and_one_that_does_is_offered(
    house: House, url: str, model: ModelServer
) -> None:
    await house.publish(FAILING)
    failed = await house.run("greeter", {"names": ["Ada"]})
    assert failed.state == "failed"
    wrong = [{"op": "replace", "path": "/nodes/0/config/values/name", "value": "{{ input.names[2] }}"}]
    model.turns.extend(
        turns(
            ("get_run", {"run_id": failed.id, "view": "trace"}),
            ("fix_run", {"run_id": failed.id, "patch": wrong}),
            ("fix_run", {"run_id": failed.id, "patch": MENDED}),
            ("edit_workflow", {"workflow": "greeter", "base_revision": 1, "patch": MENDED}),
            end="It takes the first name now.",
        )
    )
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"fix run {failed.id}", allow=True)
    assert heard.tools() == ["get_run", "fix_run", "fix_run", "edit_workflow"], heard.all("tool")
    refused, held = (one["result"] for one in heard.all("tool") if one["name"] == "fix_run" and one["state"] == "succeeded")
    assert (refused["ok"], "patch" in refused) == (False, False)
    assert refused["reason"] == "the failing step still fails: input.names has no index 2; its length is 1"
    assert held["ok"] is True
    assert held["next"].startswith('edit_workflow(workflow="greeter", base_revision=1')
    [asked] = [one for one in heard.all("approval") if one["state"] == "open"]
    assert asked["tool"] == "edit_workflow", "trying asks nobody, changing does"
    assert "+      name: '{{ input.names[0] }}'" in heard.one("diff")["diff"]
    assert heard.one("diff")["diff"].startswith(f"(tried: run {failed.id}, replayed with this very patch, succeeds)")
    assert (await authoring.get(house.runtime, house.actor(), "greeter")).draft["nodes"][0]["config"]["values"][
        "name"
    ] == "{{ input.names[0] }}"


async def test_a_patch_that_was_not_replayed_is_offered_with_these_words(house: House, url: str, model: ModelServer) -> None:
    await house.publish(FAILING)
    failed = await house.run("greeter", {"names": ["Ada"]})
    edit = ("edit_workflow", {"workflow": "greeter", "base_revision": 1, "patch": MENDED})
    model.turns.extend(turns(("get_run", {"run_id": failed.id, "view": "trace"}), edit, end="Then not."))
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"fix run {failed.id}", allow=False)
    [asked] = [one for one in heard.all("approval") if one["state"] == "open"]
    for shown in (heard.one("diff")["diff"], asked["description"]):
        assert f"(NOT tried: run {failed.id} failed" in shown


OTHER = [*MENDED, {"op": "add", "path": "/description", "value": "Greets."}]


async def test_after_fix_run_only_the_patch_that_it_verified_is_offered_and_applied(
    house: House, url: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.publish(FAILING)
    failed = await house.run("greeter", {"names": ["Ada"]})
    wrong = [{"op": "replace", "path": "/nodes/0/config/values/name", "value": "{{ input.names[2] }}"}]

    def edit(patch: Any, revision: int = 1, workflow: str = "greeter") -> tuple[str, dict[str, Any]]:
        return "edit_workflow", {"workflow": workflow, "base_revision": revision, "patch": patch}

    saved = await authoring.get(house.runtime, house.actor(), "greeter")
    model.turns.extend(
        turns(
            ("fix_run", {"run_id": failed.id, "patch": wrong}),
            edit(wrong),  # not ok
            ("fix_run", {"run_id": failed.id, "patch": MENDED}),
            edit(OTHER),  # more than what was tried
            edit(OTHER, workflow=saved.id),  # by its other name
            edit(MENDED, 2),  # for another revision
            edit(MENDED),
            edit([OTHER[-1]], 2),  # one more
            end="It takes the first name now.",
        )
    )
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"fix run {failed.id}", allow=True)
        [asked] = [one for one in heard.all("approval") if one["state"] == "open"]
        assert "names[0]" in heard.one("diff")["diff"], "the person sees the verified patch, and no other one"
        results = [json.dumps(message) for message in model.asked[-1]["messages"]]
        assert sum("not_verified" in result for result in results) == 5
        assert any("has verified no patch" in result for result in results)
        assert any("base_revision=1" in result and "names[0]" in result for result in results), "it is told which one"
        draft = await authoring.get(house.runtime, house.actor(), "greeter")
        assert (draft.revision, draft.draft["nodes"][0]["config"]["values"]["name"]) == (2, "{{ input.names[0] }}")
        assert "description" not in draft.draft
        model.turns.extend(turns(edit([OTHER[-1]], 2), end="Described."))
        later = await say(client, "And describe it", allow=True, chat=heard.one("chat")["chat"])
        assert later.tools() == ["edit_workflow"]
    assert (await authoring.get(house.runtime, house.actor(), "greeter")).draft["description"] == "Greets."
    assert asked["tool"] == "edit_workflow"

    async def tried(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(fixes, "tried", tried)  # a replay decides as it was decided, whatever is found now
    replayed = await replaying.replay(house.runtime, house.actor("builder"), heard.one("chat")["run_id"])
    assert replayed.equal, replaying.report_of(replayed)


async def test_a_trial_that_failed_has_verified_nothing(house: House, url: str, model: ModelServer) -> None:
    await house.publish(FAILING)
    failed = await house.run("greeter", {"names": ["Ada"]})
    other = "00000000-0000-0000-0000-000000000000"
    edit = ("edit_workflow", {"workflow": "greeter", "base_revision": 1, "patch": MENDED})
    model.turns.extend(turns(("fix_run", {"run_id": failed.id, "patch": [{"op": "remove", "path": "/nowhere"}]}), edit, end="Then not."))
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"fix run {failed.id}", allow=True)
        assert "has verified no patch" in json.dumps(model.asked[-1]["messages"])
        assert heard.all("approval") == []
        assert (await authoring.get(house.runtime, house.actor(), "greeter")).revision == 1
        model.turns.extend(turns(("fix_run", {"run_id": other, "patch": MENDED}), edit, end="Done."))
        await say(client, "Mend it", allow=True)
    assert (await authoring.get(house.runtime, house.actor(), "greeter")).revision == 2, "a run of no workflow is nobody's trial"


async def test_a_patch_sent_beside_the_trial_of_it_is_refused_although_a_person_agreed(house: House, url: str, model: ModelServer) -> None:
    await house.publish(FAILING)
    failed = await house.run("greeter", {"names": ["Ada"]})
    beside = [
        ("fix_run", {"run_id": failed.id, "patch": MENDED}),
        ("edit_workflow", {"workflow": "greeter", "base_revision": 1, "patch": MENDED}),
    ]
    model.turns.extend([Turn(text="", calls=tuple(beside)), *turns(end="I wait.")])
    async with http(url, house.keys["builder"]) as client:
        heard = await say(client, f"fix run {failed.id}", allow=True)
    assert heard.tools() == ["fix_run"]
    assert "fix_run is called beside this" in json.dumps(model.asked[-1]["messages"])
    assert (await authoring.get(house.runtime, house.actor(), "greeter")).revision == 1
