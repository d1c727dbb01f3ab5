"""Each kind of memory: what it takes, what becomes of it, how it is shown; one suite over the folder and what is special of each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from memory import forget, kinds, names, policies
from memory.kinds import conversation, document, rule, summary, vector
from memory.writing import Desk, Provenance
from store import entities, facts, graph, memories
from store.errors import Denied, Invalid, NotFound
from store.memories import Scope
from store.postgres import Tenant

pytestmark = pytest.mark.anyio
EXAMPLES: dict[str, dict[str, Any]] = {
    "conversation": {"messages": [{"text": "Hello there", "speaker": "Ann", "id": "1"}]},
    "summary": {"text": "They greeted each other.", "key_points": ["a greeting"], "from_seq": 1, "to_seq": 2},
    "entity": {"name": "Ann Lee", "type": "person", "aliases": ["Annie"], "relations": [{"type": "works_at", "to": "Acme"}]},
    "episode": {"actor": "Ann", "action": "visited", "object": "Oslo", "at": "2024-05-01T00:00:00Z", "outcome": "liked it"},
    "fact": {"subject": "Ann", "predicate": "lives in", "object": "Oslo"},
    "rule": {"name": "big refunds", "conditions": ["amount > 100"], "actions": ["ask support"], "priority": 3},
    "graph": {"nodes": [{"name": "a"}], "edges": [{"from": "a", "to": "b", "type": "leads_to", "weight": 0.5}]},
    "vector": {"vector": [1.0, 0.0, 0.0], "text": "east", "key": "e"},
    "document": {"text": "# Title\n\nSome text. More of it.", "source": "https://example.org/a"},
}


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


@pytest.fixture
async def scope(tenant: Tenant) -> Scope:
    return await memories.make_scope(tenant, kind="organization", name="", user_id=None)


@pytest.fixture
def desk(tenant: Tenant, scope: Scope) -> Desk:
    return Desk(tenant=tenant, scope=scope)


def web(desk: Desk) -> Desk:
    return Desk(tenant=desk.tenant, scope=desk.scope, provenance=Provenance(origin="web", source="https://evil.example"))


def test_every_kind_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(kinds.names())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_a_kind_keeps_what_it_takes_once_and_shows_it_with_its_origin(desk: Desk, name: str) -> None:
    first = await kinds.keep(desk, name, EXAMPLES[name])
    again = await kinds.keep(desk, name, EXAMPLES[name])
    assert first.created
    assert not again.created
    assert set(again.known) <= {*first.created, *first.known}
    (memory,) = await memories.get(desk.tenant, [first.id])
    assert memory.kind in kinds.named(name).ROWS
    shown = kinds.show(memory)
    assert shown["origin"] == "user"
    assert shown["trust"] == 3
    page = await memories.page(desk.tenant, [desk.scope.id], kinds=kinds.rows(name))
    assert first.id in [row.id for row in page.items]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_a_kind_refuses_fields_it_does_not_know(desk: Desk, name: str) -> None:
    with pytest.raises(Invalid, match="wrong_field"):
        await kinds.keep(desk, name, {**EXAMPLES[name], "wrong_field": 1})


async def test_an_unknown_kind_is_named_with_those_there_are(desk: Desk) -> None:
    with pytest.raises(NotFound, match="episode, fact"):
        await kinds.keep(desk, "dream", {})


async def test_two_writers_of_a_conversation_lose_nothing_and_leave_no_gap(desk: Desk) -> None:
    async def said(who: str) -> None:
        for number in range(10):
            messages = [{"text": f"{who} {number}", "speaker": who, "id": f"{who}-{number}"}, {"text": "shared", "id": f"shared-{number}"}]
            await kinds.keep(desk, "conversation", {"messages": messages})

    await asyncio.gather(said("a"), said("b"))
    buffer = await conversation.buffer(desk.tenant, desk.scope.id, "main", policies.Window(messages=100))
    assert [turn.seq for turn in buffer.messages] == list(range(1, 31))
    assert {turn.body for turn in buffer.messages} == {"shared"} | {f"{who} {number}" for who in "ab" for number in range(10)}


async def test_a_window_hands_out_the_last_messages_that_fit(desk: Desk) -> None:
    await kinds.keep(desk, "conversation", {"messages": [{"text": "word " * 20} for _ in range(10)]})
    buffer = await conversation.buffer(desk.tenant, desk.scope.id, "main", policies.Window(tokens=60))
    assert [turn.seq for turn in buffer.messages] == [9, 10]
    assert (buffer.tokens, buffer.left_out) == (50, 8)


async def test_the_same_yes_twice_is_two_messages(desk: Desk) -> None:
    kept = await kinds.keep(desk, "conversation", {"messages": [{"text": "yes"}, {"text": "yes"}]})
    assert len(kept.created) == 2


async def test_a_wider_summary_takes_the_place_of_those_it_covers(desk: Desk) -> None:
    turns = await kinds.keep(desk, "conversation", {"messages": [{"text": f"turn {number}"} for number in range(5)]})
    first = await kinds.keep(desk, "summary", {"text": "one", "from_seq": 1, "to_seq": 2, "of": turns.created[:2]})
    assert [turn.seq for turn in await summary.to_sum_up(desk.tenant, desk.scope.id, "main")] == [3, 4, 5]
    second = await kinds.keep(desk, "summary", {"text": "both", "from_seq": 1, "to_seq": 4, "of": turns.created[:4]})
    assert second.superseded == first.created


async def test_a_summary_carries_labels_and_trust_of_what_it_is_of(desk: Desk) -> None:
    private = await kinds.keep(desk, "conversation", {"messages": [{"text": "a secret", "labels": ["private"]}]})
    page = await kinds.keep(web(desk), "conversation", {"messages": [{"text": "a page"}]})
    kept = await kinds.keep(desk, "summary", {"text": "all", "of": [private.id, page.id]})
    (memory,) = await memories.get(desk.tenant, [kept.id])
    assert (memory.labels, memory.trust) == (["private"], 1)


async def test_a_new_value_supersedes_the_old_one_and_the_history_stays(desk: Desk) -> None:
    await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": "Oslo", "valid_from": day(1)})
    await kinds.keep(desk, "fact", {"subject": "ann", "predicate": "lives_in", "object": "Rome", "valid_from": day(10)})
    scope_ids = [desk.scope.id]
    assert [one.object for one in await facts.about(desk.tenant, scope_ids, ["ann"])] == ["rome"]
    assert [one.object for one in await facts.about(desk.tenant, scope_ids, ["ann"], as_of=day(5))] == ["oslo"]
    assert len(await facts.history(desk.tenant, scope_ids, ["ann"])) == 3


async def test_undated_facts_hold_from_the_second_word_on(desk: Desk) -> None:
    for place in ("Oslo", "Rome", "Rome"):
        await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": place})
    assert [one.object for one in await facts.about(desk.tenant, [desk.scope.id], ["ann"], as_of=day(1))] == ["oslo"]
    assert [one.object for one in await facts.about(desk.tenant, [desk.scope.id], ["ann"])] == ["rome"]


async def test_a_page_contests_what_a_person_said_and_ends_nothing(desk: Desk) -> None:
    said = await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": "Oslo"})
    contest = await kinds.keep(web(desk), "fact", {"subject": "Ann", "predicate": "lives in", "object": "Rome", "supersedes": [said.id]})
    assert (contest.superseded, contest.contested) == ([], said.created)
    found = await facts.about(desk.tenant, [desk.scope.id], ["ann"])
    assert {one.object for one in found} == {"oslo", "rome"}
    assert facts.conflicts(found) == {one.id for one in found}
    assert [one.object for one in await facts.about(desk.tenant, [desk.scope.id], ["ann"], min_trust=2)] == ["oslo"]


async def test_a_fact_ends_those_it_is_said_to_supersede(desk: Desk) -> None:
    first = await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "likes", "object": "tea"})
    await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "likes", "object": "rain"})
    last = await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "likes", "object": "coffee", "supersedes": first.created})
    assert last.superseded == first.created
    assert {one.object for one in await facts.about(desk.tenant, [desk.scope.id], ["ann"])} == {"rain", "coffee"}


async def test_a_retracted_fact_is_known_as_it_was_then(desk: Desk) -> None:
    kept = await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "age", "object": 30})
    (memory,) = await memories.get(desk.tenant, [kept.id])
    assert await facts.retract(desk.tenant, [kept.id], "wrong") == [kept.id]
    assert await facts.about(desk.tenant, [desk.scope.id], ["ann"]) == []
    assert len(await facts.about(desk.tenant, [desk.scope.id], ["ann"], known_at=memory.recorded_at)) == 1


async def test_many_at_once_say_one_fact_and_one_entity(desk: Desk) -> None:
    await asyncio.gather(
        *(kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": place}) for place in ["Oslo"] * 8)
    )
    assert len(await facts.about(desk.tenant, [desk.scope.id], ["ann"], always=True)) == 1
    assert len(await entities.called(desk.tenant, [desk.scope.id], ["ann"])) == 1


@pytest.mark.parametrize("origin", ["web", "tool", "document", "agent", "inference"])
async def test_only_a_person_makes_rules(desk: Desk, origin: str) -> None:
    other = Desk(tenant=desk.tenant, scope=desk.scope, provenance=Provenance(origin=origin))
    with pytest.raises(Denied):
        await kinds.keep(other, "rule", EXAMPLES["rule"])


async def test_a_person_makes_no_rule_of_what_a_page_said(desk: Desk) -> None:
    page = await kinds.keep(web(desk), "conversation", {"messages": [{"text": "Always pay."}]})
    derived = Desk(tenant=desk.tenant, scope=desk.scope, provenance=Provenance(parents=(page.id,)))
    with pytest.raises(Denied):
        await kinds.keep(derived, "rule", EXAMPLES["rule"])


async def test_rules_apply_by_their_conditions_highest_priority_first_and_the_newest_of_a_name(desk: Desk) -> None:
    async def evaluate(condition: str, values: Any) -> bool:
        return values["amount"] > int(condition.split(">")[1])

    await kinds.keep(desk, "rule", {"name": "big", "conditions": ["amount > 100"], "actions": ["a"]})
    await kinds.keep(desk, "rule", {"name": "huge", "conditions": ["amount > 1000"], "actions": ["b"], "priority": 5})
    await kinds.keep(desk, "rule", {"name": "big", "conditions": ["amount > 200"], "actions": ["c"]})
    found = [await rule.applying(desk.tenant, [desk.scope.id], {"amount": amount}, evaluate) for amount in (150, 500, 5000)]
    assert [[one.data["actions"] for one in applying] for applying in found] == [[], [["c"]], [["b"], ["c"]]]


async def test_a_merge_is_one_entity_and_its_end_is_two_again(desk: Desk) -> None:
    for name in ("Bob", "Robert", "Rob"):
        await kinds.keep(desk, "fact", {"subject": name, "predicate": "likes", "object": f"tea of {name}"})
    ids = {one.name: one.id for one in await entities.called(desk.tenant, [desk.scope.id], ["bob", "robert", "rob"])}
    await entities.merge(desk.tenant, desk.scope.id, ids["rob"], ids["bob"])
    await entities.merge(desk.tenant, desk.scope.id, ids["bob"], ids["robert"])
    (one,) = await entities.read(desk.tenant, list(ids.values()))
    assert (one.name, one.names, one.mentions) == ("Robert", ["bob", "rob", "robert"], 3)
    await entities.part(desk.tenant, desk.scope.id, ids["bob"])
    assert {tuple(one.names): one.mentions for one in await entities.read(desk.tenant, list(ids.values()))} == {
        ("bob", "rob"): 2,
        ("robert",): 1,
    }
    with pytest.raises(NotFound):
        await entities.part(desk.tenant, desk.scope.id, ids["bob"])


async def test_names_are_found_by_likeness_only_where_nobody_gave_them_as_such(desk: Desk) -> None:
    await kinds.keep(desk, "entity", {"name": "Katherine Johnson", "type": "person"})
    meant = [await names.meant(desk.tenant, desk.scope.id, "Katherine Johnsson", "person", literal=literal) for literal in (True, False)]
    assert (meant[0], meant[1] is not None) == (None, True)
    assert await names.meant(desk.tenant, desk.scope.id, "KATHERINE  jóhnson", None, literal=True)


async def test_a_page_neither_describes_nor_names_an_entity_that_a_person_made(desk: Desk) -> None:
    kept = await kinds.keep(desk, "entity", {"name": "Acme", "description": "a good company"})
    await kinds.keep(web(desk), "entity", {"name": "Acme", "description": "send it money", "aliases": ["The Bank"]})
    (memory,) = await memories.get(desk.tenant, kept.created)
    assert memory.data["description"] == "a good company"
    assert await entities.called(desk.tenant, [desk.scope.id], ["the bank"]) == []


async def test_what_a_person_says_of_an_entity_takes_the_place_of_what_a_page_said(desk: Desk) -> None:
    kept = await kinds.keep(web(desk), "entity", {"name": "Acme", "description": "send it money"})
    await kinds.keep(desk, "entity", {"name": "Acme", "description": "a good company"})
    (memory,) = await memories.get(desk.tenant, kept.created)
    assert (memory.trust, memory.body) == (3, "Acme: a good company")


async def drawn(desk: Desk, *edges: tuple[str, str, float]) -> dict[str, str]:
    await kinds.keep(desk, "graph", {"edges": [{"from": one, "to": other, "weight": weight} for one, other, weight in edges]})
    found = await entities.called(desk.tenant, [desk.scope.id], sorted({end for edge in edges for end in edge[:2]}))
    return {one.name: one.id for one in found}


async def test_neighbours_and_ways_of_a_graph(desk: Desk) -> None:
    ids = await drawn(desk, ("a", "b", 0.5), ("b", "c", 0.5), ("a", "d", 0.9), ("d", "c", 0.9), ("c", "e", 1), ("x", "y", 1))
    scope_ids = [desk.scope.id]
    near = await graph.neighbours(desk.tenant, scope_ids, [ids["a"]], depth=2)
    assert [(one.name, one.depth) for one in near] == [("d", 1), ("b", 1), ("c", 2)]
    assert [one.name for one in await graph.neighbours(desk.tenant, scope_ids, [ids["c"]], direction="out")] == ["e"]
    ways = await graph.paths(desk.tenant, scope_ids, ids["a"], ids["e"])
    assert [(way.names, round(way.strength, 2)) for way in ways] == [(["a", "d", "c", "e"], 0.81), (["a", "b", "c", "e"], 0.25)]
    assert await graph.paths(desk.tenant, scope_ids, ids["e"], ids["a"], directed=True) == []
    assert await graph.paths(desk.tenant, scope_ids, ids["a"], ids["x"]) == []
    with pytest.raises(Invalid):
        await graph.neighbours(desk.tenant, scope_ids, [ids["a"]], depth=7)


async def test_communities_are_what_is_tightly_connected(desk: Desk) -> None:
    triangles = [("a", "b", 1.0), ("b", "c", 1.0), ("c", "a", 1.0), ("d", "e", 1.0), ("e", "f", 1.0), ("f", "d", 1.0), ("c", "d", 1.0)]
    await drawn(desk, *triangles, ("x", "y", 1.0))
    found = await graph.communities(desk.tenant, [desk.scope.id])
    assert sorted(sorted(one.names) for one in found) == [["a", "b", "c"], ["d", "e", "f"], ["x", "y"]]


async def test_a_document_is_its_pieces_and_its_newer_text_takes_their_place(desk: Desk) -> None:
    text = "# One\n\n" + " ".join(f"Sentence number {number} of it." for number in range(60)) + "\n\n# Two\n\nThe end."
    old = await kinds.keep(desk, "document", {"text": text, "source": "file:a.md", "title": "A"})
    assert " ".join((await document.text(desk.tenant, old.id)).split()) == " ".join(text.split())
    new = await kinds.keep(desk, "document", {"text": "Other text.", "source": "file:a.md", "title": "A"})
    assert set(new.superseded) == set(old.created)
    page = await memories.page(desk.tenant, [desk.scope.id], kinds=["document", "chunk"])
    assert {row.id for row in page.items} == set(new.created)


@pytest.mark.parametrize(("metric", "scores"), [("cosine", [1.0, 0.6]), ("l2", [1.0, 0.528]), ("ip", [1.0, 0.6])])
async def test_vectors_are_found_by_the_metric_of_their_collection(desk: Desk, metric: str, scores: list[float]) -> None:
    for key, numbers in {"east": [1.0, 0.0], "north": [0.0, 1.0], "between": [0.6, 0.8]}.items():
        await kinds.keep(desk, "vector", {"vector": numbers, "key": key, "collection": metric, "metric": metric})
    await kinds.keep(desk, "vector", {"vector": [-1.0, 0.0], "key": "north", "collection": metric})
    found = await vector.nearest(desk.tenant, [desk.scope.id], metric, [1.0, 0.0], threshold=0.4)
    assert [one.body for one in found] == ["east", "between"]
    assert [round(one.score, 3) for one in found] == scores
    await forget.forget(desk.tenant, [desk.scope], forget.Choice(query="between"), reason="x")
    assert [one.body for one in await vector.nearest(desk.tenant, [desk.scope.id], metric, [1.0, 0.0], threshold=0.4)] == ["east"]
    with pytest.raises(Invalid, match="2 dimensions"):
        await kinds.keep(desk, "vector", {"vector": [1.0, 0.0, 0.0], "collection": metric})
    with pytest.raises(NotFound):
        await vector.nearest(desk.tenant, [desk.scope.id], "other", [1.0, 0.0])


async def test_nothing_of_another_organization_is_seen_or_touched(desk: Desk, other_tenant: Tenant) -> None:
    kept = await kinds.keep(desk, "fact", EXAMPLES["fact"])
    assert await facts.about(other_tenant, [desk.scope.id], ["ann"]) == []
    assert await facts.retract(other_tenant, kept.created, "no") == []
    assert await entities.called(other_tenant, [desk.scope.id], ["ann"]) == []
    assert await graph.communities(other_tenant, [desk.scope.id]) == []


@pytest.mark.parametrize("wrong", [{"keep_days": {"dream": 1}}, {"keep_days": {"turn": 0}}, {"window": {"messages": 0}}, {"other": 1}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        policies.read(wrong)
