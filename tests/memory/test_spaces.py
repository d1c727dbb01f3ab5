"""Embedding spaces: opened once, filled beside the one in use, and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from memory import embedding, items, spaces
from memory.embedding import Embedder
from memory.items import NewMemory
from store import memories
from store import spaces as stored
from store.errors import Conflict, Denied, Invalid, NotFound
from store.postgres import Tenant
from store.queries import Query
from store.spaces import Progress

pytestmark = pytest.mark.anyio

SCOPE = Query(
    "scope",
    b"""INSERT INTO weft.memory_scopes (org_id, kind, name) VALUES (%(org_id)s::uuid, 'conversation', 'x')
    RETURNING id, kind, name, user_id::text""",
)


class Short:
    """Two dimensions, made from the length of the text; fails once it has seen as many texts as it may."""

    provider, model, dimensions, max_batch = "test", "short", 2, 3

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.may = 1_000_000

    async def embed(self, texts: Any, *, query: bool = False) -> list[list[float]]:
        if len(self.seen) >= self.may:
            raise embedding.EmbeddingFailed("gone", transient=True)
        self.seen += texts
        return [[1.0, float(len(text) % 7)] for text in texts]


async def remembered(tenant: Tenant, how_many: int, embedder: Embedder | None = None) -> list[str]:
    scope = await scope_of(tenant)
    kept = await items.keep(
        tenant, scope, [NewMemory(kind="turn", body=f"number {n}", speaker="Ann") for n in range(how_many)], embedder=embedder
    )
    return [one.id for one in kept]


async def scope_of(tenant: Tenant) -> memories.Scope:
    scope = await tenant.one(SCOPE, memories.Scope)
    assert scope
    return scope


async def moved(tenant: Tenant, embedder: Embedder) -> list[Progress]:
    return [progress async for progress in spaces.move(tenant, embedder)]


async def test_a_space_is_opened_once_also_by_several_at_the_same_time(tenant: Tenant) -> None:
    numbers = await asyncio.gather(*(stored.open_space(tenant, provider="p", model="m", dimensions=8) for _ in range(4)))
    assert len(set(numbers)) == 1
    assert [space.state for space in await stored.of_organization(tenant)] == ["building"]
    assert await stored.open_space(tenant, provider="p", model="m", dimensions=9) not in numbers


async def test_an_empty_organization_uses_the_first_space_at_once(tenant: Tenant) -> None:
    assert await spaces.active(tenant) is None
    space = await spaces.register(tenant, embedding.built_in())
    assert (space.state, space.dimensions, space.model) == ("active", 256, "static-minilm-256")
    assert await spaces.active(tenant) == space
    await remembered(tenant, 3, embedding.built_in())
    assert await stored.progress(tenant, space.id) == Progress(done=3, total=3)


async def test_memories_move_to_another_space_in_batches_while_the_first_stays_in_use(tenant: Tenant) -> None:
    await remembered(tenant, 7)
    assert (await spaces.register(tenant, Short())).state == "building", "what is not filled yet would find nothing"
    embedder = Short()
    steps = await moved(tenant, embedder)
    assert [step.done for step in steps[:4]] == [0, 3, 6, 7]
    assert steps[-1] == Progress(done=7, total=7)
    assert sorted(embedder.seen) == [f"Ann: number {n}" for n in range(7)]
    first = await spaces.active(tenant)
    assert first is not None
    await moved(tenant, embedding.built_in())
    second = await spaces.active(tenant)
    assert second is not None
    assert (second.provider, (await stored.get(tenant, first.id)).state) == ("static", "retired")
    assert (await stored.progress(tenant, first.id)).done == 7


async def test_a_move_that_broke_goes_on_where_it_was(tenant: Tenant) -> None:
    await remembered(tenant, 12)
    embedder = Short()
    embedder.may = 9
    with pytest.raises(embedding.EmbeddingFailed):
        await moved(tenant, embedder)
    assert await spaces.active(tenant) is None
    assert len(embedder.seen) == 9
    embedder.may = 1_000_000
    steps = await moved(tenant, embedder)
    assert (steps[0].done, steps[-1].done, len(embedder.seen)) == (9, 12, 12), "nothing is embedded twice"


async def test_what_is_forgotten_while_it_is_embedded_gets_no_vector(tenant: Tenant) -> None:
    ids = await remembered(tenant, 2)
    space = await spaces.register(tenant, Short())
    await memories.delete(tenant, ids[:1])
    assert await stored.put(tenant, space.id, ids, ["[1,0]", "[0,1]"]) == 1
    await memories.delete(tenant, ids[1:])
    assert await stored.progress(tenant, space.id) == Progress(done=0, total=0), "vectors go with their memories"


async def test_a_space_that_is_closed_is_gone_with_its_table(tenant: Tenant, admin_url: str) -> None:
    space = await spaces.register(tenant, Short())
    with pytest.raises(Conflict):
        await stored.close_space(tenant, space.id)
    await stored.retire(tenant)
    assert await spaces.active(tenant) is None
    await stored.close_space(tenant, space.id)
    with pytest.raises(NotFound):
        await stored.close_space(tenant, space.id)
    with psycopg.connect(admin_url) as admin:
        assert admin.execute("SELECT to_regclass(%s)", (f"weft.memory_vectors_{space.id}",)).fetchone() == (None,)


async def test_a_space_is_its_organizations_own(tenant: Tenant, other_tenant: Tenant) -> None:
    await remembered(tenant, 2)
    await moved(tenant, Short())
    space = await spaces.active(tenant)
    assert space is not None
    assert await stored.of_organization(other_tenant) == []
    assert (await stored.progress(other_tenant, space.id)).done == 0
    for attempt in (
        stored.close_space(other_tenant, space.id),
        stored.activate(other_tenant, space.id),
        stored.get(other_tenant, space.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    theirs = await spaces.register(other_tenant, Short())
    assert theirs.id != space.id
    steal = Query("steal", b"SELECT weft.open_space(%(victim)s::uuid, 'p', 'm', 4, 1, 'cosine', NULL)")
    with pytest.raises(Denied):
        await other_tenant.one(steal, int, victim=tenant.org_id)
    seen = Query("seen", f"SELECT count(*) FROM weft.memory_vectors_{space.id}".encode())
    assert (await other_tenant.one(seen, int), await tenant.one(seen, int)) == (0, 2)


async def test_the_table_of_a_space_is_narrow_and_secured(tenant: Tenant, admin_url: str) -> None:
    space = await spaces.register(tenant, Short())
    with psycopg.connect(admin_url) as admin:
        column = admin.execute(
            """SELECT format_type(a.atttypid, a.atttypmod), a.attstorage::text, c.relrowsecurity AND c.relforcerowsecurity,
              c.relowner::regrole::text
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.oid = %s::regclass AND a.attname = 'e'""",
            (f"weft.memory_vectors_{space.id}",),
        ).fetchone()
    assert column == ("halfvec(2)", "p", True, "weft_owner")


async def test_a_dimension_that_no_index_takes_is_refused(tenant: Tenant) -> None:
    with pytest.raises(Invalid):
        await stored.open_space(tenant, provider="p", model="m", dimensions=4001)
    with pytest.raises(Invalid):
        await stored.open_space(tenant, provider="p", model="m", dimensions=1)
