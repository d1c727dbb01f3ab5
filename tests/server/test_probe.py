"""Somebody else's ids answer, byte for byte, like ids that do not exist: at every argument of every tool and every route."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from mcp import Client, MCPError

from graphs import circuits, memories, signals
from graphs.memories import Remembrance
from server.app import OPERATIONS
from server.tools import tool_files
from store.ids import new_id
from tests.server.conftest import House, http, text_of
from tests.server.samples import ASK, HELLO, LISTEN

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P3")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Ids and names of one organization, or made-up ones of the same form."""

    workflow: str
    workflow_id: str
    run_id: str
    task_id: str
    memory_id: str
    target: str = "https://nobody.example.com"

    def masked(self, text: str) -> str:
        """The text with our own ids and names taken out."""
        for value in (
            self.target,
            self.workflow_id,
            self.run_id,
            self.task_id,
            self.memory_id,
            self.workflow,
            self.workflow.replace("-", "_"),
        ):
            text = text.replace(value, "?")
        return re.sub(r'"(now|receipt_id)":"[^"]*"', "", text)


NOBODY = Names(workflow="ask-these", workflow_id=new_id(), run_id=new_id(), task_id=new_id(), memory_id=new_id())


@pytest.fixture
async def theirs(stranger: House) -> Names:
    """What another organization has."""
    from graphs import authoring

    name = await stranger.publish(ASK)
    await stranger.publish(LISTEN)
    run = await stranger.run(name, {"what": "it"})
    workflow = await authoring.get(stranger.runtime, stranger.actor(), name)
    target = "https://theirs.example.com"
    await circuits.limit(stranger.tenant, target, "10/s", None)
    text = Remembrance(text="The parrot of the lighthouse is called Bertrand.", scope="organization", source="chat")
    kept = await memories.remember(memories.access(stranger.runtime, stranger.actor()), text)
    ids = {"run_id": run.id, "task_id": run.waiting_for[0]["task_id"], "memory_id": kept.kept.id}
    return Names(workflow=name, workflow_id=workflow.id, target=target, **ids)


def calls(names: Names) -> list[tuple[str, dict[str, Any]]]:
    """Every tool with every argument that can name something."""
    patch = [{"op": "add", "path": "/description", "value": "x"}]
    found: list[tuple[str, dict[str, Any]]] = []
    for workflow in (names.workflow, names.workflow_id):
        found += [
            ("validate_workflow", {"name": workflow}),
            ("edit_workflow", {"workflow": workflow, "patch": patch, "base_revision": 1}),
            *(("get_workflow", {"workflow": workflow, "view": view}) for view in ("summary", "definition", "diagram", "diff", "versions")),
            ("get_workflow", {"workflow": workflow, "version": 1, "view": "definition"}),
            ("test_workflow", {"workflow": workflow, "input": {"what": "it"}}),
            ("publish_workflow", {"workflow": workflow}),
            ("start_run", {"workflow": workflow, "input": {"what": "it"}, "wait_seconds": 1}),
            ("start_run", {"workflow": workflow, "input": {"what": "it"}, "version": 1, "idempotency_key": "k"}),
            ("list_runs", {"workflow": workflow}),
        ]
    return [
        *found,
        ("list_workflows", {"search": names.workflow}),
        *(("get_run", {"run_id": names.run_id, "view": view}) for view in ("status", "trace", "events", "effects", "state")),
        ("get_run", {"run_id": names.run_id, "view": "state", "node": "ok@1", "moment": "after"}),
        ("get_run", {"run_id": names.run_id, "view": "diff", "node": "ok", "other": f"{names.run_id}@ok"}),
        ("get_run", {"run_id": names.run_id, "view": "payload", "node": "0" * 64}),
        ("get_run", {"run_id": names.run_id, "view": "node", "node": "ok"}),
        ("get_run", {"run_id": names.run_id, "wait_seconds": 0.1}),
        ("get_run", {"run_id": names.run_id, "view": "trace", "after": "ok@1"}),
        *(
            ("control_run", {"run_id": names.run_id, "action": action})
            for action in ("cancel", "pause", "resume", "retry", "requeue", "rerun")
        ),
        ("control_run", {"run_id": names.run_id, "action": "cancel", "compensate": True}),
        ("control_run", {"run_id": names.run_id, "action": "skip", "node": "ok", "output": 1}),
        ("control_run", {"run_id": names.run_id, "action": "fork", "node": "ok", "version": "draft"}),
        ("control_run", {"run_id": names.run_id, "action": "fork", "edits": {"ok": 1}, "vars": {"x": 1}, "input": {}, "version": 1}),
        *(("control_run", {"filter": {"workflow": workflow}, "action": "cancel"}) for workflow in (names.workflow, names.workflow_id)),
        ("control_run", {"filter": {"workflow": names.workflow}, "action": "cancel", "expect": 1}),
        ("list_tasks", {"run_id": names.run_id}),
        ("answer_task", {"task_id": names.task_id}),
        ("answer_task", {"task_id": names.task_id, "answer": {"approved": True}}),
        *(("recall", {"query": "What is the parrot called?", **more}) for more in ({}, {"scope": "organization"}, {"source": "chat"})),
        *(
            ("remember", {"action": "forget", **chosen, **more})
            for chosen in ({"ids": [names.memory_id]}, {"query": "parrot"}, {"source": "chat"}, {"subject": "Bertrand"})
            for more in ({}, {"expect": 1}, {"expect": 0})
        ),
        ("run_" + names.workflow.replace("-", "_"), {"what": "it"}),
    ]


async def answered(client: Client, name: str, arguments: dict[str, Any]) -> str:
    try:
        return text_of(await client.call_tool(name, arguments))
    except MCPError as error:
        return f"{error.error.code} {error.error.message}"


async def test_every_tool_tells_nothing_of_another_organization(house: House, theirs: Names) -> None:
    await house.publish(HELLO)
    assert {name for name, _ in calls(NOBODY) if name in tool_files()} == {
        name
        for name, file in tool_files().items()
        if {"workflow", "name", "run_id", "task_id", "search", "query"} & set(file.run.__annotations__)
    } - {"send_event", "find_node_types"}
    async with Client(house.server()) as client:
        for (name, foreign), (same, absent) in zip(calls(theirs), calls(NOBODY), strict=True):
            told = theirs.masked(await answered(client, name, foreign))
            assert told == NOBODY.masked(await answered(client, same, absent)), (name, foreign)


async def test_every_route_tells_nothing_of_another_organization(house: House, theirs: Names, url: str) -> None:
    bodies: dict[str, Any] = {
        "editWorkflow": {"patch": [{"op": "add", "path": "/description", "value": "x"}], "base_revision": 1},
        "publishWorkflow": {},
        "controlRun": {"action": "cancel"},
        "answerTask": {"answer": {"approved": True}},
        "limitCircuit": {"rate": "5/s"},
        "approveRemoteTools": {"tools": [{"name": "echo", "digest": "0" * 64}]},
        "disableRemoteTools": {"tools": ["echo"]},
        "uploadSpec": {"document": {"openapi": "3.1.0", "paths": {}}},
        "putModel": {},
        "replayRun": {},
        "changeChat": {"title": "x"},
        "editMessage": {"message": "x"},
        "answerAgain": {},
        "changeConnection": {"description": "x"},
        "setConnectionSecret": {"value": "0123456789"},
        "fixRun": {"patch": [{"op": "add", "path": "/description", "value": "x"}]},
    }
    async with http(url, house.keys["owner"]) as client:

        async def told(names: Names, operation: Any) -> tuple[int, str]:
            ids = {"name": names.workflow_id, "run_id": names.run_id, "task_id": names.task_id, "node": "ok", "digest": "0" * 64}
            ids |= {
                "memory_id": names.memory_id,
                "tool": "echo",
                "position": "ok",
                "field": "token",
                "chat": names.run_id,
                "message": names.run_id,
            }
            ids["target"] = names.target
            ids["model"] = f"openai:{names.workflow_id}"
            path = operation.path.replace(":path", "").format(**ids)
            own = {"approveInChat": {"task_id": names.task_id, "approved": True}}  # which names another thing besides
            answer = await client.request(operation.method, path, json=own.get(operation.name, bodies.get(operation.name)))
            return answer.status_code, names.masked(answer.text)

        free = {"limitCircuit": 200, "putModel": 200, "testModel": 422}  # limits and models can be set for anything
        new = ("saveAgent", "linkConnection")  # make something of one's own, under any name
        probed = sorted((item for item in OPERATIONS if "{" in item.path and item.name not in new), key=lambda item: item.name in free)
        for operation in probed:
            found = await told(theirs, operation)
            assert found == await told(NOBODY, operation), operation.name
            assert found[0] == free.get(operation.name, 404), operation.name
        for names in (theirs, NOBODY):
            for workflow in (names.workflow, names.workflow_id):
                answer = await client.post("/api/v1/runs", json={"workflow": workflow, "input": {"what": "it"}})
                assert answer.status_code == 404


async def test_resources_prompts_and_completions_tell_nothing_either(house: House, theirs: Names) -> None:
    from mcp.types import ResourceTemplateReference

    async with Client(house.server()) as client:
        for path in (
            "workflows/{workflow}",
            "workflows/{workflow_id}/diagram",
            "runs/{run_id}",
            "runs/{run_id}/trace",
            "memory/items/{memory_id}",
        ):
            told: list[str] = []
            for names in (theirs, NOBODY):
                values = {
                    "workflow": names.workflow,
                    "workflow_id": names.workflow_id,
                    "run_id": names.run_id,
                    "memory_id": names.memory_id,
                }
                with pytest.raises(MCPError) as failure:
                    await client.read_resource(f"weft://{path.format(**values)}")
                told.append(names.masked(failure.value.error.model_dump_json()))
            assert told[0] == told[1]
            assert '"code":-32602' in told[0]
        for uri, argument, value in (
            ("weft://workflows/{name}", "name", theirs.workflow[:3]),
            ("weft://runs/{run_id}", "run_id", theirs.run_id[:8]),
        ):
            found = await client.complete(ResourceTemplateReference(type="ref/resource", uri=uri), {"name": argument, "value": value})
            assert found.completion.values == []
        assert not [item for item in (await client.list_resources()).resources if theirs.workflow in str(item.uri)]
        assert theirs.target not in (await client.read_resource("weft://circuits/all")).model_dump_json()


async def test_an_event_wakes_nobody_elsewhere_and_keys_do_not_meet(house: House, stranger: House) -> None:
    await stranger.publish(LISTEN)
    run = await stranger.run("listen", {"order": "A-1"})
    arguments = {"name": "paid", "correlation": "A-1", "payload": {"amount": 1}, "idempotency_key": "same"}
    await signals.send(stranger.runtime, stranger.actor(), name="other", idempotency_key="same")
    async with Client(house.server()) as client:
        result = await client.call_tool("send_event", arguments)
        assert result.structured_content is not None
        assert (result.structured_content["runs_woken"], result.structured_content["duplicate"]) == (0, False)
    async with Client(stranger.server()) as client:
        status = await client.call_tool("get_run", {"run_id": run.id})
        assert status.structured_content is not None
        assert status.structured_content["state"] == "waiting"


async def test_a_run_is_not_compared_with_one_of_another_organization(house: House, theirs: Names) -> None:
    await house.publish(HELLO)
    mine = await house.run("hello-world", {"name": "Ada"})
    async with Client(house.server()) as client:
        for other in ("{}", "{}@ok", "{}@greet@1"):
            arguments = {"run_id": mine.id, "view": "diff", "node": "greet"}
            foreign = await answered(client, "get_run", {**arguments, "other": other.format(theirs.run_id)})
            absent = await answered(client, "get_run", {**arguments, "other": other.format(NOBODY.run_id)})
            assert theirs.masked(foreign) == NOBODY.masked(absent)
            assert "there is no run" in foreign


async def test_a_large_value_is_read_only_through_a_run_that_has_it(house: House, stranger: House) -> None:
    large = {**HELLO, "nodes": [{"id": "greet", "type": "set", "config": {"values": {"text": "{{ input.name }}"}}}]}
    for somebody in (house, stranger):
        await somebody.publish(large)
    run, foreign, small = [
        await one.run("hello-world", {"name": name}) for one, name in ((house, "x" * 70_000), (stranger, "y" * 70_000), (house, "z"))
    ]
    async with Client(stranger.server()) as client:
        shown = await client.call_tool("get_run", {"run_id": foreign.id, "view": "node", "node": "greet"})
        assert shown.structured_content is not None
        digest = shown.structured_content["output_ref"]["digest"]
        assert "yyyy" in await answered(client, "get_run", {"run_id": foreign.id, "view": "payload", "node": digest})
    async with Client(house.server()) as client:
        for own in (run, small):
            assert "no value with the digest" in await answered(client, "get_run", {"run_id": own.id, "view": "payload", "node": digest})


async def test_runs_of_another_organization_are_not_counted_nor_steered_by_a_filter(house: House, theirs: Names, stranger: House) -> None:
    mine = await house.publish(ASK)
    run = await house.run(mine, {"what": "it"})
    async with Client(house.server()) as client:
        counted = await client.call_tool("control_run", {"filter": {"workflow": mine}, "action": "cancel"})
        assert counted.structured_content is not None
        assert (counted.structured_content["count"], counted.structured_content["first"]) == (1, [run.id])
        await client.call_tool("control_run", {"filter": {"older_than": "0s"}, "action": "cancel", "expect": 1})
    async with Client(stranger.server()) as client:
        assert '"state":"waiting"' in await answered(client, "get_run", {"run_id": theirs.run_id})
