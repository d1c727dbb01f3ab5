"""The REST door: what its document promises is what it does, from a definition to a finished run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from graphs.inputs import problems
from server.app import OPERATIONS
from store import identities
from store.errors import Unavailable
from tests.server.conftest import House, http
from tests.server.samples import ASK, FAILS, HELLO, LISTEN

pytestmark = pytest.mark.anyio
ECHO: dict[str, Any] = {
    "name": "echo",
    "nodes": [{"id": "a", "type": "set", "config": {"values": {"v": "{{ input.v }}"}}}],
    "output": "{{ nodes.a.v }}",
}


async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    return (await client.get("/api/v1/openapi.json")).json()


class Checked:
    """A client that holds every answer to the OpenAPI document."""

    def __init__(self, client: httpx2.AsyncClient, promised: dict[str, Any]) -> None:
        self._client, self._promised = client, promised
        self.seen: set[str] = set()

    async def ask(
        self, name: str, body: Any = None, /, *, status: int | None = None, headers: dict[str, str] | None = None, **where: Any
    ) -> Any:
        """Calls an operation by its name; `where` fills the path, and the rest of it the query."""
        [operation] = [item for item in OPERATIONS if item.name == name]
        path = operation.path.replace(":path", "")
        query = {key: value for key, value in where.items() if f"{{{key}}}" not in path}
        answer = await self._client.request(operation.method, path.format(**where), json=body, params=query, headers=headers)
        assert answer.status_code == (status or operation.status), (name, answer.text)
        described = self._promised["paths"][path][operation.method.lower()]["responses"][str(answer.status_code)]
        schema = {**described["content"]["application/json"]["schema"], "components": self._promised["components"]}
        found = answer.json()
        assert problems(schema, found) == [], (name, found)
        self.seen.add(name)
        return found


@pytest.fixture
async def api(house: House, url: str) -> Any:
    async with http(url, house.keys["owner"]) as client:
        yield Checked(client, await document(client))


async def test_a_workflow_goes_from_definition_to_finished_run(api: Checked) -> None:
    assert (await api.ask("validateWorkflow", {"definition": HELLO}))["valid"]
    assert (await api.ask("createWorkflow", {"definition": HELLO}))["revision"] == 1
    patch = [{"op": "replace", "path": "/description", "value": "Greets."}]
    assert (await api.ask("editWorkflow", {"patch": patch, "base_revision": 1}, name="hello-world"))["revision"] == 2
    assert (await api.ask("publishWorkflow", {"note": "first"}, name="hello-world"))["version"] == 1
    assert (await api.ask("getWorkflow", name="hello-world", version=1))["definition"]["description"] == "Greets."
    assert (await api.ask("listVersions", name="hello-world"))["versions"][0]["note"] == "first"
    assert (await api.ask("listWorkflows", search="hello"))["total"] == 1
    run = await api.ask("startRun", {"workflow": "hello-world", "input": {"name": "Ada"}, "wait_seconds": 20})
    assert (run["state"], run["output"]) == ("succeeded", {"text": "Hello Ada"})
    assert (await api.ask("getRun", run_id=run["run_id"]))["output"] == {"text": "Hello Ada"}
    assert [step["state"] for step in (await api.ask("getTrace", run_id=run["run_id"]))["steps"]] == ["succeeded"]
    assert (await api.ask("getNode", run_id=run["run_id"], node="greet"))["output"] == {"text": "Hello Ada"}
    assert (await api.ask("getEvents", run_id=run["run_id"]))["events"]
    assert (await api.ask("listRuns", workflow="hello-world"))["runs"][0]["run_id"] == run["run_id"]


async def test_a_person_and_an_event_move_a_run_on(api: Checked, house: House) -> None:
    await house.publish(ASK)
    await house.publish(LISTEN)
    run = await api.ask("startRun", {"workflow": "ask-first", "input": {"what": "it"}, "wait_seconds": 20})
    assert run["waiting_for"][0]["kind"] == "task"
    [task] = (await api.ask("listTasks", run_id=run["run_id"]))["tasks"]
    assert (await api.ask("getTask", task_id=task["task_id"]))["title"] == "Do it?"
    await api.ask("answerTask", {"answer": {"approved": "yes"}}, status=422, task_id=task["task_id"])
    assert (await api.ask("answerTask", {"answer": {"approved": True}, "comment": "fine"}, task_id=task["task_id"]))["state"] == "answered"
    await api.ask("answerTask", {"answer": {"approved": True}}, status=409, task_id=task["task_id"])
    assert (await api.ask("getRun", run_id=run["run_id"], wait_seconds=20))["output"] == {"did": "it"}
    run = await api.ask("startRun", {"workflow": "listen", "input": {"order": "A-1"}, "wait_seconds": 20})
    event = {"name": "paid", "correlation": "A-1", "payload": {"amount": 5}}
    assert (await api.ask("sendEvent", event, headers={"Idempotency-Key": "e1"}))["runs_woken"] == 1
    assert (await api.ask("sendEvent", event, headers={"Idempotency-Key": "e1"}))["duplicate"]
    assert (await api.ask("getRun", run_id=run["run_id"], wait_seconds=20))["output"] == {"amount": 5}


async def test_a_run_is_steered(api: Checked, house: House) -> None:
    await house.publish(ASK)
    run = await api.ask("startRun", {"workflow": "ask-first", "input": {"what": "it"}, "wait_seconds": 20})
    assert (await api.ask("controlRun", {"action": "pause"}, run_id=run["run_id"]))["state"] == "paused"
    await api.ask("controlRun", {"action": "retry"}, status=409, run_id=run["run_id"])
    await api.ask("controlRun", {"action": "resume"}, run_id=run["run_id"])
    await api.ask("controlRun", {"action": "cancel"}, run_id=run["run_id"])
    assert (await api.ask("getRun", run_id=run["run_id"], wait_seconds=20))["state"] == "cancelled"


async def test_an_idempotency_key_makes_a_start_harmless_to_repeat(api: Checked, house: House) -> None:
    await house.publish(HELLO)
    body = {"workflow": "hello-world", "input": {"name": "Ada"}}
    key = {"Idempotency-Key": "order-17"}
    starts = await asyncio.gather(*(api.ask("startRun", body, headers=key) for _ in range(5)))
    assert len({start["run_id"] for start in starts}) == 1
    other = {"workflow": "hello-world", "input": {"name": "Bob"}}
    await api.ask("startRun", other, status=409, headers=key)
    await api.ask("startRun", body, status=422, headers={"Idempotency-Key": "x" * 201})


async def test_the_stream_tells_every_event_once_and_ends_with_the_run(house: House, url: str) -> None:
    await house.publish(ASK)
    run = await house.run("ask-first", {"what": "it"})
    async with http(url, house.keys["owner"]) as client:
        live = {"Accept": "text/event-stream"}
        path = f"/api/v1/runs/{run.id}/events"

        async def answered() -> None:
            task = run.waiting_for[0]["task_id"]
            await client.post(f"/api/v1/tasks/{task}/answer", json={"answer": {"approved": True}})

        told: list[tuple[str, str, Any]] = []
        async with asyncio.timeout(30), client.stream("GET", path, headers=live) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            answering = asyncio.create_task(answered())
            told = [item async for item in _events(stream)]
            await answering
        assert told[-1][1] == "end"
        assert told[-1][2]["state"] == "succeeded"
        listed = (await client.get(path)).json()["events"]
        assert [item[2] for item in told[:-1]] == listed
        async with asyncio.timeout(30), client.stream("GET", path, headers={**live, "Last-Event-ID": told[2][0]}) as stream:
            assert [item[0] for item in [item async for item in _events(stream)]][:-1] == [item[0] for item in told[3:-1]]
        assert (await client.get(path, headers={**live, "Last-Event-ID": "x"})).status_code == 422
        assert (await client.get("/api/v1/runs/nope/events", headers=live)).status_code == 404


async def _events(stream: httpx2.Response) -> AsyncIterator[tuple[str, str, Any]]:
    """(id, event, data) of a server-sent stream."""
    fields: dict[str, str] = {}
    async for line in stream.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])
            fields = {}


async def test_requests_that_are_not_right_are_told_why(api: Checked, house: House) -> None:
    await house.publish(FAILS)
    wrong: dict[str, Any] = {**HELLO, "nodes": [{"id": "greet", "type": "sett", "config": {}}]}
    refused = await api.ask("createWorkflow", {"definition": wrong}, status=422)
    assert refused["error"]["details"]["problems"]
    assert "'workflow'" in (await api.ask("startRun", {"workflw": "x"}, status=422))["error"]["message"]
    assert "did you mean" in (await api.ask("listRuns", status=422, workflo="x"))["error"]["message"]
    assert "Did you mean fails" in (await api.ask("startRun", {"workflow": "failz"}, status=404))["error"]["message"]
    await api.ask("listRuns", status=422, cursor="nonsense")
    await api.ask("listRuns", status=422, limit="many")
    await api.ask("createWorkflow", {"definition": FAILS}, status=409)
    assert (await api.ask("startRun", {"workflow": "fails", "wait_seconds": 20}))["error"]["message"] == "as told"


async def test_bodies_that_are_not_json_are_refused_with_a_sentence(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        for content in (
            b"",
            b"{",
            b"[]",
            b'"x"',
            b"\xff\xfe",
            b'{"workflow": NaN}',
            b"[" * 100_000,
            b'{"workflow": ' + b"1" * 5_000 + b"}",
        ):
            answer = await client.post("/api/v1/runs", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, content[:20]
            assert answer.json()["error"]["code"] == "invalid"
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            answer = await client.post("/api/v1/runs", content=b'{"workflow": "x"}', headers={"Content-Type": kind})
            assert answer.status_code == 422, kind
        assert (await client.request("GET", "/api/v1/runs", content=b'{"limit": 1}')).status_code == 422
        for text in ("\ud800", "\0", "a" * 100, "../x", "%00"):
            body = json.dumps({"workflow": text}).encode()
            answer = await client.post("/api/v1/runs", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (404, 422), text


async def test_whatever_json_says_comes_back_the_same(house: House, url: str) -> None:
    await house.publish(ECHO)
    async with http(url, house.keys["owner"]) as client:
        values: list[Any] = [
            None,
            True,
            0,
            -0.5,
            1e300,
            12345678901234567890,
            "\ud800",
            "\0",
            "é\u2028",
            [],
            {"": {"lc": 1, "type": "constructor"}},
        ]
        for value in values:
            body = json.dumps({"workflow": "echo", "input": {"v": value}, "wait_seconds": 20}).encode()
            answer = await client.post("/api/v1/runs", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 201, (value, answer.text)
            assert json.loads(answer.content)["output"] == value, value


async def test_nesting_is_carried_or_refused_and_never_breaks(house: House, url: str) -> None:
    await house.publish(ECHO)
    async with http(url, house.keys["owner"]) as client:
        for depth in (50, 150, 400, 900, 5_000):
            value = '{"a":' * depth + "1" + "}" * depth
            body = '{"workflow": "echo", "wait_seconds": 20, "input": {"v": ' + value + "}}"
            answer = await client.post("/api/v1/runs", content=body.encode(), headers={"Content-Type": "application/json"})
            assert answer.status_code in (201, 422), (depth, answer.text[:300])
            assert answer.status_code == 201 or depth > 100, answer.text[:300]


async def test_a_database_that_is_gone_is_said_in_a_sentence(house: House, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*args: Any, **options: Any) -> Any:
        raise Unavailable("Postgres does not answer; try again.")

    monkeypatch.setattr(identities.Keys, "verify", gone)
    async with http(url, house.keys["owner"]) as client:
        for path in ("/api/v1/runs", "/mcp"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
        assert (await client.get("/healthz")).status_code == 200


async def test_unknown_paths_and_methods_have_the_same_form_of_error(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        assert (await client.get("/nowhere")).json()["error"]["code"] == "not_found"
        answer = await client.delete("/api/v1/runs")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
        assert (await client.get("/.well-known/oauth-protected-resource", headers={"Authorization": ""})).status_code == 404


async def test_health_is_open_and_tells_little(house: House, url: str) -> None:
    async with http(url, None) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"postgres": "ok", "schema": "ok"}})


async def test_the_document_names_every_operation(house: House, url: str) -> None:
    async with http(url, house.keys["viewer"]) as client:
        promised = await document(client)
    named = {operation["operationId"] for path in promised["paths"].values() for operation in path.values()}
    assert named == {operation.name for operation in OPERATIONS}
    for path in promised["paths"].values():
        for operation in path.values():
            names = [parameter["name"] for parameter in operation["parameters"]]
            assert not [name for name in names if name.startswith(("tenant", "org", "namespace"))]
    text = json.dumps(promised["components"])
    assert '"org_id"' not in text
    assert '"tenant"' not in text
