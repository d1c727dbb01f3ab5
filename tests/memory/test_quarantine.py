"""Quarantine: what rests on something that is not trusted any more is hidden with it, and nothing else is; and it all comes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memory import forget, kinds, quarantine
from memory.forget import Choice
from memory.remember import remember
from memory.writing import Desk, Provenance
from store import entities, facts, memories
from store.memories import Scope
from store.postgres import Tenant

pytestmark = pytest.mark.anyio
TOLD = datetime(2024, 3, 1, tzinfo=UTC)
EVIL, OTHER = Choice(source="https://evil.example"), Choice(source="https://other.example")


@pytest.fixture
async def scope(tenant: Tenant) -> Scope:
    return await memories.make_scope(tenant, kind="organization", name="", user_id=None)


@pytest.fixture
def desk(tenant: Tenant, scope: Scope) -> Desk:
    return Desk(tenant=tenant, scope=scope)


def web(desk: Desk, choice: Choice = EVIL) -> Desk:
    return Desk(tenant=desk.tenant, scope=desk.scope, provenance=Provenance(origin="web", source=choice.source))


async def trusts(desk: Desk, ids: list[str]) -> list[int]:
    return [row.trust for row in await memories.get(desk.tenant, ids)]


async def hide(desk: Desk, choice: Choice = EVIL) -> set[str]:
    return set((await quarantine.hide(desk.tenant, [desk.scope], choice, reason="x")).ids)


async def release(desk: Desk, choice: Choice = EVIL) -> set[str]:
    return set((await quarantine.release(desk.tenant, [desk.scope], choice)).ids)


async def test_a_source_is_hidden_with_all_that_rests_on_it_and_comes_back_as_it_was(desk: Desk) -> None:
    page = await remember(web(desk), "Dora lives in Rome.", at=TOLD)
    last = await kinds.keep(desk, "summary", {"text": "Rome again", "of": page.kept.created})
    before = await trusts(desk, [*page.kept.created, *page.concluded.created, *last.created])
    hidden = await hide(desk)
    assert hidden == {*page.kept.created, *page.concluded.created, *last.created}
    assert set(await trusts(desk, list(hidden))) == {0}
    assert await facts.about(desk.tenant, [desk.scope.id], ["dora"]) == []
    later = await kinds.keep(desk, "summary", {"text": "made of it later", "of": page.kept.created})
    assert await trusts(desk, later.created) == [0]
    assert await hide(desk) == set()
    assert await release(desk) == {*hidden, *later.created}
    assert await trusts(desk, [*page.kept.created, *page.concluded.created, *last.created]) == before
    (fact,) = await facts.about(desk.tenant, [desk.scope.id], ["dora"])
    assert fact.object == "rome"
    assert await facts.about(desk.tenant, [desk.scope.id], ["dora"], known_at=datetime.now(UTC)) == [fact]


async def test_what_two_say_is_hidden_when_neither_is_trusted_and_seen_when_one_is(desk: Desk) -> None:
    one = await remember(web(desk), "Dora lives in Rome.", at=TOLD, message_id="1")
    await remember(web(desk, OTHER), "Dora lives in Rome.", at=TOLD, message_id="2")
    (fact,) = [row.id for row in (await memories.page(desk.tenant, [desk.scope.id], kinds=["fact"])).items]
    both = await kinds.keep(desk, "summary", {"text": "Both say Rome", "of": [*one.kept.created, fact]})
    await hide(desk)
    assert await trusts(desk, [fact, *both.created]) == [1, 0]
    await hide(desk, OTHER)
    assert await trusts(desk, [fact]) == [0]
    await release(desk)
    assert await trusts(desk, [fact, *both.created]) == [1, 1]
    await hide(desk)
    await release(desk, OTHER)
    assert await trusts(desk, [fact, *both.created, *one.kept.created]) == [1, 0, 0]


async def test_a_memory_is_not_seen_while_what_it_was_made_of_is_hidden(desk: Desk) -> None:
    page = await remember(web(desk), "Dora lives in Rome.", at=TOLD)
    last = await kinds.keep(desk, "summary", {"text": "Rome again", "of": page.kept.created})
    await hide(desk)
    assert await release(desk, Choice(ids=last.created)) == set()
    assert await release(desk, Choice(ids=page.kept.created)) >= {*page.kept.created, *last.created}


async def test_an_entity_that_a_hidden_page_may_have_described_is_hidden_and_one_that_a_person_described_is_not(desk: Desk) -> None:
    for where, alias in ((EVIL, "The Fox"), (OTHER, "Dodo")):
        source = await remember(web(desk, where), f"Something about {alias}.", infer=False)
        derived = web(desk, where).derived(source.kept.created)
        await kinds.keep(derived, "entity", {"name": "Dora Quux", "aliases": [alias]})
    ann = await kinds.keep(desk, "entity", {"name": "Ann Berg", "description": "The owner"})
    mentioned = await remember(web(desk), "Ann Berg lives in Rome.", at=TOLD)
    hidden = await hide(desk)
    (dora,) = {called.id for called in await entities.called(desk.tenant, [desk.scope.id], ["dora quux"])}
    assert dora in hidden
    assert not set(ann.created) & hidden
    assert set(mentioned.kept.created) <= hidden


async def test_names_and_mentions_of_what_is_hidden_are_not_those_of_what_it_was_merged_into(desk: Desk) -> None:
    ours = await kinds.keep(desk, "entity", {"name": "Ann Berg"})
    theirs = await kinds.keep(web(desk), "entity", {"name": "Big Boss", "aliases": ["The Fox"]})
    await entities.merge(desk.tenant, desk.scope.id, theirs.id, ours.id)
    (before,) = await entities.read(desk.tenant, [ours.id])
    assert set(before.names) == {"ann berg", "big boss", "the fox"}
    await hide(desk)
    (after,) = await entities.read(desk.tenant, [ours.id])
    assert (after.names, after.merged) == (["ann berg"], [])
    await release(desk)
    assert await entities.read(desk.tenant, [ours.id]) == [before]


async def test_a_fact_whose_time_another_has_taken_meanwhile_is_history_when_it_comes_back(desk: Desk) -> None:
    agent = Desk(tenant=desk.tenant, scope=desk.scope, provenance=Provenance(origin="agent", source=EVIL.source))
    old = await kinds.keep(agent, "fact", {"subject": "Ann", "predicate": "lives in", "object": "Rome"})
    await hide(desk)
    await kinds.keep(desk, "fact", {"subject": "Ann", "predicate": "lives in", "object": "Oslo"})
    assert set(old.created) <= await release(desk)
    (fact,) = await facts.about(desk.tenant, [desk.scope.id], ["ann"])
    assert fact.object == "oslo"
    assert {one.object for one in await facts.history(desk.tenant, [desk.scope.id], ["ann"])} == {"oslo", "rome"}


async def test_what_was_hidden_for_its_own_sake_stays_hidden_when_what_it_rests_on_is_shown(desk: Desk) -> None:
    page = await remember(web(desk), "Dora lives in Rome.", at=TOLD)
    early = await kinds.keep(desk, "summary", {"text": "hidden before", "of": page.kept.created})
    late = await kinds.keep(desk, "summary", {"text": "hidden after", "of": page.kept.created})
    above = await kinds.keep(desk, "summary", {"text": "rests on one that stays", "of": late.created, "level": 2})
    await hide(desk, Choice(ids=early.created))
    await hide(desk)
    new = await kinds.keep(desk, "summary", {"text": "made while hidden", "of": page.kept.created})
    assert await hide(desk, Choice(ids=[*late.created, *new.created])) == set()
    assert await release(desk) == {*page.kept.created, *page.concluded.created}
    staying = [*early.created, *late.created, *above.created, *new.created]
    assert await trusts(desk, staying) == [0, 0, 0, 0]
    assert await release(desk, Choice(ids=[*early.created, *late.created, *new.created])) == set(staying)


async def test_what_is_hidden_can_be_forgotten_and_another_organization_hides_nothing_of_ours(desk: Desk, other_tenant: Tenant) -> None:
    page = await remember(web(desk), "Dora lives in Rome.", at=TOLD)
    assert list((await quarantine.hide(other_tenant, [desk.scope], EVIL, reason="x")).ids) == []
    assert await trusts(desk, page.kept.created) == [1]
    await hide(desk)
    assert list((await quarantine.release(other_tenant, [desk.scope], EVIL)).ids) == []
    gone = await forget.forget(desk.tenant, [desk.scope], EVIL, reason="x")
    assert set(page.kept.created) <= set(gone.ids)
    assert await memories.get(desk.tenant, page.kept.created) == []
