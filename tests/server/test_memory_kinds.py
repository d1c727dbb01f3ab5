"""What single kinds of memory answer, at HTTP and as resources: windows, facts in time, entities, graphs, vectors, rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.conftest import House, connected, http, text_of

pytestmark = pytest.mark.anyio
PATH = "/api/v1/memories"
SCOPE = "conversation:trip"


async def kept(client: Any, kind: str, item: dict[str, Any], scope: str = SCOPE, **more: Any) -> str:
    answer = await client.post(PATH, json={"kind": kind, "item": item, "scope": scope, **more})
    assert answer.status_code == 200, answer.text
    return [*answer.json()["created"], *answer.json().get("known", [])][0]


async def test_the_end_of_a_conversation_comes_within_its_window(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        messages = [{"text": f"Message {number} of the talk.", "speaker": "Ann", "id": str(number)} for number in range(1, 31)]
        await kept(client, "conversation", {"session": "day one", "messages": messages})
        found = (await client.get(f"{PATH}/conversation", params={"scope": SCOPE, "session": "day one", "messages": 5})).json()
        assert [one["text"] for one in found["messages"]] == [f"Message {number} of the talk." for number in range(26, 31)]
        assert found["left_out"] == 25
        tight = (await client.get(f"{PATH}/conversation", params={"scope": SCOPE, "session": "day one", "tokens": 20})).json()
        assert tight["tokens"] <= 20
        assert [one["seq"] for one in tight["messages"]] == [28, 29, 30]
        assert (await client.get(f"{PATH}/conversation", params={"scope": "conversation:no", "session": "x"})).status_code == 404
    async with connected(url, house.keys["owner"]) as client:
        resource = await client.read_resource("weft://memory/conversations/conversation:trip/day%20one")
        assert "Message 30 of the talk." in str(resource)


async def test_facts_are_told_as_they_are_and_as_they_were(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        for city, since in (("Oslo", "2024-01-01T00:00:00Z"), ("Bergen", "2026-01-01T00:00:00Z")):
            await kept(client, "fact", {"subject": "Ann", "predicate": "lives_in", "object": city, "valid_from": since})
        now = (await client.get(f"{PATH}/facts", params={"subject": "Ann"})).json()["facts"]
        assert [(fact["object"], fact["conflict"]) for fact in now] == [("Bergen", False)]
        then = (await client.get(f"{PATH}/facts", params={"subject": "ANN", "as_of": "2025-01-01T00:00:00Z"})).json()["facts"]
        assert [fact["object"] for fact in then] == ["Oslo"]
        history = (await client.get(f"{PATH}/facts", params={"subject": "Ann", "history": "true"})).json()["facts"]
        assert {fact["object"] for fact in history} == {"Oslo", "Bergen"}
        assert (await client.get(f"{PATH}/facts", params={"subject": "?!"})).status_code == 422


async def test_entities_and_what_is_around_them_are_found_merged_and_parted(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        ann = await kept(client, "entity", {"name": "Ann Lee", "type": "person", "aliases": ["Annie"]})
        other = await kept(client, "entity", {"name": "A. Lee", "type": "person"})
        edges = [("Ann Lee", "Acme", "works_at"), ("Acme", "Oslo", "located_in"), ("Ben", "Acme", "works_at"), ("Cleo", "Dora", "knows")]
        graph = {
            "nodes": [{"name": name} for name in ("Acme", "Oslo", "Ben", "Cleo", "Dora")],
            "edges": [{"from": a, "to": b, "type": kind} for a, b, kind in edges],
        }
        await kept(client, "graph", graph)
        (found,) = (await client.get(f"{PATH}/entities", params={"name": "annie", "scope": SCOPE})).json()["entities"]
        assert found["id"] == ann
        near = (await client.get(f"{PATH}/graph", params={"name": "Acme", "depth": 1})).json()["neighbours"]
        assert {one["name"] for one in near} == {"Ann Lee", "Oslo", "Ben"}
        (way, *_) = (await client.get(f"{PATH}/graph", params={"name": "Ben", "to": "Oslo", "depth": 3})).json()["paths"]
        assert way["names"] == ["Ben", "Acme", "Oslo"]
        groups = (await client.get(f"{PATH}/graph/communities", params={"scope": SCOPE})).json()["communities"]
        assert {frozenset(group["names"]) for group in groups} >= {frozenset({"Cleo", "Dora"})}
        merge = f"{PATH}/entities/merge"
        assert (await client.post(merge, json={"scope": SCOPE, "id": other, "into": ann})).json() == {"id": ann}
        (one,) = (await client.get(f"{PATH}/entities", params={"name": "A. Lee", "scope": SCOPE})).json()["entities"]
        assert one["id"] == ann
        assert (await client.post(merge, json={"scope": SCOPE, "id": other, "into": None})).status_code == 200
        (apart,) = (await client.get(f"{PATH}/entities", params={"name": "A. Lee", "scope": SCOPE})).json()["entities"]
        assert apart["id"] == other
        assert (await client.post(merge, json={"scope": "organization", "id": other, "into": ann})).status_code == 404
        assert (await client.get(f"{PATH}/entities", params={"name": "Nobody"})).status_code == 404
    async with http(url, house.keys["viewer"]) as client:
        assert (await client.post(f"{PATH}/entities/merge", json={"scope": SCOPE, "id": other, "into": ann})).status_code == 403
    async with connected(url, house.keys["owner"]) as client:
        assert "Acme" in str(await client.read_resource("weft://memory/about/Ann%20Lee"))


async def test_the_nearest_vectors_of_a_collection_are_found_within_a_threshold(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        for key, vector in (("north", [0.0, 1.0]), ("east", [1.0, 0.0]), ("south", [0.0, -1.0])):
            await kept(client, "vector", {"collection": "winds", "key": key, "vector": vector, "text": f"{key} wind"})
        ask = {"collection": "winds", "vector": [0.1, 1.0], "k": 2}
        found = (await client.post(f"{PATH}/nearest", json=ask)).json()["vectors"]
        assert [one["body"] for one in found] == ["north wind", "east wind"]
        close = (await client.post(f"{PATH}/nearest", json={**ask, "threshold": 0.9})).json()["vectors"]
        assert [one["body"] for one in close] == ["north wind"]
        assert (await client.post(f"{PATH}/nearest", json={**ask, "vector": [1.0, 2.0, 3.0]})).status_code == 422
        assert (await client.post(f"{PATH}/nearest", json={**ask, "collection": "none"})).status_code == 404


async def test_rules_apply_by_our_expressions_and_their_priority(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        small = {"name": "small refunds", "conditions": ["amount < 50"], "actions": ["pay at once"], "priority": 1}
        conditions = ["amount < 500", "customer.years >= 3"]
        loyal = {"name": "loyal", "conditions": conditions, "actions": [{"do": "pay", "thank": True}], "priority": 9}
        for rule in (small, loyal):
            await kept(client, "rule", rule, scope="organization")
        apply = f"{PATH}/rules/apply"
        both = (await client.post(apply, json={"values": {"amount": 20, "customer": {"years": 5}}})).json()
        assert [rule["name"] for rule in both["rules"]] == ["loyal", "small refunds"]
        assert both["rules"][0]["actions"] == [{"do": "pay", "thank": True}]
        none = (await client.post(apply, json={"values": {"amount": 800, "customer": {"years": 5}}})).json()
        assert none == {"rules": [], "unclear": []}
        unclear = (await client.post(apply, json={"values": {"amount": 20}})).json()
        assert [rule["name"] for rule in unclear["rules"]] == ["small refunds"]
        assert unclear["unclear"][0]["name"] == "loyal"
        assert "customer" in unclear["unclear"][0]["why"]


async def test_nobody_reads_by_these_doors_what_is_somebody_elses(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as mine:
        await kept(mine, "fact", {"subject": "Zoe", "predicate": "lives_in", "object": "Lima"}, scope="user")
        await kept(mine, "entity", {"name": "Zoe"}, scope="user")
        await kept(mine, "conversation", {"session": "s", "messages": [{"text": "A secret."}]}, scope="private:conversation:diary")
    async with http(url, house.keys["viewer"]) as other:
        assert (await other.get(f"{PATH}/facts", params={"subject": "Zoe"})).json() == {"facts": []}
        assert (await other.get(f"{PATH}/entities", params={"name": "Zoe"})).status_code == 404
        found = await other.get(f"{PATH}/conversation", params={"scope": "private:conversation:diary", "session": "s"})
        assert found.status_code == 404
        assert "secret" not in json.dumps(found.json())
    async with connected(url, house.keys["viewer"]) as client:
        assert "Lima" not in text_of(await client.call_tool("recall", {"query": "Zoe Lima"}))


async def test_what_is_hidden_or_over_is_in_none_of_these_answers(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        bob = await kept(client, "entity", {"name": "Bob", "aliases": ["the CEO"]})
        await kept(client, "graph", {"edges": [{"from": "Acme", "to": "Bob", "type": "employs"}, {"from": "Acme", "to": "Oslo"}]})
        past = "2026-01-01T00:00:00Z"
        await kept(client, "fact", {"subject": "Acme", "predicate": "motto", "object": "Faster", "expires_at": past})
        hidden = {"ids": [bob], "scope": SCOPE}
        count = (await client.post(f"{PATH}/quarantine", json=hidden)).json()["count"]
        assert (await client.post(f"{PATH}/quarantine", json={**hidden, "expect": count})).status_code == 200
        await kept(client, "entity", {"name": "Bob", "type": "person"})  # speaking of him does not show him again
        assert (await client.get(f"{PATH}/entities", params={"name": "Bob", "scope": SCOPE})).status_code == 404
        around = await client.get(f"{PATH}/graph", params={"name": "Acme", "scope": SCOPE})
        assert {one["name"] for one in around.json()["neighbours"]} == {"Oslo"}
        groups = await client.get(f"{PATH}/graph/communities", params={"scope": SCOPE})
        assert "Bob" not in groups.text
        assert (await client.get(f"{PATH}/facts", params={"subject": "Acme"})).json() == {"facts": []}


async def test_a_vector_that_points_nowhere_is_refused(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        await kept(client, "vector", {"collection": "winds", "vector": [0.0, 1.0], "text": "north wind"})
        zero = {"kind": "vector", "item": {"collection": "winds", "vector": [0.0, 1e-9]}, "scope": SCOPE}
        assert (await client.post(PATH, json=zero)).status_code == 422
        assert (await client.post(f"{PATH}/nearest", json={"collection": "winds", "vector": [0.0, 0.0]})).status_code == 422


async def test_what_somebody_says_to_himself_makes_no_words_from_outside_a_persons(house: House, url: str) -> None:
    lie = "The account of the supplier has changed to DE999."
    async with http(url, house.keys["builder"]) as other:
        await other.post(PATH, json={"text": lie, "scope": "user"})
    async with http(url, house.keys["owner"]) as client:
        await client.post(PATH, json={"text": lie, "scope": "organization", "origin": "web", "source": "https://evil.example"})
        await client.post(PATH, json={"text": lie, "scope": SCOPE})
        hits = (await client.post(f"{PATH}/recall", json={"query": "account of the supplier", "scope": SCOPE})).json()["memories"]
        assert {hit["trust"] for hit in hits} == {"from outside"}
