"""Keeping is all or nothing, makes up for what a crash left out, and waits for Postgres as seldom as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from psycopg import AsyncPipeline

from graphs import memories as operations
from graphs.memories import Access, Remembrance
from memory import concluding, items, remember, scopes, spaces
from memory.embedding import Embedder, EmbeddingFailed, built_in
from memory.extraction import Extracted, FoundEntity, FoundFact
from memory.items import NewMemory
from memory.scopes import Principal
from memory.writing import Desk
from store import memories
from store import spaces as stored
from store.memories import Scope
from store.postgres import Tenant, Transaction
from store.queries import Query

pytestmark = pytest.mark.anyio
SAID = "I live in Oslo."  # a turn, two entities and a fact
PEOPLE = [("Ann Smithson", "person"), ("Ann Smithsons", "person"), ("Oslo", None)]
LINES = Query("lines", b"SELECT count(*)::int FROM weft.memory_lineage WHERE org_id = %(org_id)s::uuid")


class Slow:
    """The built-in embedder, after whatever a test does first."""

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        self._inner, self._before = built_in(), before
        self.provider, self.model, self.dimensions, self.max_batch = (
            self._inner.provider, self._inner.model, self._inner.dimensions, self._inner.max_batch,
        )  # fmt: skip

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        await self._before()
        return await self._inner.embed(texts, query=query)


@dataclass(slots=True)
class Trips:
    number: int = 0


@contextmanager
def counted() -> Generator[Trips]:
    """Counts how often the block waits for Postgres: at each sync of a pipeline, of which its end is one."""
    trips = Trips()
    sync, leave = AsyncPipeline.sync, AsyncPipeline.__aexit__

    async def counting(self: AsyncPipeline) -> None:
        trips.number += 1
        await sync(self)

    async def leaving(self: AsyncPipeline, *error: object) -> None:
        trips.number += 1
        await leave(self, *error)  # pyright: ignore[reportArgumentType]

    with patch.object(AsyncPipeline, "sync", counting), patch.object(AsyncPipeline, "__aexit__", leaving):
        yield trips


@pytest.fixture
def boss(owner: str) -> Principal:
    return Principal(user_id=owner, role="owner")


@pytest.fixture
async def scope(tenant: Tenant, boss: Principal) -> Scope:
    await spaces.register(tenant, built_in())
    return await scopes.make(tenant, boss, "organization")


def family() -> list[NewMemory]:
    parent = NewMemory(kind="turn", body="Tea is green.", labels=("drinks",))
    return [parent, NewMemory(kind="summary", body="They spoke of tea.", parents=(parent.id,))]


async def bare(tenant: Tenant) -> int:
    """Memories without a vector in the active space."""
    space = await spaces.active(tenant)
    assert space is not None
    progress = await stored.progress(tenant, space.id)
    return progress.total - progress.done


async def test_a_turn_with_a_fact_and_two_entities_takes_six_round_trips(tenant: Tenant, boss: Principal) -> None:
    access = Access(tenant=tenant, principal=boss, embedder=built_in())
    await operations.remember(access, Remembrance(text="Hello.", speaker="Bob"))  # the scope and the space are there
    with counted() as first:
        kept = await operations.remember(access, Remembrance(text=SAID, speaker="Ann"))
    assert await bare(tenant) == 0
    with counted() as other:
        moved = await operations.remember(access, Remembrance(text="I live in Bergen.", speaker="Ann"))
    with counted() as again:
        same = await operations.remember(access, Remembrance(text=SAID, speaker="Ann"))
    assert len(kept.concluded.created) == 3
    assert len(moved.concluded.superseded) == 1
    assert (same.kept.created, same.concluded.created) == ([], [])
    assert max(first.number, other.number, again.number) <= 6


async def test_rows_and_what_they_were_made_of_are_there_together_or_not_at_all(
    tenant: Tenant, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(transaction: Transaction, *_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(memories, "descend", dies)
        with pytest.raises(asyncio.CancelledError):
            await items.keep(tenant, scope, family())
    assert (await memories.page(tenant, [scope.id])).total == 0
    made = family()
    parent, child = await items.keep(tenant, scope, made)
    assert (await tenant.one(LINES, int), parent.created, child.created) == (1, True, True)
    (summary,) = await memories.get(tenant, [child.id])
    assert summary.labels == ["drinks"]


async def test_of_a_memory_that_is_known_the_ones_made_of_it_in_the_same_batch_are_its_children(tenant: Tenant, scope: Scope) -> None:
    first, _ = family()
    (known,) = await items.keep(tenant, scope, [NewMemory(kind="turn", body=first.body, origin="web")])
    again, child = await items.keep(tenant, scope, family())
    (made,) = await memories.get(tenant, [child.id])
    assert (again.id, again.created, made.trust) == (known.id, False, 1)
    assert await tenant.one(LINES, int) == 1


@pytest.mark.parametrize("way", ["keep again", "fill"])
async def test_vectors_that_were_not_made_are_made_up_for(tenant: Tenant, scope: Scope, way: str) -> None:
    async def fails() -> None:
        raise EmbeddingFailed("nobody there", transient=True)

    made = family()
    with pytest.raises(EmbeddingFailed):
        await items.keep(tenant, scope, made, embedder=Slow(fails))
    assert await bare(tenant) == 2
    space = await spaces.active(tenant)
    if way == "keep again":
        rows = await items.keep(tenant, scope, made, embedder=built_in())
        assert [row.created for row in rows] == [False, False]
    elif space is not None:
        assert [progress.done async for progress in spaces.fill(tenant, built_in(), space)] == [0, 2]
    assert await bare(tenant) == 0


async def test_who_dies_between_the_words_and_their_vectors_finds_them_made_when_it_says_so_again(tenant: Tenant, scope: Scope) -> None:
    reached = asyncio.Event()

    async def never() -> None:
        reached.set()
        await asyncio.Event().wait()

    def said(embedder: Embedder) -> Desk:
        return Desk(tenant=tenant, scope=scope, embedder=embedder)

    dying = asyncio.create_task(remember.remember(said(Slow(never)), SAID, speaker="Ann"))
    await asyncio.wait_for(reached.wait(), 10)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    total = (await memories.page(tenant, [scope.id])).total
    assert total == await bare(tenant) == 4
    again = await remember.remember(said(built_in()), SAID, speaker="Ann")
    assert (again.kept.created, again.concluded.created) == ([], [])
    assert await bare(tenant) == 0
    assert (await memories.page(tenant, [scope.id])).total == total


async def test_what_happened_when_it_was_told_is_one_episode_however_often_it_is_told(tenant: Tenant, scope: Scope) -> None:
    desk = Desk(tenant=tenant, scope=scope)
    first = await remember.remember(desk, "I moved to Bergen.", speaker="Ann")
    again = await remember.remember(desk, "I moved to Bergen.", speaker="Ann")
    assert first.concluded.created
    assert again.concluded.created == []
    (turn, *_) = await memories.get(tenant, first.kept.created)
    (episode,) = (await memories.page(tenant, [scope.id], kinds=["episode"])).items
    assert episode.occurred_at == turn.recorded_at


async def test_vectors_go_to_the_space_that_became_active_while_they_were_made(tenant: Tenant, scope: Scope) -> None:
    table = built_in()
    made: list[int] = []

    async def moves() -> None:
        if not made:
            made.append(await stored.open_space(tenant, provider=table.provider, model=table.model, dimensions=table.dimensions, version=9))
            await stored.activate(tenant, made[0])

    await items.keep(tenant, scope, family(), embedder=Slow(moves))
    assert (await stored.progress(tenant, made[0])).done == 2


async def test_what_one_text_says_of_one_thing_twice_is_held_as_when_it_is_said_twice(tenant: Tenant, scope: Scope) -> None:
    """The last word counts, entities under one name are one, and the same once more changes nothing."""
    desk = Desk(tenant=tenant, scope=scope)
    kept = await remember.remember(desk, "Ann came by.", speaker="Bob", infer=False)
    found = Extracted(
        entities=[FoundEntity(name=name, type=type) for name, type in PEOPLE],
        facts=[
            FoundFact(subject="Ann Smithson", predicate="lives in", object="Oslo", object_is_entity=True),
            FoundFact(subject="Ann Smithson", predicate="lives in", object="Rome", object_is_entity=True),
            FoundFact(subject="ann smithsons", predicate="works as", object="baker"),
        ],
    )  # fmt: skip
    first = await concluding.conclude(desk, kept.kept.id, found)
    again = await concluding.conclude(desk, kept.kept.id, found)
    rows = (await memories.page(tenant, [scope.id])).items
    assert again.created == []
    assert len(first.superseded) == 1
    assert sorted(row.title or "" for row in rows if row.kind == "entity") == ["Ann Smithson", "Oslo", "Rome"]
    assert sorted(row.body for row in rows if row.kind == "fact") == ["Ann Smithson lives in Rome", "ann smithsons works as baker"]
    assert {row.trust for row in rows if row.kind != "turn"} == {2}


async def test_many_who_remember_at_once_wait_for_each_other_and_never_for_good(tenant: Tenant, scope: Scope) -> None:
    desk = Desk(tenant=tenant, scope=scope)

    async def one(number: int) -> None:
        await remember.remember(desk, f"I live in {('Oslo', 'Rome')[number % 2]}.", speaker=f"Person {number % 3}", message_id=str(number))
        item = {"subject": "Oslo", "predicate": "mayor", "object": f"Number {number}"}
        await remember.remember(desk, item, kind="fact")
        await remember.remember(desk, {"messages": [{"text": "I like tea.", "id": f"b{number}"}]}, kind="conversation")

    async with asyncio.timeout(30):
        await asyncio.gather(*(one(number) for number in range(12)))
    turns = (await memories.page(tenant, [scope.id], kinds=["turn"], limit=100)).items
    assert sorted(turn.seq or 0 for turn in turns) == list(range(1, 25))
    entities = (await memories.page(tenant, [scope.id], kinds=["entity"], limit=100)).items
    assert len({entity.title for entity in entities}) == len(entities)
