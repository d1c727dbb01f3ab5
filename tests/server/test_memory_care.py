"""What keeps memories at the doors: a model that reads them shows in the answer, and the runs that keep them are started over HTTP."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from graphs import runs
from graphs.embedders import BuiltIn
from graphs.models import Models
from tests.models.loopback import Turn, model_server
from tests.server.conftest import House, connected, http, served, told

pytestmark = pytest.mark.anyio
PATH = "/api/v1/memories"
ANSWER = {"entities": [], "facts": [{"subject": "I", "predicate": "lives_in", "object": "Kyoto"}], "episodes": []}


async def test_what_a_model_read_is_said_at_every_door(house: House) -> None:
    from server.app import create_app

    with model_server() as vendor:
        vendor.turns.extend([Turn(text=json.dumps(ANSWER))] * 2)
        runtime = replace(house.runtime, models=Models(replace(vendor.openai(), memory="auto"), house.runtime.outbound))
        async with served(create_app(runtime, house.settings)) as address:
            async with connected(address, house.keys["operator"]) as client:
                kept = told(await client.call_tool("remember", {"text": "Ich wohne in Kyoto.", "speaker": "Ann", "origin": "user"}))
                assert (kept["concluded_by"], kept["usage"]) == ("model openai:tiny", {"input_tokens": 11, "output_tokens": 7})
            async with http(address, house.keys["operator"]) as client:
                answer = await client.post(PATH, json={"text": "J'habite à Kyoto.", "speaker": "Ann"})
                assert answer.json()["concluded_by"] == "model openai:tiny"
                plain = await client.post(PATH, json={"kind": "fact", "item": {"subject": "a", "predicate": "b", "object": "c"}})
                assert "concluded_by" not in plain.json()
        assert len(vendor.asked) == 2


async def test_consolidation_is_started_over_http_and_answers_with_its_run(house: House, url: str) -> None:
    async with http(url, house.keys["operator"]) as client:
        for number in range(5):
            await client.post(PATH, json={"text": f"On day {number} Ann visited temple {number} in Kyoto.", "speaker": "Ann"})
        started = await client.post(f"{PATH}/consolidate")
        assert started.status_code == 201, started.text
        run = await runs.wait(house.runtime, house.actor("operator"), started.json()["run_id"], seconds=20)
        assert run.state == "succeeded", run.error
        found = (await client.get(PATH, params={"kind": "summary"})).json()["memories"]
        assert [one["scope"] if "scope" in one else one["session"] for one in found] == ["main"]
    async with http(url, house.keys["viewer"]) as client:
        assert (await client.get(PATH, params={"kind": "summary"})).json()["memories"] == []


async def test_re_embedding_is_started_over_http_by_who_may(house: House) -> None:
    from server.app import create_app

    async with served(create_app(replace(house.runtime, embedder=BuiltIn()), house.settings)) as address:
        async with http(address, house.keys["operator"]) as client:
            refused = await client.post(f"{PATH}/reembed")
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
        async with http(address, house.keys["owner"]) as client:
            first = await client.post(f"{PATH}/reembed")
            assert first.status_code == 201
            assert first.json()["input"] == {"model": "static:static-minilm-256"}
    async with served(create_app(house.runtime, house.settings)) as address, http(address, house.keys["owner"]) as client:
        none = await client.post(f"{PATH}/reembed")
        assert none.status_code == 400 or none.status_code == 422, none.text
        assert "WEFT_EMBEDDER" in none.text
