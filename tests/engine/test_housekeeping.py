"""Memories are consolidated by an ordinary run, begun once when it is due, however many processes look, on behalf of whose they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from graphs import housekeeping, memories, runs, shipped
from graphs.checks import check
from graphs.memories import Access, Remembrance
from graphs.runtime import Actor
from memory import embedding, spaces
from memory.scopes import Principal
from store import identities
from store import runs as run_rows
from store.errors import Denied, Invalid
from store.runs import Run
from tests.engine.conftest import House
from tests.models.loopback import Turn, model_server

pytestmark = pytest.mark.anyio
DAY = timedelta(days=1)
SECRET = "Bertrand the parrot"
SAID = (
    f"{SECRET} moved to Kyoto in May 2023.",
    f"{SECRET} eats sunflower seeds in Kyoto.",
    "The flat in Osaka was sold for 30 million yen.",
    "We agreed to meet at the Gion festival in Kyoto.",
)


@pytest.fixture
def admin(admin_url: str) -> Generator[psycopg.Connection]:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        yield connection


def access_of(actor: Actor, embedder: Any = None) -> Access:
    return Access(tenant=actor.tenant, principal=Principal(user_id=actor.user_id, role=actor.role), embedder=embedder)


async def say(actor: Actor, scope: str, *texts: str, embedder: Any = None) -> None:
    messages = [{"text": text, "speaker": "Ann", "id": text} for text in texts]
    wanted = Remembrance(kind="conversation", item={"messages": messages}, scope=scope)
    await memories.remember(access_of(actor, embedder), wanted)


async def member(actor: Actor, name: str, role: str = "operator") -> Actor:
    user = await identities.create_user(actor.tenant, name=name, role=role)
    return replace(actor, user_id=user.id, user_name=name, role=role)


def age(admin: psycopg.Connection, by: str = "2 days") -> None:
    """As if the last time had been so long ago."""
    admin.execute("UPDATE weft.memory_rounds SET done_at = done_at - %s::interval", (by,))


async def all_runs(actor: Actor) -> list[run_rows.Listed]:
    found, _ = await run_rows.page(actor.tenant, workflow=housekeeping.CONSOLIDATION, state=None, mode="production", before=None, limit=100)
    return found


async def ended(house: House, run_id: str) -> Run:
    return await runs.wait(house.runtime, house.actor, run_id, seconds=30)


@pytest.mark.parametrize("name", shipped.names())
async def test_a_shipped_workflow_is_valid_and_named_after_its_file(name: str, house: House) -> None:
    report = await check(shipped.definition(name), house.evaluator)
    assert [item.as_json() for item in report.diagnostics] == []
    assert shipped.definition(name)["name"] == name


async def test_the_memories_of_each_are_consolidated_on_their_own_behalf(running: House) -> None:
    ben = await member(running.actor, "Ben")
    await say(running.actor, "user", *SAID)
    await say(ben, "private:conversation:diary", *SAID)
    await say(running.actor, "conversation:team", *SAID)
    run = await ended(running, (await housekeeping.consolidate(running.runtime, running.actor)).id)
    assert (run.state, run.workflow) == ("succeeded", housekeeping.CONSOLIDATION), run.error
    mine = (await memories.page(access_of(running.actor), kinds=["summary"])).items
    assert {(one.series, one.trust) for one in mine} == {("main", 2)}
    assert len(mine) == 2, "of one's own and of everybody's"
    assert (await memories.page(access_of(ben), scope="private:conversation:diary", kinds=["summary"])).items == []
    trace = await runs.trace(running.runtime, running.actor, run.id)
    events = await runs.events(running.runtime, running.actor, run.id)
    shown = json.dumps([run.output, run.input, [step.output for step in trace], [[one.message, one.data] for one in events]], default=str)
    assert "Bertrand" not in shown, "who may see the run may not see the memories"
    assert any(one.type == "step.progress" and "summed up: 2" in one.message for one in events)
    again = await ended(running, (await housekeeping.consolidate(running.runtime, running.actor)).id)
    assert again.output == {"passes": 1, "summed_up": 0, "merged": 0, "linked": 0, "forgotten": 0, "embedded": 0}


async def test_what_is_due_is_begun_once_by_many_who_look_for_whom_it_belongs_to(house: House, admin: psycopg.Connection) -> None:
    ben = await member(house.actor, "Ben")
    async with house.opened() as one, house.opened(serving=False) as two:
        house.runtime = one
        await say(ben, "user", *SAID)
        await say(house.actor, "conversation:team", *SAID)
        assert await housekeeping.look(one.engine, DAY) == 0, "who is seen first has their turn a day later"
        age(admin)
        counts = await asyncio.gather(*(housekeeping.look(runtime.engine, DAY) for runtime in (one, two, one, two)))
        assert sum(counts) == 2
        assert await housekeeping.look(two.engine, DAY) == 0
        listed = [await ended(house, listed.id) for listed in await all_runs(house.actor)]
        assert {run.state for run in listed} == {"succeeded"}
        starters = dict(admin.execute("SELECT input ->> 'whose', created_by::text FROM weft.runs").fetchall())
        assert starters == {"own": ben.user_id, "shared": house.actor.user_id}
        assert len((await memories.page(access_of(ben), scope="user", kinds=["summary"])).items) == 1
        assert len((await memories.page(access_of(house.actor), kinds=["summary"])).items) == 1, "nothing of Ben's"


async def test_nothing_is_begun_where_nothing_has_changed(running: House, admin: psycopg.Connection) -> None:
    engine = running.runtime.engine
    await say(running.actor, "user", *SAID)
    await housekeeping.look(engine, DAY)
    for started in (1, 0, 0):
        age(admin)
        assert await housekeeping.look(engine, DAY) == started
        for listed in await all_runs(running.actor):
            await ended(running, listed.id)
    await say(running.actor, "user", "And one more thing.")
    age(admin)
    assert await housekeeping.look(engine, DAY) == 1


async def test_what_comes_to_its_end_is_forgotten_though_nothing_has_changed(running: House, admin: psycopg.Connection) -> None:
    engine = running.runtime.engine
    await say(running.actor, "user", "This is only for today.")
    await housekeeping.look(engine, DAY)
    age(admin)
    assert await housekeeping.look(engine, DAY) == 1
    admin.execute("UPDATE weft.memories SET expires_at = now() - interval '1 second'")
    age(admin)
    assert await housekeeping.look(engine, DAY) == 1
    for listed in await all_runs(running.actor):
        assert (await ended(running, listed.id)).state == "succeeded"
    assert (await memories.page(access_of(running.actor))).items == []


async def test_a_round_that_was_begun_by_a_process_that_died_is_begun_again(running: House, admin: psycopg.Connection) -> None:
    engine = running.runtime.engine
    await say(running.actor, "user", *SAID)
    await housekeeping.look(engine, DAY)
    admin.execute("UPDATE weft.memory_rounds SET starting = weft.uuid7(), seen = 'as it is'")
    assert await housekeeping.look(engine, DAY) == 0, "somebody may be at it"
    age(admin, "2 minutes")
    assert await housekeeping.look(engine, DAY) == 1
    assert await housekeeping.look(engine, DAY) == 0


async def test_a_clock_that_was_set_back_does_not_put_it_off_for_a_year(running: House, admin: psycopg.Connection) -> None:
    await say(running.actor, "user", *SAID)
    await housekeeping.look(running.runtime.engine, DAY)
    age(admin, "-1 year")
    assert await housekeeping.look(running.runtime.engine, DAY) == 1
    assert await housekeeping.look(running.runtime.engine, DAY) == 0


async def test_an_engine_that_serves_looks_by_itself_and_one_that_was_told_not_to_does_not(house: House, admin: psycopg.Connection) -> None:
    await say(house.actor, "user", *SAID)
    async with house.opened(consolidation=timedelta(seconds=1)) as runtime:
        house.runtime = runtime
        async with asyncio.timeout(30):
            while not await all_runs(house.actor):
                await asyncio.sleep(0.05)
        (listed,) = await all_runs(house.actor)
        assert (await ended(house, listed.id)).state == "succeeded"
    admin.execute("DELETE FROM weft.memory_rounds")
    async with house.opened():
        async with asyncio.timeout(30):
            while not admin.execute("SELECT count(*) > 0 FROM weft.workers").fetchone():
                await asyncio.sleep(0.05)
        assert admin.execute("SELECT count(*) FROM weft.memory_rounds").fetchone() == (0,)


async def test_a_model_sums_up_where_the_operator_chose_one_for_memories_and_rules_where_it_fails(house: House) -> None:
    await say(house.actor, "conversation:one", *SAID)
    with model_server() as vendor:
        vendor.turns.extend([Turn(text=json.dumps({"text": "They met in Kyoto.", "key_points": ["Kyoto"]}))])
        async with house.opened(models=replace(vendor.openai(), memory="auto")) as runtime:
            house.runtime = runtime
            assert (await ended(house, (await housekeeping.consolidate(runtime, house.actor)).id)).state == "succeeded"
            (made,) = (await memories.page(access_of(house.actor), kinds=["summary"])).items
            assert made.body == "They met in Kyoto.\n- Kyoto"
            await say(house.actor, "conversation:two", *SAID)
            vendor.turns.append(Turn(status=400, message="no"))
            assert (await ended(house, (await housekeeping.consolidate(runtime, house.actor)).id)).state == "succeeded"
            second = (await memories.page(access_of(house.actor), scope="conversation:two", kinds=["summary"])).items
            assert [SECRET in one.body for one in second] == [True]
        assert len(vendor.asked) == 2
        async with house.opened(models=vendor.openai()) as runtime:
            house.runtime = runtime
            await say(house.actor, "conversation:three", *SAID)
            assert (await ended(house, (await housekeeping.consolidate(runtime, house.actor)).id)).state == "succeeded"
        assert len(vendor.asked) == 2, "nobody is asked unless the operator says so"


async def test_another_organization_is_left_alone(running: House, admin: psycopg.Connection) -> None:
    other = running.database.tenant((await identities.create_organization(running.database, slug="globex", name="Globex")).id)
    user = await identities.create_user(other, name="Gil", role="owner")
    theirs = Actor(tenant=other, user_id=user.id, user_name="Gil", role="owner", via="http")
    await say(theirs, "user", *SAID)
    await ended(running, (await housekeeping.consolidate(running.runtime, running.actor)).id)
    assert (await memories.page(access_of(theirs), kinds=["summary"])).items == []


# -- re-embedding ----------------------------------------------------------------------------------------------------------------


class Slow:
    """Another model, which says how often it was asked, and fails when it is told to."""

    provider, model, dimensions, max_batch = "test", "slow", 4, 2

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails = 0

    async def embed(self, texts: Any, *, query: bool = False) -> list[list[float]]:
        if self.fails:
            self.fails -= 1
            raise embedding.EmbeddingFailed("gone for lunch", transient=True)
        self.texts += texts
        return [[1.0, float(len(text) % 5), 0.0, 0.0] for text in texts]


async def test_all_memories_go_over_to_another_embedder_by_a_run_that_goes_on_where_it_was(house: House) -> None:
    old, new = embedding.built_in(), Slow()
    await say(house.actor, "user", *[f"This is the sentence with the number {number}." for number in range(60)], embedder=old)
    access = access_of(house.actor, new)
    new.fails = 1
    async with house.opened(embedder=new) as runtime:
        house.runtime = runtime
        run = await housekeeping.reembed(runtime, house.actor, access)
        assert (await housekeeping.reembed(runtime, house.actor, access)).id == run.id, "the one that is under way"
        run = await ended(house, run.id)
        assert run.state == "succeeded", run.error
        active = await spaces.active(house.actor.tenant)
        assert active is not None
        assert (active.model, run.output["done"]) == ("slow", run.output["total"])
        assert len(new.texts) == run.output["total"], "each once, for all that one call failed"
        events = await runs.events(runtime, house.actor, run.id)
        told = [one.data["current"] for one in events if one.type == "step.progress"]
        assert told == sorted(told)
        assert len(told) > 2


async def test_a_worker_with_another_embedder_leaves_it_to_one_that_has_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphs.nodes import reembed

    monkeypatch.setattr(reembed, "PAUSE", 0.1)
    await say(house.actor, "user", *SAID, embedder=embedding.built_in())
    async with house.opened(embedder=embedding.built_in()) as runtime:
        house.runtime = runtime
        run = await housekeeping.reembed(runtime, house.actor, access_of(house.actor, Slow()))
        async with asyncio.timeout(20):
            while not any("waits for a worker" in one.message for one in await runs.events(runtime, house.actor, run.id)):
                await asyncio.sleep(0.02)
        active = await spaces.active(house.actor.tenant)
        assert active is not None
        assert active.model == "static-minilm-256", "until all are made recall has the old ones"
    async with house.opened(embedder=Slow()) as runtime:
        house.runtime = runtime
        assert (await ended(house, run.id)).state == "succeeded"
        active = await spaces.active(house.actor.tenant)
        assert active is not None
        assert active.model == "slow"


async def test_without_an_embedder_or_the_role_nothing_is_begun(running: House) -> None:
    with pytest.raises(Invalid, match="WEFT_EMBEDDER"):
        await housekeeping.reembed(running.runtime, running.actor, access_of(running.actor))
    viewer = await member(running.actor, "Vic", "operator")
    with pytest.raises(Denied, match="builder"):
        await housekeeping.reembed(running.runtime, viewer, access_of(viewer, Slow()))
