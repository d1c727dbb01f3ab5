"""Memory through the doors: what is remembered at one is recalled at every other, as quoted data, by those who may."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from mcp import Client, MCPError

from graphs import memories
from graphs.embedders import BuiltIn
from graphs.memories import Access, Remembrance, Wanted
from memory.embedding import Embedder, EmbeddingFailed
from tests.server.conftest import House, connected, http, text_of, told

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


async def test_with_the_built_in_embedder_other_words_for_the_same_are_found_and_the_answer_says_how(house: House) -> None:
    by_words = told_by(house, None)
    with_vectors = told_by(house, BuiltIn())
    await memories.remember(with_vectors, Remembrance(text="The doctor prescribed new medication for my headaches."))
    await memories.remember(with_vectors, Remembrance(text="The harbour opens at nine."))
    found = await memories.recall(with_vectors, Wanted(query="pills from a physician", k=1))
    assert found.how == "words and vectors"
    assert "medication" in found.recalled.hits[0].memory.body
    assert (await memories.recall(by_words, Wanted(query="medication"))).how.startswith("words only")


async def test_an_embedder_that_does_not_answer_costs_vectors_and_neither_memories_nor_answers(house: House) -> None:
    broken = told_by(house, Broken())
    kept = await memories.remember(broken, Remembrance(text="The parrot is called Bertrand."))
    found = await memories.recall(broken, Wanted(query="parrot"))
    assert found.recalled.hits[0].memory.id == kept.kept.id
    assert found.how == "words only: the embedder did not answer (no route to it)"


def told_by(house: House, embedder: Embedder | None) -> Access:
    return replace(memories.access(house.runtime, house.actor()), embedder=embedder)


class Broken(BuiltIn):
    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        raise EmbeddingFailed("no route to it", transient=True)


async def test_nothing_is_forgotten_before_the_count_is_repeated_and_then_nothing_is_left(house: House, url: str) -> None:
    async with connected(url, house.keys["operator"]) as client:
        await client.call_tool("remember", {"text": "My sister lives in Oslo.", "speaker": "Ann", "source": "https://a.example/1"})
        await client.call_tool("remember", {"text": "The harbour opens at nine."})
        chosen = {"action": "forget", "source": "https://a.example/1"}
        counted = told(await client.call_tool("remember", chosen))
        assert counted["count"] >= 1
        assert f"expect={counted['count']}" in counted["next"]
        assert "Oslo" in text_of(await client.call_tool("recall", {"query": "Oslo"}))
        wrong = await client.call_tool("remember", {**chosen, "expect": counted["count"] + 1})
        assert wrong.is_error
        gone = told(await client.call_tool("remember", {**chosen, "expect": counted["count"]}))
        assert gone["receipt_id"]
        assert "Oslo" not in text_of(await client.call_tool("recall", {"query": "Oslo"}))
    async with http(url, house.keys["operator"]) as client:
        head, *left, end = [json.loads(line) for line in (await client.get(f"{PATH}/export")).text.splitlines()]
        assert (head["weft"], end) == ("memories", {"weft": "end", "memories": len(left)})
        assert [item["body"] for item in left if item["kind"] == "turn"] == ["The harbour opens at nine."]
        assert (await client.delete(f"{PATH}/{left[0]['id']}")).json()["count"] >= 1
        assert (await client.get(f"{PATH}/{left[0]['id']}")).status_code == 404


async def test_ones_own_memories_are_ones_own_and_the_organizations_takes_the_role(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as mine, http(url, house.keys["operator"]) as other:
        kept = (await mine.post(PATH, json={"text": "My parrot is called Bertrand."})).json()
        shared = {"text": "The office has a parrot.", "scope": "organization", "labels": ["office"]}
        assert (await other.post(PATH, json=shared)).status_code == 403
        assert (await mine.post(PATH, json=shared)).status_code == 200
        seen = (await other.post(f"{PATH}/recall", json={"query": "parrot"})).json()["memories"]
        assert [hit["quote"] for hit in seen] == ["The office has a parrot."]
        assert (seen[0]["labels"], seen[0]["scope"]) == (["office"], "organization")
        assert (await other.get(f"{PATH}/{kept['created'][0]}")).status_code == 404
        assert (await other.delete(f"{PATH}/{kept['created'][0]}")).status_code == 404
        everything = (await other.get(PATH)).json()
        assert "Bertrand" not in str(everything)


async def test_a_fact_is_superseded_and_recalled_as_of_then(house: House) -> None:
    async with Client(house.server()) as client:
        for city, since in (("Oslo", "2024-01-01T00:00:00Z"), ("Bergen", "2026-01-01T00:00:00Z")):
            item = {"subject": "Ann", "predicate": "lives_in", "object": city, "valid_from": since}
            told(await client.call_tool("remember", {"kind": "fact", "item": item, "origin": "user"}))
        now = told(await client.call_tool("recall", {"query": "Where does Ann live?", "kinds": ["fact"]}))
        then = told(await client.call_tool("recall", {"query": "Where does Ann live?", "kinds": ["fact"], "as_of": "2025-01-01T00:00:00Z"}))
        assert "Bergen" in now["memories"][0]["quote"]
        assert "Oslo" in then["memories"][0]["quote"]


async def test_an_answer_of_many_long_memories_fits_and_goes_on(house: House) -> None:
    async with Client(house.server()) as client:
        for number in range(8):
            await client.call_tool("remember", {"text": f"Parrot number {number}. " + "It sings. " * 150})
        seen: set[str] = set()
        cursor = None
        for _ in range(10):
            result = await client.call_tool("recall", {"query": "parrot", "kinds": ["conversation"], "limit": 8, "cursor": cursor})
            assert len(text_of(result)) <= 8_000
            page = told(result)
            seen |= {hit["memory_id"] for hit in page["memories"]}
            if (cursor := page.get("next_cursor")) is None:
                break
        assert len(seen) == 8


async def test_memories_are_resources_of_who_may_read_them(house: House) -> None:
    async with Client(house.server("operator")) as client:
        kept = told(await client.call_tool("remember", {"text": "My parrot is called Bertrand."}))
        one = (await client.read_resource(f"weft://memory/items/{kept['created'][0]}")).model_dump_json()
        many = (await client.read_resource("weft://memory/kinds/conversation")).model_dump_json()
        assert "Bertrand" in one
        assert "Bertrand" in many
    async with Client(house.server("viewer")) as client:
        assert "Bertrand" not in (await client.read_resource("weft://memory/kinds/all")).model_dump_json()
        with pytest.raises(MCPError):
            await client.read_resource(f"weft://memory/items/{kept['created'][0]}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give a text"),
        ({"text": "x", "kind": "fact", "item": {}}, "one of the two"),
        ({"text": "x", "scope": "planet:earth"}, "planet"),
        ({"kind": "dream", "item": {"text": "x"}}, "no kind of memory named 'dream'"),
        ({"kind": "fact", "item": {"subjet": "x"}}, "subjet"),
        ({"text": "x", "at": "yesterday"}, "ISO 8601"),
        ({"text": "x", "expect": 3}, "forget"),
        ({"action": "forget"}, "exactly one way"),
        ({"action": "forget", "text": "x"}, "remember"),
    ],
)
async def test_a_wrong_call_is_told_what_is_wrong(house: House, arguments: dict[str, Any], words: str) -> None:
    async with Client(house.server()) as client:
        result = await client.call_tool("remember", arguments)
        assert result.is_error
        assert words in text_of(result)
