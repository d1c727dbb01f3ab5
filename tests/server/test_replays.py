"""Replays at the doors: REST and MCP, with the rights and the organization of who asks."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from mcp import Client

from graphs import authoring, cassettes, memories
from graphs.memories import Remembrance, Selection
from tests.server.conftest import House, connected, http, told

pytestmark = pytest.mark.anyio
FLOW: dict[str, Any] = {
    "name": "adds",
    "nodes": [
        {"id": "one", "type": "set", "config": {"values": {"n": "{{ input.n }}"}}},
        {"id": "pause", "type": "wait", "config": {"seconds": 0.01}},
        {"id": "two", "type": "set", "config": {"values": {"n": "{{ nodes.one.n + 1 }}"}}},
    ],
    "edges": [{"from": "one", "to": "pause"}, {"from": "pause", "to": "two"}],
    "input": {"type": "object", "properties": {"n": {}}},
}
BROKEN = {
    **FLOW,
    "name": "breaks",
    "nodes": [*FLOW["nodes"][:2], {"id": "two", "type": "set", "config": {"values": {"n": "{{ nodes.one.n[5] }}"}}}],
}
RIGHT = [{"op": "replace", "path": "/nodes/2/config/values/n", "value": "{{ nodes.one.n }}"}]
WRONG = [{"op": "replace", "path": "/nodes/2/config/values/n", "value": "{{ nodes.one.n[4] }}"}]


def draft(n: str) -> dict[str, Any]:
    return {**FLOW, "nodes": [*FLOW["nodes"][:2], {"id": "two", "type": "set", "config": {"values": {"n": n}}}]}


async def test_rest_replays_a_run_on_its_own_definition_a_draft_and_a_version(house: House, url: str) -> None:
    name = await house.publish(FLOW)
    run = await house.run(name, {"n": 1})
    async with http(url, house.keys["builder"]) as client:
        same = (await client.post(f"/api/v1/runs/{run.id}/replay", json={})).json()
        assert same["equal"] is True
        assert same["digest"] == same["recorded_digest"]
        assert (await client.post(f"/api/v1/runs/{run.id}/replay", json={"version": 1})).json()["equal"] is True
        assert (await client.post(f"/api/v1/runs/{run.id}/replay", json={"workflow": name})).json()["equal"] is True
        other = (await client.post(f"/api/v1/runs/{run.id}/replay", json={"definition": draft("{{ nodes.one.n + 2 }}")})).json()
        assert other["equal"] is False
        first = other["first_divergence"]
        assert (first["position"], first["pointer"], first["what"]) == ("two", "/nodes/2", "config")
        assert (first["expected"], first["got"]) == ({"values": {"n": 2}}, {"values": {"n": 3}})
        assert first["patch"] == [{"op": "replace", "path": "/values/n", "value": 3}]
        both = await client.post(f"/api/v1/runs/{run.id}/replay", json={"definition": FLOW, "version": 1})
        assert both.status_code == 422


async def test_rest_hands_out_a_cassette_as_lines(house: House, url: str) -> None:
    run = await house.run(await house.publish(FLOW), {"n": 1})
    async with http(url, house.keys["builder"]) as client:
        got = await client.get(f"/api/v1/runs/{run.id}/cassette")
    assert got.headers["content-type"].startswith("application/x-ndjson")
    assert [one.position for one in cassettes.of_lines(got.text.splitlines()).tried] == ["one", "pause", "two"]


async def test_rest_offers_a_fix_only_when_it_holds(house: House, url: str) -> None:
    run = await house.run(await house.publish(BROKEN), {"n": 1})
    assert run.state == "failed"
    async with http(url, house.keys["builder"]) as client:
        right = (await client.post(f"/api/v1/runs/{run.id}/fix", json={"patch": RIGHT})).json()
        assert right["ok"] is True, right
        assert right["patch"] == RIGHT
        assert right["workflow"] == "breaks"
        assert right["repro"]["nodes"] == 2
        wrong = (await client.post(f"/api/v1/runs/{run.id}/fix", json={"patch": WRONG})).json()
        assert wrong["ok"] is False
        assert wrong["patch"] is None
        assert "still fails" in wrong["reason"]
        guard = [
            {"op": "add", "path": "/nodes/-", "value": {"id": "rate", "type": "http", "config": {"url": "https://rates.example/"}}},
            {"op": "add", "path": "/edges/-", "value": {"from": "pause", "to": "rate"}},
            {"op": "replace", "path": "/edges/1/from", "value": "rate"},
            {"op": "replace", "path": "/nodes/2/config/values/n", "value": "{{ nodes.rate.body.rate * 2 }}"},
        ]
        answer = {"status": 200, "ok": True, "headers": {}, "body": {"rate": 2}}
        added = (await client.post(f"/api/v1/runs/{run.id}/fix", json={"patch": guard, "mocks": {"rate": answer}})).json()
        assert (added["ok"], added["simulated"]) == (True, ["rate"]), added
        assert "nobody knows what 1 step would have come to" in added["reason"]
        misled = (
            await client.post(f"/api/v1/runs/{run.id}/fix", json={"patch": guard, "mocks": {"rate": {**answer, "body": None}}})
        ).json()
        assert misled["ok"] is False
        scripted = (await client.post(f"/api/v1/runs/{run.id}/fix", json={})).json()  # a model that proposes samples
        assert (scripted["ok"], scripted["rounds"], scripted["patch"]) == (False, 3, None)


@pytest.mark.promise("P3")
async def test_who_may_not_author_is_refused_and_strangers_find_nothing(house: House, stranger: House, url: str) -> None:
    run = await house.run(await house.publish(FLOW), {"n": 1})
    calls: list[tuple[str, str, Any]] = [("POST", "replay", {}), ("GET", "cassette", None), ("POST", "fix", {"patch": RIGHT})]
    for method, what, body in calls:
        for role in ("viewer", "operator"):
            async with http(url, house.keys[role]) as client:
                assert (await client.request(method, f"/api/v1/runs/{run.id}/{what}", json=body)).status_code == 403
        async with http(url, stranger.keys["owner"]) as client:
            assert (await client.request(method, f"/api/v1/runs/{run.id}/{what}", json=body)).status_code == 404


async def test_test_workflow_repeats_a_past_run_and_says_where_it_parts(house: House, url: str) -> None:
    name = await house.publish(FLOW)
    run = await house.run(name, {"n": 1})
    async with connected(url, house.keys["builder"]) as client:
        same = await called(client, from_run=run.id)
        assert same["equal"] is True
        assert (await called(client, from_run=run.id, workflow=name))["equal"] is True
        parted = await called(client, from_run=run.id, definition=draft("{{ nodes.one.n + 2 }}"))
        assert parted["equal"] is False
        assert parted["first_divergence"]["pointer"] == "/nodes/2"
        assert parted["next"] == f'get_run(run_id="{parted["run_id"]}", view="trace")'
        broken = await house.run(await house.publish(BROKEN), {"n": [1]})
        failed = await called(client, from_run=broken.id, workflow="breaks")
        assert (failed["equal"], failed["state"]) == (True, "failed")
        assert failed["next"].startswith("get_run"), "what still fails is not to be published"
        refused = await client.call_tool("test_workflow", {"from_run": run.id, "input": {"n": 2}})
        assert refused.is_error
        missing = await client.call_tool("test_workflow", {"from_run": "01a1fe82-0000-7000-8000-000000000000"})
        assert missing.is_error


async def test_what_the_prompt_fix_run_says_mends_a_run(house: House, url: str) -> None:
    name = await house.publish(BROKEN)
    run = await house.run(name, {"n": 1})
    async with connected(url, house.keys["builder"]) as client:
        found = told(await client.call_tool("get_workflow", {"workflow": name, "view": "definition", "version": run.version}))["definition"]
        failed = await called(client, from_run=run.id, definition=authoring.patched(found, WRONG))
        assert failed["state"] == "failed"
        holds = await called(client, from_run=run.id, definition=authoring.patched(found, RIGHT))
        assert (holds["state"], holds["first_divergence"]["position"]) == ("succeeded", "two")
        revision = told(await client.call_tool("get_workflow", {"workflow": name}))["revision"]
        told(await client.call_tool("edit_workflow", {"workflow": name, "patch": RIGHT, "base_revision": revision}))
        told(await client.call_tool("publish_workflow", {"workflow": name}))
        fork = {"run_id": run.id, "action": "fork", "node": "two", "version": "active"}
        forked = told(await client.call_tool("control_run", fork))
        assert told(await client.call_tool("get_run", {"run_id": forked["run_id"], "wait_seconds": 20}))["state"] == "succeeded"


async def called(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("test_workflow", arguments)
    assert not result.is_error, result.content
    found: Any = result.structured_content
    return found


async def refused(url: str, key: str, run_id: str) -> list[str]:
    """What each door says of a run that cannot be replayed."""
    async with http(url, key) as client:
        answers = [
            await client.post(f"/api/v1/runs/{run_id}/replay", json={}),
            await client.get(f"/api/v1/runs/{run_id}/cassette"),
            await client.post(f"/api/v1/runs/{run_id}/fix", json={"patch": RIGHT}),
        ]
    assert [answer.status_code for answer in answers] == [409] * 3, [answer.text for answer in answers]
    return [answer.json()["error"]["message"] for answer in answers]


async def test_a_run_of_which_words_were_forgotten_is_not_replayed_and_says_so(house: House, url: str) -> None:
    access = memories.access(house.runtime, house.actor())
    said = "Zebulunka keeps the spare key under the third stone."
    kept = await memories.remember(access, Remembrance(text=said))
    run = await house.run(await house.publish(BROKEN), {"n": said[:3], "note": said})
    gone = await memories.forget(access, Selection(ids=kept.kept.created))
    assert gone.runs == [run.id]
    for message in await refused(url, house.keys["builder"], run.id):
        assert message == "words of this run were forgotten, so its journal no longer says what happened: it cannot be replayed"


async def test_a_run_whose_journal_is_gone_is_not_replayed_and_says_so(house: House, url: str, admin_url: str) -> None:
    run = await house.run(await house.publish(BROKEN), {"n": "abc"})
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as admin:
        await admin.execute("DELETE FROM weft.node_runs WHERE run_id = %s", (run.id,))
    for message in await refused(url, house.keys["builder"], run.id):
        assert message == "the journal of this run is not kept any more (retention): it cannot be replayed"
