"""Consolidation: conversations are summed up once, what is the same is one or linked, and nothing gets into what it was not made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from memory import consolidation, forget, kinds, likeness, names, policies, quarantine, spaces, summarizing
from memory.consolidation import Done
from memory.forget import Choice
from memory.kinds import data_of
from memory.summarizing import Length, Summed, Told
from memory.writing import Desk, Provenance
from store import entities, memories, summaries
from store.entities import Similar
from store.memories import Memory, Scope
from store.postgres import Tenant
from store.summaries import Stretch

pytestmark = pytest.mark.anyio
SAID = [
    "I moved to Kyoto in May 2023.",
    "The flat in Osaka was sold for 30 million yen.",
    "My sister Mia visits Kyoto in July.",
    "We agreed to meet at the Gion festival.",
    "The parrot Bertrand came along by train.",
    "Bertrand likes the temple garden of Kyoto.",
]


@pytest.fixture
async def scope(tenant: Tenant) -> Scope:
    return await memories.make_scope(tenant, kind="conversation", name="trip", user_id=None)


@pytest.fixture
def desk(tenant: Tenant, scope: Scope) -> Desk:
    return Desk(tenant=tenant, scope=scope, provenance=Provenance(origin="inference"))


async def say(desk: Desk, texts: Sequence[str], *, origin: str = "user", session: str = "main", labels: Sequence[str] = ()) -> list[str]:
    teller = replace(desk, provenance=Provenance(origin=origin, labels=tuple(labels)))
    messages = [{"text": text, "speaker": "Ann", "id": f"{origin} {session} {text}"} for text in texts]
    return (await kinds.keep(teller, "conversation", {"session": session, "messages": messages})).created


async def summed_up(desk: Desk, series: str = "main", *, trusted: bool = True, level: int = 1) -> list[Memory]:
    return await summaries.standing(desk.tenant, Stretch(scope_id=desk.scope.id, series=series, trusted=trusted, after=0), level)


async def work(desk: Desk, length: Length | None = None) -> Done:
    """Passes until there is nothing more to do."""
    done, more = Done(), True
    while more:
        one = await consolidation.sum_up_sessions(desk, {desk.scope.id: desk.scope}, summarizing.by_rules, length or Length())
        done, more = done + one, one.more
    return done


async def test_a_conversation_is_summed_up_once_and_its_summary_rests_on_its_turns(desk: Desk) -> None:
    turns = await say(desk, SAID, labels=["trip"])
    assert (await work(desk)).summed_up == 1
    (found,) = await summed_up(desk)
    assert "Kyoto" in found.body
    assert data_of(found)["key_points"]
    assert (data_of(found)["from_seq"], data_of(found)["to_seq"]) == (1, 6)
    assert (found.trust, found.labels, found.origin) == (2, ["trip"], "inference")
    assert set(await summaries.parents(desk.tenant, found.id)) == set(turns)
    assert await work(desk) == Done()


async def test_a_few_words_are_not_worth_a_summary(desk: Desk) -> None:
    await say(desk, SAID[: consolidation.LEAST_TURNS - 1])
    assert await work(desk) == Done()


async def test_what_is_new_supersedes_the_summary_before_and_the_history_keeps_it(desk: Desk) -> None:
    first = await say(desk, SAID[:4])
    await work(desk)
    (before,) = await summed_up(desk)
    second = await say(desk, [*SAID[4:], "The festival was cancelled.", "So we visited Nara instead."])
    await work(desk)
    (after,) = await summed_up(desk)
    assert after.id != before.id
    assert data_of(after)["to_seq"] == 8
    assert set(await summaries.parents(desk.tenant, after.id)) == {*first, *second}
    (kept,) = await memories.get(desk.tenant, [before.id])
    assert kept.retracted_at is not None


async def test_a_long_conversation_has_segments_and_a_summary_above_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consolidation, "SEGMENT", 10)
    await say(desk, [f"On day {number} the train {number} went to town number {number}." for number in range(25)])
    await work(desk)
    segments = await summed_up(desk)
    assert [(data_of(one)["from_seq"], data_of(one)["to_seq"]) for one in segments] == [(1, 10), (11, 20), (21, 25)]
    (above,) = await summed_up(desk, level=2)
    assert set(await summaries.parents(desk.tenant, above.id)) == {one.id for one in segments}
    assert (data_of(above)["from_seq"], data_of(above)["to_seq"]) == (1, 25)
    assert await work(desk) == Done()


async def test_what_comes_from_outside_is_summed_up_apart(desk: Desk) -> None:
    await say(desk, SAID)
    await say(desk, [f"BUY CHEAP GOLD number {number} for Kyoto." for number in range(5)], origin="web")
    await work(desk)
    (said,) = await summed_up(desk)
    (outside,) = await summed_up(desk, trusted=False)
    assert "GOLD" not in said.body
    assert (said.trust, outside.trust) == (2, 1)
    await say(desk, [f"MORE GOLD {number}." for number in range(5)], origin="web")
    await work(desk)
    assert (await summed_up(desk))[0].id == said.id


async def test_a_turn_that_is_forgotten_takes_the_summary_with_it_and_another_is_made_of_the_rest(desk: Desk) -> None:
    turns = await say(desk, SAID)
    await work(desk)
    await forget.forget(desk.tenant, [desk.scope], Choice(ids=[turns[1]]), reason="test")
    assert await summed_up(desk) == []
    await work(desk)
    (anew,) = await summed_up(desk)
    assert "Osaka" not in anew.body
    page = await memories.page(desk.tenant, [desk.scope.id], retracted=True, limit=100)
    assert not [one for one in page.items if "Osaka" in one.body]


async def test_a_source_that_is_quarantined_is_in_no_summary_any_more(desk: Desk) -> None:
    await say(desk, SAID)
    teller = replace(desk, provenance=Provenance(source="https://lies.example"))
    lies = [{"text": f"Kyoto has sunk into the sea in {year}.", "speaker": "Ann", "id": str(year)} for year in range(2023, 2027)]
    await kinds.keep(teller, "conversation", {"messages": lies})
    await work(desk)
    assert "sunk" in (await summed_up(desk))[0].body
    await quarantine.hide(desk.tenant, [desk.scope], Choice(source="https://lies.example"), reason="lies")
    assert await summed_up(desk) == []
    await work(desk)
    assert "sunk" not in (await summed_up(desk))[0].body


async def test_two_at_once_leave_one_summary(desk: Desk) -> None:
    await say(desk, SAID)
    asked = 0

    async def by(texts: Sequence[Told], earlier: Summed | None, length: Length) -> Summed:
        nonlocal asked
        asked += 1
        mine = asked
        await asyncio.sleep(0)
        return Summed(text=f"They talked about Kyoto, says {mine}.")

    scopes = {desk.scope.id: desk.scope}
    await asyncio.gather(*(consolidation.sum_up_sessions(desk, scopes, by, Length()) for _ in range(4)))
    assert len(await summed_up(desk)) == 1


async def test_a_conversation_without_words_does_not_hold_up_the_others(desk: Desk) -> None:
    await say(desk, ["…", "?!", "--", "...", "!!"], session="a")
    await say(desk, SAID, session="b")
    await work(desk)
    assert await summed_up(desk, "b")
    assert await work(desk) == Done()


# -- entities --------------------------------------------------------------------------------------------------------------------


async def person(desk: Desk, name: str, *aliases: str, type: str = "person", origin: str = "user") -> str:
    teller = replace(desk, provenance=Provenance(origin=origin))
    return (await kinds.keep(teller, "entity", {"name": name, "type": type, "aliases": list(aliases)})).id


async def roots(desk: Desk, name: str) -> set[str]:
    return {one.id for one in await entities.called(desk.tenant, [desk.scope.id], [names.compared(name)])}


async def test_who_bears_the_alias_of_one_other_alone_is_that_one_and_can_be_parted_for_good(desk: Desk) -> None:
    bob = await person(desk, "Bob")
    robert = await person(desk, "Robert Smith")
    await kinds.keep(replace(desk, provenance=Provenance()), "entity", {"name": "Robert Smith", "type": "person", "aliases": ["Bob"]})
    assert await roots(desk, "Bob") == {bob, robert}
    assert await consolidation.merge(desk.tenant, [desk.scope]) == Done(merged=1)
    assert await roots(desk, "Bob") == {robert}
    assert await consolidation.merge(desk.tenant, [desk.scope]) == Done()
    await entities.part(desk.tenant, desk.scope.id, bob)
    assert await consolidation.merge(desk.tenant, [desk.scope]) == Done()
    assert await roots(desk, "Bob") == {bob, robert}


@pytest.mark.parametrize("case", ["two bear the alias", "another type", "less trusted"])
async def test_what_may_be_another_is_not_merged(desk: Desk, case: str) -> None:
    if case == "two bear the alias":
        await person(desk, "Ann Lee", "Ann")
        await person(desk, "Ann Smith", "Ann")
    else:
        await person(desk, "Paris Hilton", "Paris")
        await person(desk, "Paris", type="city" if case == "another type" else "person", origin="user" if case == "another type" else "web")
    assert await consolidation.merge(desk.tenant, [desk.scope]) == Done()


async def test_a_tie_between_names_is_broken_by_vectors_and_only_where_one_lies_clearly_nearer() -> None:
    class Line:
        provider, model, dimensions, max_batch = "test", "line", 2, 10

        async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
            return [{"far": [0.0, 1.0], "alike": [0.99, 0.14]}.get(text, [1.0, 0.0]) for text in texts]

    def likely(*titles: str) -> list[Similar]:
        return [Similar(name=title, id=title, title=title, type=None, score=0.8) for title in titles]

    choose = names.nearest(Line())
    assert await choose("name", likely("near", "far")) == "near"
    assert await choose("name", likely("near", "alike")) is None
    assert await choose("name", likely("far")) is None


# -- duplicates ------------------------------------------------------------------------------------------------------------------


async def marked(desk: Desk, ids: Sequence[str]) -> list[str | None]:
    return [data_of(one).get("duplicate_of") for one in await memories.get(desk.tenant, ids)]


async def linked(desk: Desk) -> int:
    count, more = 0, True
    while more:
        done = await consolidation.link(desk.tenant, [desk.scope])
        count, more = count + done.linked, done.more
    return count


async def test_what_says_the_same_is_linked_to_the_first_and_stays(desk: Desk) -> None:
    text = "The library on the corner opens at nine and closes at six on weekdays"
    (first,), (again,), (third,) = [await say(desk, [text + end]) for end in (".", "!", " !")]
    other, more = await say(desk, [text.replace("nine", "ten") + " 9 10", "Nothing like it was ever said by anybody here."])
    assert await linked(desk) == 2
    assert await marked(desk, [first, again, third, other, more]) == [None, first, first, None, None]
    assert await linked(desk) == 0
    await say(desk, [text + "…"])
    assert await linked(desk) == 1


async def test_another_speaker_or_one_who_is_trusted_more_has_said_it_himself(desk: Desk) -> None:
    text = "The library on the corner opens at nine and closes at six on weekdays."
    (outside,) = await say(desk, [text], origin="web")
    (said,) = await say(desk, [text])
    (later,) = await say(desk, [text], origin="web", session="other")
    assert await linked(desk) == 1
    assert await marked(desk, [outside, said]) == [None, None]
    assert (await marked(desk, [later]))[0] in (outside, said)


async def test_vectors_tell_where_words_do_not(desk: Desk) -> None:
    near = replace(desk, embedder=Near())
    await spaces.register(desk.tenant, Near())
    (first,) = await say(near, ["The doctor saw me at noon"])
    (second,) = await say(near, ["A physician examined me around midday"])
    assert await linked(near) == 1
    assert await marked(near, [second]) == [first]


class Near:
    """Everything lies in the same direction."""

    provider, model, dimensions, max_batch = "test", "near", 2, 100

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I like tea with milk in it", "I like tea with milk in it!", True),
        ("Invoice 1041 was paid", "Invoice 1042 was paid", False),
        ("I do like tea with milk", "I do not like tea with milk", False),
        ("我不喜欢喝茶", "我喜欢喝茶", False),
        ("I like tea", "The train leaves soon", False),
        ("", "", False),
    ],
)
def test_the_same_is_the_same_but_for_numbers_and_nots(one: str, other: str, same: bool) -> None:
    assert likeness.alike(likeness.of(one), likeness.of(other)) is same
    if not same and one:
        assert likeness.alike(likeness.of(one), likeness.of(other), 0.99) is ("train" in other)


# -- keeping ---------------------------------------------------------------------------------------------------------------------


async def test_what_a_policy_no_longer_keeps_is_forgotten(desk: Desk) -> None:
    await say(desk, SAID)
    assert await consolidation.sweep(desk.tenant, [desk.scope]) == Done()
    await policies.put(desk.tenant, desk.scope.id, {"most": {"turn": 2}})
    assert await consolidation.sweep(desk.tenant, [desk.scope]) == Done(forgotten=4)
    assert await consolidation.sweep(desk.tenant, [desk.scope]) == Done()


@pytest.mark.parametrize("made_up", ["x", "00000000-0000-0000-0000-000000000000"])
async def test_a_duplicate_that_somebody_made_up_stops_nothing(desk: Desk, made_up: str) -> None:
    text = "The library on the corner opens at nine and closes at six on weekdays"
    said = {"text": f"{text}.", "speaker": "Ann", "id": "a", "data": {"duplicate_of": made_up}}
    await kinds.keep(desk, "conversation", {"messages": [said, {"text": f"{text}!", "speaker": "Ann", "id": "b"}]})
    assert await linked(desk) == 1
    first, second = (await memories.page(desk.tenant, [desk.scope.id], kinds=["turn"], limit=2)).items[::-1]
    assert data_of(second).get("duplicate_of") == first.id
