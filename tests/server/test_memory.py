"""Memory through the doors: what is remembered at one is recalled at every other, as quoted data, by those who may."""

from __future__ import annotations

import pytest

from tests.server.conftest import House, connected, http, told

pytestmark = pytest.mark.anyio
PATH = "/api/v1/memories"


async def test_what_is_remembered_by_mcp_is_recalled_by_mcp_and_http(house: House, url: str) -> None:
    async with connected(url, house.keys["operator"]) as client:
        kept = told(
            await client.call_tool(
                "remember",
                {
                    "text": "The parrot of the lighthouse is called Bertrand.",
                    "origin": "user",
                    "source": "chat",
                    "at": "2026-05-08T12:00:00Z",
                },
            )
        )
        assert kept["scope"] == "user"
        assert kept["created"]
        await client.call_tool("remember", {"text": "The harbour opens at nine."})
        found = told(await client.call_tool("recall", {"query": "What is the parrot called?"}))
        first = found["memories"][0]
        assert first["quote"] == "The parrot of the lighthouse is called Bertrand."
        assert (first["trust"], first["source"], first["at"][:10], first["scope"]) == ("said by a person", "chat", "2026-05-08", "user")
        assert first["why"]
        assert [first["quote"][start:end] for start, end in first["highlights"]]
        again = told(await client.call_tool("remember", {"text": "The harbour opens at nine."}))
        assert (again["created"], len(again["known"])) == ([], 1)
    async with http(url, house.keys["operator"]) as client:
        answer = await client.post(f"{PATH}/recall", json={"query": "parrot"})
        assert answer.json()["memories"][0]["quote"] == first["quote"]
        one = await client.get(f"{PATH}/{first['memory_id']}")
        assert one.json()["trust"] == "said by a person"
