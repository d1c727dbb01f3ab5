"""Circuits and rate limits at the doors: seen, reset and limited by those who may."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from mcp import Client, MCPError

from graphs.inputs import problems
from graphs.outbound.breaker import THRESHOLD, Failed, after
from server.app import OPERATIONS
from store import circuits as rows
from tests.server.conftest import House, http

pytestmark = pytest.mark.anyio
TARGET = "https://api.example.com"
PATH = "/api/v1/circuits"


async def opened(house: House, target: str = TARGET) -> None:
    for _ in range(THRESHOLD):
        await rows.change(house.tenant, target, lambda found: after(found, Failed(call="x", error="no answer"), found.now), make=True)


async def fits(client: httpx2.AsyncClient, answer: httpx2.Response, name: str) -> Any:
    """The answer, held to the OpenAPI document."""
    promised = (await client.get("/api/v1/openapi.json")).json()
    [operation] = [item for item in OPERATIONS if item.name == name]
    described = promised["paths"][operation.path.replace(":path", "")][operation.method.lower()]["responses"]["200"]
    schema = {**described["content"]["application/json"]["schema"], "components": promised["components"]}
    assert answer.status_code == 200, answer.text
    assert problems(schema, answer.json()) == []
    return answer.json()


async def test_a_circuit_is_seen_and_reset_by_its_target_however_it_is_written(house: House, url: str) -> None:
    async with http(url, house.keys["operator"]) as client:
        for written in (TARGET, quote(TARGET, safe=""), "https:/api.example.com", TARGET + ":443"):
            await opened(house)
            [shown] = (await fits(client, await client.get(PATH, params={"state": "open"}), "listCircuits"))["circuits"]
            assert (shown["target"], shown["failures"], shown["last_error"]) == (TARGET, THRESHOLD, "no answer")
            assert shown["retry_at"] > shown["opened_at"]
            found = await fits(client, await client.post(f"{PATH}/{written}/reset"), "resetCircuit")
            assert (found["state"], found["failures"], found["times_opened"]) == (
                "closed",
                0,
                1 if written == TARGET else found["times_opened"],
            )
        assert (await client.get(PATH, params={"state": "open"})).json() == {"circuits": [], "total": 0, "next_cursor": None}


async def test_a_rate_limit_is_set_changed_and_removed(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as client:
        limit = f"{PATH}/{TARGET}/limit"
        found = await fits(client, await client.put(limit, json={"rate": "600/min"}), "limitCircuit")
        assert (found["rate"], found["burst"], found["state"]) == ("600/min", 10, "closed")
        assert (await client.put(limit, json={"rate": "10/s", "burst": 3})).json()["burst"] == 3
        assert "rate" not in await fits(client, await client.request("DELETE", limit), "unlimitCircuit")
        assert (await client.request("DELETE", limit)).status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"rate": "fast"}, {"rate": "10/s", "burst": 0}, {"rate": "0/s"}, {"rate": 10}, {"rate": "10/s", "brust": 1}]
)
async def test_a_limit_that_is_none_is_refused(house: House, url: str, body: Any) -> None:
    async with http(url, house.keys["owner"]) as client:
        assert (await client.put(f"{PATH}/{TARGET}/limit", json=body)).status_code == 422
        assert (await client.put(f"{PATH}/nothing/limit", json={"rate": "10/s"})).status_code == 422
        assert (await client.get(PATH)).json()["total"] == 0


async def test_who_may_only_look_may_not_reset_and_who_may_run_may_not_limit(house: House, url: str) -> None:
    await opened(house)
    for role, reset, limit in (("viewer", 403, 403), ("operator", 200, 403), ("builder", 200, 200)):
        async with http(url, house.keys[role]) as client:
            assert (await client.get(PATH)).json()["total"] == 1
            assert (await client.post(f"{PATH}/{TARGET}/reset")).status_code == reset
            assert (await client.put(f"{PATH}/{TARGET}/limit", json={"rate": "10/s"})).status_code == limit


async def test_the_list_comes_in_pages(house: House, url: str) -> None:
    for number in range(5):
        await opened(house, f"https://{number}.example.com")
    async with http(url, house.keys["viewer"]) as client:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = (await client.get(PATH, params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
            seen += [item["target"] for item in page["circuits"]]
            assert page["total"] == 5
            if (cursor := page["next_cursor"]) is None:
                break
    assert seen == [f"https://{number}.example.com" for number in range(5)]


async def test_a_reset_at_the_door_is_known_to_this_process_at_once(house: House, url: str) -> None:
    await opened(house)
    gate = house.runtime.outbound.of(house.tenant).gate
    assert gate is not None
    from graphs.nodetype import Failure

    with pytest.raises(Failure, match="is open"):
        await gate.enter(TARGET, 1.0)
    async with http(url, house.keys["owner"]) as client:
        await client.post(f"{PATH}/{TARGET}/reset")
    async with await gate.enter(TARGET, 1.0):
        pass


async def test_circuits_are_a_resource(house: House) -> None:
    await opened(house)
    async with Client(house.server("viewer")) as client:
        for state, number in (("all", 1), ("open", 1), ("closed", 0)):
            [content] = (await client.read_resource(f"weft://circuits/{state}")).contents
            assert json.loads(getattr(content, "text"))["total"] == number  # noqa: B009
        with pytest.raises(MCPError):
            await client.read_resource("weft://circuits/ajar")
