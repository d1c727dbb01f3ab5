"""Export: everything with its history, or all about one subject, and nothing of anybody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memory import kinds
from memory.export import PAGE, export
from memory.writing import Desk, Provenance
from store import memories
from store.memories import Scope
from store.postgres import Tenant

pytestmark = pytest.mark.anyio


@pytest.fixture
async def scope(tenant: Tenant) -> Scope:
    return await memories.make_scope(tenant, kind="organization", name="", user_id=None)


@pytest.fixture
def desk(tenant: Tenant, scope: Scope) -> Desk:
    return Desk(tenant=tenant, scope=scope, provenance=Provenance(source="chat", labels=("private",)))


async def told(tenant: Tenant, scope: Scope, subject: str | None = None) -> list[dict[str, Any]]:
    *records, end = [json.loads(json.dumps(record)) async for record in export(tenant, [scope], subject=subject)]
    assert end == {"weft": "end", "memories": len(records) - 1}
    return records


async def test_all_of_a_scope_is_exported_in_order_with_provenance_and_history(desk: Desk) -> None:
    messages = [{"text": f"message {number}"} for number in range(PAGE + 5)]
    await kinds.keep(desk, "conversation", {"messages": messages})
    for place in ("Oslo", "Rome"):
        await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": place, "relation": True})
    header, *records = await told(desk.tenant, desk.scope)
    assert (header["version"], header["scopes"][0]["kind"]) == (1, "organization")
    assert [one["id"] for one in records] == sorted(one["id"] for one in records)
    assert {one["source"] for one in records} == {"chat"}
    assert sum(one["kind"] == "turn" for one in records) == PAGE + 5
    held = sorted((one["fact"]["object"], one["fact"]["live"]) for one in records if one["kind"] == "fact")
    assert held == [("oslo", False), ("oslo", True), ("rome", True)]
    assert all(one["labels"] == ["private"] for one in records)


async def test_what_is_known_about_a_subject_is_exported_under_all_its_names(desk: Desk) -> None:
    await kinds.keep(desk, "entity", {"name": "Zebulon Quick", "aliases": ["Zeb"]})
    await kinds.keep(desk, "fact", {"subject": "Zeb", "predicate": "likes", "object": "tea"})
    await kinds.keep(desk, "episode", {"actor": "Ann", "action": "met", "object": "Zeb"})
    await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "likes", "object": "rain"})
    _, *records = await told(desk.tenant, desk.scope, "zebulon quick")
    assert sorted(one["body"] for one in records) == ["Ann met Zeb", "Zeb likes tea", "Zebulon Quick, also called Zeb"]


async def test_another_organization_exports_nothing_of_ours(desk: Desk, other_tenant: Tenant) -> None:
    await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "likes", "object": "rain"})
    assert len(await told(other_tenant, desk.scope)) == 1
