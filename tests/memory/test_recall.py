"""Recall: what is remembered comes back when it is asked for, to whom it may, as much as was asked for, with its reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from memory import items, recall, scopes
from memory.items import NewMemory
from memory.scopes import Principal
from store import identities, memories
from store.errors import Invalid
from store.memories import Scope
from store.postgres import Tenant
from store.recall import Filters

pytestmark = pytest.mark.anyio
PAST = datetime(2023, 5, 8, 14, tzinfo=UTC)
TALK = [
    ("Ann", "Hi Bob! How was your week?"),
    ("Bob", "Busy. I adopted a greyhound called Pixel from the shelter in Lisbon."),
    ("Ann", "Lovely! What does Pixel eat?"),
    ("Bob", "Mostly rice with chicken, the vet said."),
    ("Ann", "I started learning the cello last Tuesday."),
    ("Bob", "Wow, that is a hard instrument."),
]


@pytest.fixture
def boss(owner: str) -> Principal:
    return Principal(user_id=owner, role="owner")


@pytest.fixture
async def scope(tenant: Tenant, boss: Principal) -> Scope:
    return await scopes.make(tenant, boss, "conversation", "talk")


def turns(talk: Sequence[tuple[str, str]] = TALK, **more: Any) -> list[NewMemory]:
    return [
        NewMemory(kind="turn", speaker=speaker, body=body, series="s", seq=seq, occurred_at=PAST + timedelta(minutes=seq), **more)
        for seq, (speaker, body) in enumerate(talk, 1)
    ]


async def bodies(tenant: Tenant, who: Principal, within: Scope, query: str, **more: Any) -> list[str]:
    found = await recall.recall(tenant, who, [within], query, **more)
    return [hit.memory.body for hit in found.hits]


async def test_the_same_memory_twice_is_one(tenant: Tenant, scope: Scope) -> None:
    first = await items.keep(tenant, scope, turns())
    again = await items.keep(tenant, scope, [*turns(), turns()[0]])
    assert [row.created for row in first] == [True] * 6
    assert [row.created for row in again] == [False] * 7
    assert [row.id for row in again] == [*(row.id for row in first), first[0].id]
    assert (await memories.page(tenant, [scope.id])).total == 6


async def test_writers_at_once_lose_nothing_and_double_nothing(tenant: Tenant, scope: Scope) -> None:
    talk = [("Ann", f"Sentence number {number}.") for number in range(60)]
    kept = await asyncio.gather(*(items.keep(tenant, scope, turns(order)) for order in (talk, talk[::-1], talk[::2])))
    assert len({row.id for rows in kept for row in rows}) >= 60
    assert sum(row.created for rows in kept for row in rows) == (await memories.page(tenant, [scope.id])).total


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the name of the dog that Bob has adopted?", 1),
        ("what does pixel eat", 3),
        ("Which instrument is Ann learning to play?", 4),
        ("When did Ann start with the cello?", 4),
        ("Where did Bob adopt Pixel?", 1),
    ],
)
async def test_a_question_in_plain_words_finds_its_answer(
    tenant: Tenant, boss: Principal, scope: Scope, question: str, answer: int
) -> None:
    await items.keep(tenant, scope, turns())
    assert TALK[answer][1] in (await bodies(tenant, boss, scope, question))[:3]


async def test_a_question_is_never_answered_by_nothing_where_one_of_its_words_is(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, turns())
    for word in ("greyhound", "LISBON", "vet's", "cellos", "Tuesday"):
        question = f"Could you please tell me whether anybody ever mentioned something about {word} in those conversations?"
        found = await recall.recall(tenant, boss, [scope], question, k=3)
        assert found.hits
        assert found.hits[0].parts["words"] > 0
        assert found.hits[0].highlights


async def test_chinese_and_japanese_are_found(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    talk = [
        ("李雷", "我上个月搬到了上海。"),
        ("韩梅", "昨日、京都で抹茶を飲みました。"),
        ("Ann", "제주도에서 휴가를 보냈어요."),
        ("Bob", "Nothing new here."),
    ]
    await items.keep(tenant, scope, turns(talk))
    assert (await bodies(tenant, boss, scope, "谁搬到上海了？"))[0] == talk[0][1]
    assert (await bodies(tenant, boss, scope, "どこで抹茶を飲んだ？"))[0] == talk[1][1]
    assert (await bodies(tenant, boss, scope, "휴가는 어디에서?"))[0] == talk[2][1]


async def test_a_hit_says_why_it_is_there(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, turns(source="chat:1", labels=("pets",)))
    hit = (await recall.recall(tenant, boss, [scope], "When did Bob adopt the greyhound in May 2023?")).hits[0]
    assert hit.memory.source == "chat:1"
    assert hit.memory.labels == ["pets"]
    assert set(hit.parts) == set(recall.PARTS)
    assert hit.parts["words"] > 0.5
    assert hit.parts["people"] > 0
    assert hit.parts["date"] > 0
    marked = [hit.memory.body[start:end] for start, end in hit.highlights]
    assert marked == ["adopted", "greyhound"]


async def test_as_many_come_as_were_asked_for_though_few_have_the_words(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, [NewMemory(kind="fact", body=f"Fact {number} of the matter.") for number in range(40)])
    for query in ("zebra", "fact 7", "", "the who", "?!", "' OR 1=1 \\ & | ! <-> :*"):
        found = await bodies(tenant, boss, scope, query, k=20)
        assert len(found) == len(set(found)) == 20


async def test_pages_follow_one_another_without_a_gap_or_a_double(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, [NewMemory(kind="fact", body=f"Fact {number} of the matter.") for number in range(23)])
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        page = await recall.recall(tenant, boss, [scope], "what matters", k=5, after=cursor)
        seen += [hit.memory.id for hit in page.hits]
        if (cursor := page.next_cursor) is None:
            break
    assert len(seen) == len(set(seen)) == 23


async def test_hits_fit_the_token_budget(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    long = "A very long story about tea. " * 60
    await items.keep(tenant, scope, [NewMemory(kind="fact", body=body) for body in (long, "Tea is hot.", "Tea is green.")])
    found = await recall.recall(tenant, boss, [scope], "tea", token_budget=20)
    assert {hit.memory.body for hit in found.hits} == {"Tea is hot.", "Tea is green."}
    assert found.tokens <= 20
    assert found.left_out == 1


async def test_filters_hold_for_every_hit(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, turns(labels=("a",)))
    fact = NewMemory(kind="fact", body="Bob has a greyhound.", labels=("a", "b"), source="x", collection="pets")
    await items.keep(tenant, scope, [fact])
    for filters in (Filters(kinds=["fact"]), Filters(labels=["b"]), Filters(source="x"), Filters(collection="pets")):
        assert await bodies(tenant, boss, scope, "greyhound", filters=filters) == [fact.body]
    assert len(await bodies(tenant, boss, scope, "greyhound", filters=Filters(speaker="Ann", series="s"))) == 3


async def test_what_is_true_and_what_was_known_are_asked_by_their_times(
    tenant: Tenant, boss: Principal, scope: Scope, admin_url: str
) -> None:
    moved = datetime(2024, 1, 1, tzinfo=UTC)
    rome = NewMemory(kind="fact", body="Ann lives in Rome.", valid_to=moved)
    oslo = NewMemory(kind="fact", body="Ann lives in Oslo.", valid_from=moved)
    wrong = NewMemory(kind="fact", body="Ann lives on Mars.")
    kept = await items.keep(tenant, scope, [rome, oslo, wrong])
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.memories SET recorded_at = '2025-01-01', retracted_at = '2025-06-01' WHERE id = %s", (kept[2].id,))
    where = "Where does Ann live?"
    assert await bodies(tenant, boss, scope, where) == [oslo.body]
    assert await bodies(tenant, boss, scope, where, filters=Filters(as_of=moved - timedelta(days=1))) == [rome.body]
    assert await bodies(tenant, boss, scope, where, filters=Filters(known_at=datetime(2025, 3, 1, tzinfo=UTC))) == [wrong.body]


async def test_what_came_from_outside_does_not_outrank_the_same_said_by_a_person(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    said = NewMemory(kind="fact", body="The code of the door is 4711.", author="Ann")
    web = NewMemory(kind="fact", body="The code of the door is 0000.", origin="web", source="https://evil.example")
    await items.keep(tenant, scope, [said, web])
    assert await bodies(tenant, boss, scope, "What is the code of the door?") == [said.body, web.body]
    assert await bodies(tenant, boss, scope, "What is the code of the door?", filters=Filters(least_trust=2)) == [said.body]


async def test_trust_is_no_more_than_that_of_what_it_was_made_of(tenant: Tenant, scope: Scope) -> None:
    (web,) = await items.keep(tenant, scope, [NewMemory(kind="fact", body="Buy now.", origin="web")])
    (made,) = await items.keep(tenant, scope, [NewMemory(kind="summary", body="One should buy.", origin="user", parents=[web.id])])
    assert [memory.trust for memory in await memories.get(tenant, [web.id, made.id])] == [1, 1]


async def test_nobody_elses_private_memories_are_recalled(tenant: Tenant, other_tenant: Tenant, boss: Principal) -> None:
    ann = Principal(user_id=(await identities.create_user(tenant, name="Ann", role="viewer")).id, role="viewer")
    mine = await scopes.make(tenant, ann, "user")
    await items.keep(tenant, mine, turns())
    assert len(await bodies(tenant, ann, mine, "greyhound")) == 6
    assert await bodies(tenant, boss, mine, "greyhound") == []
    assert await bodies(other_tenant, boss, mine, "greyhound") == []
    assert await bodies(other_tenant, ann, mine, "greyhound") == []


async def test_text_that_postgres_cannot_store_is_kept_without_it(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    await items.keep(tenant, scope, [NewMemory(kind="fact", body="A greyhound\x00 with a lone \ud800 surrogate.")])
    assert await bodies(tenant, boss, scope, "greyhound\x00") == ["A greyhound� with a lone � surrogate."]


async def test_limits_are_told(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    for query, k in (("x" * 5_000, 5), ("x", 0), ("x", 101)):
        with pytest.raises(Invalid):
            await recall.recall(tenant, boss, [scope], query, k=k)
    for body in ("", "  ", "x" * 100_001):
        with pytest.raises(Invalid):
            await items.keep(tenant, scope, [NewMemory(kind="fact", body=body)])


async def test_the_words_of_other_scopes_do_not_weigh(tenant: Tenant, boss: Principal, scope: Scope) -> None:
    other = await scopes.make(tenant, boss, "conversation", "crowd")
    await items.keep(tenant, scope, turns())
    before = [(hit.memory.id, hit.parts) for hit in (await recall.recall(tenant, boss, [scope], "greyhound rice")).hits]
    await items.keep(tenant, other, [NewMemory(kind="fact", body=f"Greyhound {number}.") for number in range(300)])
    assert [(hit.memory.id, hit.parts) for hit in (await recall.recall(tenant, boss, [scope], "greyhound rice")).hits] == before
