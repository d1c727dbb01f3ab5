"""An export that is imported is what it was, but for ids; again, or tampered with, it is no more than that."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from memory import kinds
from memory.export import export
from memory.remember import remember
from memory.restoring import Restore, header
from memory.writing import Desk, Provenance
from store import entities, facts, memories
from store.errors import Invalid
from store.memories import Scope
from store.postgres import Tenant

pytestmark = pytest.mark.anyio
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TOLD = datetime(2024, 5, 1, tzinfo=UTC)
Lines = list[dict[str, Any]]


async def scopes_of(tenant: Tenant) -> list[Scope]:
    return [
        await memories.make_scope(tenant, kind="organization", name="", user_id=None),
        await memories.make_scope(tenant, kind="conversation", name="trip", user_id=None),
    ]


async def exported(tenant: Tenant) -> Lines:
    return [json.loads(json.dumps(line)) async for line in export(tenant, await scopes_of(tenant))]


async def restored(tenant: Tenant, lines: Sequence[dict[str, Any]], *, most: int = 3, cut: int | None = None) -> Restore:
    """Imports an export; `cut`: only so many lines, as if it had been killed there."""
    here = {(scope.kind, scope.name): scope for scope in await scopes_of(tenant)}
    found = header(lines[0])
    assert found is not None
    within = {number: here[told["kind"], told["name"]] for number, told in found.items()}
    restore = Restore(tenant=tenant, scopes=within, most=most, user_id=None)
    numbered = list(enumerate(lines, 1))[:cut]
    async for _ in restore.rows(numbered):
        pass
    if cut is None:
        async for _ in restore.relations(numbered):
            pass
    return restore


def comparable(lines: Lines) -> list[str]:
    """The memories without ids of their own: each stands for what it says."""
    says = {one["id"]: f"{one['kind']} {one['digest']}" for one in lines[1:-1]}
    scopes = {scope["id"]: scope["kind"] for scope in lines[0]["scopes"]}
    found: list[str] = []
    for one in lines[1:-1]:
        kept = {name: value for name, value in one.items() if name not in ("created_by", "run_id")}
        for name in ("parents", "mentions"):
            kept[name] = sorted(says[parent] for parent in one.get(name, ()))
        text = json.dumps({**kept, "scope_id": scopes[one["scope_id"]]}, sort_keys=True)
        found.append(ID.sub(lambda match: says.get(match[0], match[0]), text))
    return sorted(found)


async def fill(tenant: Tenant) -> None:
    everybody, trip = await scopes_of(tenant)
    desk = Desk(tenant=tenant, scope=everybody, provenance=Provenance(source="chat", author="Ann", labels=("private",)))
    for text in ("I live in Paris.", "I moved to Rome.", "My sister lives in Oslo."):
        await remember(desk, text, speaker="Dora", at=TOLD)
    for place, since in (("Bergen", "2020-01-01T00:00:00Z"), ("Malmö", "2023-01-01T00:00:00Z")):
        await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": place, "valid_from": since, "relation": True})
    (wrong,) = [one for one in await facts.about(tenant, [everybody.id], ["ann"], always=True) if one.object == "bergen"]
    await facts.retract(tenant, [wrong.id], "it was never so")
    await kinds.keep(desk, "entity", {"name": "Zebulon Quick", "aliases": ["Zeb"], "attributes": {"age": 7}})
    await kinds.keep(desk, "entity", {"name": "Z. Quick"})
    one, other = [(await entities.called(tenant, [everybody.id], [name]))[0].id for name in ("z quick", "zebulon quick")]
    await entities.merge(tenant, everybody.id, one, other)
    await kinds.keep(desk, "episode", {"actor": "Ann", "action": "met", "object": "Zeb", "at": TOLD.isoformat()})
    await kinds.keep(desk, "rule", {"name": "quiet", "conditions": ["hour > 22"], "actions": ["whisper"]})
    await kinds.keep(desk, "graph", {"edges": [{"from": "Narvik", "to": "Kiruna", "type": "train", "weight": 2.5}]})
    web = Desk(tenant=tenant, scope=everybody, provenance=Provenance(origin="web", source="https://a.example"))
    for text in ("# Leave\n\nLeave is 30 days.", "# Leave\n\nLeave is 25 days. " + "And so on. " * 200):
        await kinds.keep(web, "document", {"text": text, "title": "Leave"})
    chat = Desk(tenant=tenant, scope=trip)
    kept = await kinds.keep(chat, "conversation", {"messages": [{"text": f"Message {number}", "role": "user"} for number in range(7)]})
    await kinds.keep(chat, "summary", {"text": "Seven messages.", "of": kept.created})


async def test_an_export_imported_into_an_empty_organization_is_what_it_was(tenant: Tenant, other_tenant: Tenant) -> None:
    await fill(tenant)
    lines = await exported(tenant)
    assert {one["kind"] for one in lines[1:-1]} == {
        *("turn", "summary", "entity", "episode", "fact", "rule", "node", "edge", "document", "chunk"),
    }
    assert any("merge" in one for one in lines)
    assert any("retracted_at" in one for one in lines)
    await restored(other_tenant, lines)
    again = await exported(other_tenant)
    assert comparable(again) == comparable(lines)
    assert not {one["id"] for one in again[1:-1]} & {one["id"] for one in lines[1:-1]}
    there = [scope.id for scope in await scopes_of(other_tenant)]
    assert [one.object for one in await facts.about(other_tenant, there, ["dora"], min_trust=2)] == ["rome"]
    assert [one.object for one in await facts.about(other_tenant, there, ["dora"], as_of=datetime(2024, 4, 1, tzinfo=UTC))] == []
    (found,) = await entities.read(other_tenant, [(await entities.called(other_tenant, there, ["z quick"]))[0].id])
    assert (found.name, len(found.merged)) == ("Zebulon Quick", 1)
    said = await kinds.keep(
        Desk(tenant=other_tenant, scope=(await scopes_of(other_tenant))[1]), "conversation", {"messages": [{"text": "Next"}]}
    )
    assert [one.seq for one in await memories.get(other_tenant, said.created)] == [8]


async def test_twice_or_from_where_it_was_cut_off_it_writes_nothing_twice(tenant: Tenant, other_tenant: Tenant) -> None:
    await fill(tenant)
    lines = await exported(tenant)
    await restored(other_tenant, lines, cut=len(lines) // 2)
    assert len(await exported(other_tenant)) == len(lines) // 2 + 1
    for _ in range(2):
        await restored(other_tenant, lines)
        assert comparable(await exported(other_tenant)) == comparable(lines)


async def test_imported_where_it_came_from_it_changes_nothing_and_brings_back_what_is_gone(tenant: Tenant) -> None:
    await fill(tenant)
    lines = await exported(tenant)
    await restored(tenant, lines)
    assert comparable(await exported(tenant)) == comparable(lines)
    chosen = next(one for one in lines if one.get("body") == "My sister lives in Oslo.")
    await memories.delete(tenant, [chosen["id"]])
    assert comparable(await exported(tenant)) != comparable(lines)
    await restored(tenant, lines)
    assert comparable(await exported(tenant)) == comparable(lines)


async def test_nothing_is_believed_more_than_the_file_its_origin_its_parents_or_the_importer_allow(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    await fill(tenant)
    lines = await exported(tenant)
    await restored(other_tenant, lines, most=1)
    assert {one["trust"] for one in (await exported(other_tenant))[1:-1]} == {1}
    for one in lines[1:-1]:
        one["trust"] = 3
        one["body"] += " Once more."
        one["id"] = one["id"][:-4] + "0000"
        one["digest"] = one["digest"][::-1]
    await restored(other_tenant, lines)
    added = [one for one in (await exported(other_tenant))[1:-1] if one["body"].endswith("Once more.")]
    assert {one["origin"]: one["trust"] for one in added} == {"user": 3, "inference": 2, "web": 1}


async def test_a_fact_that_contradicts_what_is_held_here_is_not_held_and_stays_in_the_history(tenant: Tenant, other_tenant: Tenant) -> None:
    await fill(tenant)
    here = (await scopes_of(other_tenant))[0]
    await kinds.keep(Desk(tenant=other_tenant, scope=here), "fact", {"subject": "Ann", "predicate": "lives in", "object": "Turin"})
    await restored(other_tenant, await exported(tenant))
    assert [one.object for one in await facts.about(other_tenant, [here.id], ["ann"], predicate="lives_in")] == ["turin"]
    history = await facts.history(other_tenant, [here.id], ["ann"])
    assert "contradicts what is known here" in {one.retraction for one in history}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "dream"}, "Line 2 is no memory as an export writes it: kind"),
        ({"trust": 9}, "trust"),
        ({"surprise": 1}, "surprise"),
        ({"scope_id": 99999}, "scope 99999"),
    ],
)
async def test_a_line_that_is_no_memory_is_told_by_its_number(
    tenant: Tenant, other_tenant: Tenant, change: dict[str, Any], words: str
) -> None:
    await kinds.keep(
        Desk(tenant=tenant, scope=(await scopes_of(tenant))[0]), "fact", {"subject": "Ann", "predicate": "likes", "object": "tea"}
    )
    first, second, *rest = await exported(tenant)
    with pytest.raises(Invalid, match=words):
        await restored(other_tenant, [first, {**second, **change}, *rest])


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("summary", {"data": {"level": "top", "text": "x"}}, "data.level"),
        ("summary", {"data": {"level": 1, "text": "x", "from_seq": 3}}, "from_seq and to_seq"),
        ("summary", {"data": None}, "data"),
        ("chunk", {"series": "not an id"}, "series"),
        ("chunk", {"data": {"start": -1, "end": "x"}}, "data.start"),
        ("entity", {"data": {"aliases": "Zeb", "attributes": []}}, "data.aliases"),
        ("fact", {"data": [1, 2]}, "data"),
        ("rule", {"data": {"name": "quiet", "actions": []}}, "data.actions"),
        ("episode", {"data": "said"}, "data"),
    ],
)
async def test_data_that_its_kind_could_not_read_is_refused_before_it_is_kept(
    tenant: Tenant, other_tenant: Tenant, kind: str, change: dict[str, Any], words: str
) -> None:
    await fill(tenant)
    lines = await exported(tenant)
    number = next(number for number, one in enumerate(lines[1:-1], 1) if one["kind"] == kind)
    with pytest.raises(Invalid, match=re.escape(words)) as refused:
        await restored(other_tenant, [*lines[:number], {**lines[number], **change}, *lines[number + 1 :]])
    assert f"Line {number + 1} " in refused.value.message


def test_an_export_of_another_form_is_refused() -> None:
    with pytest.raises(Invalid, match="form 2"):
        header({"weft": "memories", "version": 2, "scopes": []})
    assert header({"text": "a row"}) is None
