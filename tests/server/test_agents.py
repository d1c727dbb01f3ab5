"""Agents at the HTTP door: profiles by those who may, agents at work and what they said, and nobody else's."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from graphs.inputs import problems
from server.app import OPERATIONS
from tests.engine.conftest import flow
from tests.server.conftest import House, http

pytestmark = pytest.mark.anyio
PATH = "/api/v1/agents"
ADD = {"node": "script", "name": "add", "config": {"code": "return 2"}}


async def fits(client: httpx2.AsyncClient, answer: httpx2.Response, name: str) -> Any:
    """The answer, held to the OpenAPI document."""
    promised = (await client.get("/api/v1/openapi.json")).json()
    [operation] = [item for item in OPERATIONS if item.name == name]
    described = promised["paths"][operation.path.replace(":path", "")][operation.method.lower()]["responses"]["200"]
    schema = {**described["content"]["application/json"]["schema"], "components": promised["components"]}
    assert answer.status_code == 200, answer.text
    assert problems(schema, answer.json()) == []
    return answer.json()


async def test_profiles_are_saved_listed_and_shown_in_their_versions(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        for number, system in enumerate(("one", "two"), 1):
            body = {"profile": {"system": system, "tools": [ADD]}, "description": "It adds.", "expect": number - 1}
            saved = await fits(client, await client.put(f"{PATH}/adder", json=body), "saveAgent")
            assert (saved["name"], saved["version"], saved["profile"]["system"]) == ("adder", number, system)
        listed = await fits(client, await client.get(PATH), "listAgents")
        assert [(item["name"], item["version"]) for item in listed["agents"]] == [("adder", 2)]
        first = await fits(client, await client.get(f"{PATH}/adder", params={"version": 1}), "getAgent")
        assert (first["profile"]["system"], first["created_by"]) == ("one", "Builder")
        versions = await fits(client, await client.get(f"{PATH}/adder/versions"), "listAgentVersions")
        assert [item["version"] for item in versions["versions"]] == [2, 1]
        late = await client.put(f"{PATH}/adder", json={"profile": {"system": "three"}, "expect": 1})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")
        wrong = await client.put(f"{PATH}/adder", json={"profile": {"tools": [{"node": "foreach"}]}})
        assert wrong.status_code == 422 or wrong.status_code == 400
        assert wrong.json()["error"]["details"]["problems"][0]["pointer"] == "/tools/0"


async def test_who_may_only_read_or_run_saves_no_profile(house: House, url: str) -> None:
    for role in ("viewer", "operator"):
        async with http(url, house.keys[role]) as client:
            assert (await client.put(f"{PATH}/adder", json={"profile": {}})).status_code == 403
            assert (await client.get(PATH)).status_code == 200


@pytest.mark.promise("P3")
async def test_another_organization_sees_no_profile_and_no_transcript(house: House, stranger: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        await client.put(f"{PATH}/adder", json={"profile": {"system": "secret plans"}})
    workflow = await house.publish(flow({"id": "a", "type": "agent", "config": {"prompt": "go", "model": "scripted"}}))
    run = await house.run(workflow)
    async with http(url, stranger.keys["owner"]) as client:
        assert (await client.get(PATH)).json()["agents"] == []
        missing = await client.get(f"{PATH}/adder")
        assert missing.status_code == 404
        assert "secret" not in missing.text
        assert (await client.get(f"/api/v1/runs/{run.id}/agents")).status_code == 404
        assert (await client.get(f"/api/v1/runs/{run.id}/agents/a/transcript")).status_code == 404


async def test_agents_of_a_run_and_what_was_said_can_be_seen(house: House, url: str) -> None:
    workflow = await house.publish(flow({"id": "a", "type": "agent", "config": {"prompt": "Say something.", "model": "scripted"}}))
    run = await house.run(workflow)
    assert run.state == "succeeded", run.error
    async with http(url, house.keys["viewer"]) as client:
        seen = await fits(client, await client.get(f"/api/v1/runs/{run.id}/agents"), "getRunAgents")
        (agent,) = seen["agents"]
        assert (agent["position"], agent["turns"], agent["calls"], agent["state"], agent["agents"]) == ("a", 1, 0, "succeeded", [])
        answer = await client.get(f"/api/v1/runs/{run.id}/agents/a/transcript")
        told = await fits(client, answer, "getAgentTranscript")
        assert [message["role"] for message in told["messages"]] == ["system", "user", "assistant"]
        assert told["messages"][1]["text"] == "Say something."
        assert told["output"]["text"] == told["messages"][2]["text"]
        nowhere = await client.get(f"/api/v1/runs/{run.id}/agents/b/transcript")
        assert nowhere.status_code == 404
        assert "There are agents at: a" in nowhere.text
