"""The main job as real clients do it: against real processes, over HTTP and stdio, in every protocol revision that clients speak, by people
whom the client can ask and by people whom it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx2
import jsonpatch
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult, ListToolsResult

from tests.conformance.suite import Suite, installed
from tests.process import conftest as processes
from tests.process.conftest import ROOT, Installation, surroundings
from tests.server.conftest import text_of
from tests.server.typescript import TypeScriptClient, typescript_client

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180)]
kept = processes.kept
installation = processes.installation

REVISIONS = pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25", "2026-07-28"])
TRANSPORTS = pytest.mark.parametrize("transport", ["http", "stdio"])
SECONDS = 60.0


class Speaker(Protocol):
    """A client, whoever wrote it."""

    @property
    def protocol_version(self) -> str | None: ...

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> CallToolResult: ...

    async def list_tools(self) -> ListToolsResult: ...


@asynccontextmanager
async def python_client(
    installation: Installation, transport: str, revision: str, patch: pytest.MonkeyPatch, **options: Any
) -> AsyncGenerator[Client]:
    """The Python SDK as a client with a Weft process of its own."""
    mode: Any = "legacy" if revision < "2026" else revision
    # The SDK always asks for the latest revision that has a handshake; a client of 2025-06-18 differs in what it asks for.
    patch.setattr("mcp.client.session.LATEST_HANDSHAKE_VERSION", revision if revision < "2026" else "2025-11-25")
    options = {"mode": mode, "read_timeout_seconds": SECONDS, **options}
    if transport == "stdio":
        async with Client(StdioServerParameters(**stdio(installation)), **options) as client:
            yield client
        return
    with installation.process("serve", "--port", "0") as server:
        headers = {"Authorization": f"Bearer {installation.key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
            Client(streamable_http_client(f"{server.url}/mcp", http_client=http), **options) as client,
        ):
            yield client


def stdio(installation: Installation) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-m", "server", "mcp"], "env": surroundings(installation.data_dir), "cwd": str(ROOT)}


def refund(name: str) -> dict[str, Any]:
    """A workflow with a slip: a template names a step that is called otherwise."""
    return {
        "name": name,
        "description": "Refunds an order when a person agrees.",
        "input": {
            "type": "object",
            "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
            "required": ["order", "amount"],
        },
        "nodes": [
            {"id": "total", "type": "set", "config": {"values": {"text": "{{ input.order }}: {{ input.amount }} €"}}},
            {"id": "agree", "type": "approval", "config": {"title": "Refund {{ nodes.totl.text }}?"}},
            {"id": "refund", "type": "set", "config": {"values": {"refunded": "{{ input.amount }}"}}},
        ],
        "edges": [{"from": "total", "to": "agree"}, {"from": "agree", "to": "refund", "when": "nodes.agree.approved"}],
        "output": {"refunded": "{{ nodes.refund.refunded }}", "comment": "{{ nodes.agree.comment }}"},
    }


def told(result: CallToolResult) -> dict[str, Any]:
    """What a tool said: to the model of one client as structure, to that of another as text, and the same in both."""
    assert not result.is_error, text_of(result)
    assert json.loads(text_of(result)) == result.structured_content
    assert result.structured_content is not None
    return result.structured_content


def assert_asked_once(asked: Sequence[ElicitRequestParams]) -> None:
    (question,) = asked
    assert isinstance(question, ElicitRequestFormParams)
    assert question.message == "Refund A-7: 30 €?"
    assert question.requested_schema["required"] == ["approved"]


async def author(client: Speaker, name: str) -> None:
    """Writes, mends, tests and publishes the workflow."""
    definition = refund(name)
    found = told(await client.call_tool("validate_workflow", {"definition": definition}))
    assert not found["valid"]
    definition = jsonpatch.apply_patch(definition, found["problems"][0]["patch"])
    assert told(await client.call_tool("validate_workflow", {"definition": definition}))["valid"]
    told(await client.call_tool("create_workflow", {"definition": definition}))
    given = {"workflow": name, "input": {"order": "A-7", "amount": 30}, "mocks": {"agree": {"approved": True, "comment": "tested"}}}
    tested = told(await client.call_tool("test_workflow", given))
    assert (tested["state"], tested["output"]) == ("succeeded", {"refunded": 30, "comment": "tested"})
    assert told(await client.call_tool("publish_workflow", {"workflow": name}))["version"] == 1
    assert f"run_{name.replace('-', '_')}" in {tool.name for tool in (await client.list_tools()).tools}


async def start(client: Speaker, name: str) -> tuple[str, str]:
    """Starts a run, twice with one key; its id and that of the question it asks."""
    call = {"workflow": name, "input": {"order": "A-7", "amount": 30}, "idempotency_key": f"{name}-A-7"}
    run_id: str = told(await client.call_tool("start_run", call))["run_id"]
    assert told(await client.call_tool("start_run", call))["run_id"] == run_id
    run = told(await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 20}))
    assert run["state"] == "waiting"
    return run_id, run["waiting_for"][0]["task_id"]


async def look_back(client: Speaker, run_id: str, comment: str) -> None:
    run = told(await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 20}))
    assert (run["state"], run["output"]) == ("succeeded", {"refunded": 30, "comment": comment})
    trace = told(await client.call_tool("get_run", {"run_id": run_id, "view": "trace"}))
    assert [(step["position"], step["state"]) for step in trace["steps"]] == [(step, "succeeded") for step in ("total", "agree", "refund")]


@REVISIONS
@TRANSPORTS
async def test_the_person_whom_the_client_asks_decides(
    installation: Installation, transport: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ElicitRequestParams] = []

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept", content={"approved": True, "comment": "a regular"})

    name = f"asked-{transport}-{revision}"
    async with python_client(installation, transport, revision, monkeypatch, elicitation_callback=person) as client:
        assert client.protocol_version == revision
        await author(client, name)
        run_id, task_id = await start(client, name)
        answered = told(await client.call_tool("answer_task", {"task_id": task_id}))
        assert answered["answer"] == {"approved": True, "comment": "a regular"}
        await look_back(client, run_id, "a regular")
    assert_asked_once(asked)


@REVISIONS
@TRANSPORTS
async def test_a_person_whom_the_client_cannot_ask_answers_through_the_model(
    installation: Installation, transport: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"unasked-{transport}-{revision}"
    async with python_client(installation, transport, revision, monkeypatch) as client:
        assert client.protocol_version == revision
        await author(client, name)
        await answer_by_argument(client, name)


async def answer_by_argument(client: Speaker, name: str) -> None:
    run_id, task_id = await start(client, name)
    unasked = await client.call_tool("answer_task", {"task_id": task_id})
    assert unasked.is_error
    assert "approved" in text_of(unasked), "the model is told which form the answer has"
    told(await client.call_tool("answer_task", {"task_id": task_id, "answer": {"approved": True, "comment": "by phone"}}))
    await look_back(client, run_id, "by phone")


# -- the same with a client that shares no code with the server ------------------------------------------------------------------------


@pytest.fixture
async def suite() -> Suite:
    return await installed()


@asynccontextmanager
async def foreign_client(
    suite: Suite, installation: Installation, transport: str, revision: str, answer: dict[str, Any] | None = None
) -> AsyncGenerator[TypeScriptClient]:
    """The TypeScript SDK as a client with a Weft process of its own."""
    if transport == "stdio":
        async with typescript_client(suite, revision, answer, **stdio(installation)) as client:
            yield client
        return
    with installation.process("serve", "--port", "0") as server:
        async with typescript_client(suite, revision, answer, url=f"{server.url}/mcp", key=installation.key) as client:
            yield client


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
@TRANSPORTS
async def test_a_typescript_client_asks_the_person(suite: Suite, installation: Installation, transport: str, revision: str) -> None:
    name = f"ts-asked-{transport}-{revision}"
    answer = {"approved": True, "comment": "a regular"}
    async with foreign_client(suite, installation, transport, revision, answer) as client:
        assert client.protocol_version == revision
        await author(client, name)
        run_id, task_id = await start(client, name)
        assert told(await client.call_tool("answer_task", {"task_id": task_id}))["answer"] == answer
        await look_back(client, run_id, "a regular")
        assert_asked_once(await client.asked())


@TRANSPORTS
async def test_a_typescript_client_that_cannot_ask_answers_through_the_model(
    suite: Suite, installation: Installation, transport: str
) -> None:
    async with foreign_client(suite, installation, transport, "2025-11-25") as client:
        await author(client, f"ts-unasked-{transport}")
        await answer_by_argument(client, f"ts-unasked-{transport}")
