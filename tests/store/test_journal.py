"""What the journal writes: its columns, large values, ends, compaction, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from store import checkpoints, events, node_runs, payloads, runs, workflows
from store.columns import INLINE
from store.errors import LeaseLost, Unavailable
from store.journal import Entry, Journal
from store.postgres import Database, Tenant
from store.queries import Query
from store.runs import NewRun

pytestmark = pytest.mark.anyio
WORKER = -7
LARGE = {"rows": ["x" * 40] * 2000}
AT = "2026-11-21T08:00:00.000001+00:00"


@pytest.fixture
async def journal(database: Database) -> AsyncGenerator[Journal]:
    async with Journal(database, on_woken=nobody) as opened:
        yield opened


def nobody(org_id: str, run_id: str) -> None:
    """Hears of woken runs."""


async def begun(tenant: Tenant, owner: str, *, input: Any = None) -> Entry:
    """An entry for a run that this process drives."""
    digest = await workflows.store_definition(tenant, {"name": "x"})
    new = NewRun(
        workflow_id=None,
        version=None,
        digest=digest,
        name="x",
        mode="production",
        input=input or {},
        created_by=owner,
        actor="Olga",
        worker=WORKER,
    )
    return again((await runs.start(tenant, new)).run_id, tenant)


def again(run_id: str, tenant: Tenant) -> Entry:
    return Entry(org_id=tenant.org_id, run_id=run_id, fence=1)


def step(position: str, **columns: Any) -> dict[str, Any]:
    row = {"position": position, "attempt": 1, "node_id": position, "node_type": "set", "state": "succeeded", "seq": 1, "started_at": AT}
    return {**row, **columns}


def told(type: str) -> dict[str, Any]:
    return {"type": type, "message": type, "position": "a", "level": "technical", "data": None}


async def state_of(tenant: Tenant, run_id: str) -> str:
    run = await runs.get(tenant, run_id)
    assert run is not None
    return run.state


async def test_an_effect_keeps_its_key_and_its_undo_whatever_later_rows_say(journal: Journal, tenant: Tenant, owner: str) -> None:
    entry = await begun(tenant, owner)
    undo = {"type": "http", "config": {"url": "https://x.example"}}
    entry.node_runs = [step("a", state="running", effect="write-once", effect_key="k", series=2, input={"v": 1})]
    await journal.submit(entry)
    entry = again(entry.run_id, tenant)
    entry.node_runs = [step("a", output={"v": 2}, undo=undo)]
    await journal.submit(entry)
    entry = again(entry.run_id, tenant)
    entry.node_runs = [step("a", output={"v": 3})]
    await journal.submit(entry)
    (row,) = await node_runs.latest(tenant, entry.run_id)
    assert (row.series, row.effect, row.effect_key, row.undo) == (2, "write-once", "k", undo)
    assert (row.input, row.output) == ({"v": 1}, {"v": 3})


async def test_a_large_value_is_kept_once_and_read_whole_by_who_needs_it(
    journal: Journal, tenant: Tenant, owner: str, admin_url: str
) -> None:
    entry = await begun(tenant, owner, input=LARGE)
    entry.node_runs = [step("a", input=LARGE, output=LARGE), step("b", output={"small": 1})]
    entry.settle = {"state": "succeeded", "output": LARGE}
    await journal.submit(entry)
    with psycopg.connect(admin_url) as admin:
        assert admin.execute("SELECT count(*) FROM weft.payloads").fetchone() == (1,)
    a, b = await node_runs.trace(tenant, entry.run_id)
    assert (a.input, a.output, b.output) == (None, None, {"small": 1})
    assert a.input_digest == a.output_digest
    assert a.input_size == a.output_size
    assert (b.output_digest, b.output_size) == (None, None)
    for whole in ((await node_runs.latest(tenant, entry.run_id))[0], await node_runs.find(tenant, entry.run_id, "a")):
        assert whole is not None
        assert (whole.input, whole.output) == (LARGE, LARGE)
    run, loaded = await runs.get(tenant, entry.run_id), await runs.load_run(tenant, entry.run_id)
    assert run is not None
    assert loaded is not None
    assert run.input == run.output == loaded.input == LARGE


async def test_a_large_value_is_read_in_parts_and_by_nobody_else(
    journal: Journal, tenant: Tenant, other_tenant: Tenant, owner: str
) -> None:
    entry = await begun(tenant, owner)
    entry.node_runs = [step("a", output=LARGE)]
    await journal.submit(entry)
    (row,) = await node_runs.trace(tenant, entry.run_id)
    digest = row.output_digest
    assert digest is not None
    assert row.output_size is not None
    assert row.output_size > INLINE
    first = await payloads.page(tenant, digest, 0, 9)
    last = await payloads.page(tenant, digest, row.output_size - 3, 100)
    assert first == payloads.Part(text='{"rows":[', size=row.output_size)
    assert last == payloads.Part(text='"]}', size=row.output_size)
    assert await payloads.page(other_tenant, digest, 0, 9) is None
    assert await payloads.page(tenant, "no digest", 0, 9) is None


async def test_values_nothing_refers_to_are_purged_and_the_others_stay(
    journal: Journal, tenant: Tenant, owner: str, admin_url: str
) -> None:
    entry = await begun(tenant, owner)
    entry.node_runs = [step("a", output=LARGE), step("b", output={"other": LARGE})]
    await journal.submit(entry)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("DELETE FROM weft.node_runs WHERE position = 'b'")
    assert await payloads.purge(tenant) == 0, "one that is new may be about to be referred to"
    assert await payloads.purge(tenant, unused=timedelta()) == 1
    (row,) = await node_runs.latest(tenant, entry.run_id)
    assert row.output == LARGE


async def test_a_parent_gets_the_large_output_of_its_child(journal: Journal, tenant: Tenant, owner: str, admin_url: str) -> None:
    parent, child = await begun(tenant, owner), await begun(tenant, owner)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.runs SET parent_run_id = %s, parent_position = 'sub' WHERE id = %s", (parent.run_id, child.run_id))
    parent.waits = [{"position": "sub", "kind": "child"}]
    await journal.submit(parent)
    child.settle = {"state": "succeeded", "output": LARGE}
    await journal.submit(child)
    with psycopg.connect(admin_url) as admin:
        payload = admin.execute("SELECT payload FROM weft.waits WHERE run_id = %s AND state = 'resolved'", (parent.run_id,)).fetchone()
    assert payload is not None
    assert payload[0]["output"] == LARGE


async def test_an_ending_is_kept_until_the_run_has_ended(journal: Journal, tenant: Tenant, owner: str, admin_url: str) -> None:
    entry = await begun(tenant, owner)
    entry.ending = {"state": "failed", "error": {"code": "x"}}
    entry.node_runs = [step("a"), step("b")]
    await journal.submit(entry)
    assert ending(admin_url, entry.run_id) == (entry.ending, None)
    entry = again(entry.run_id, tenant)
    entry.compensated = [{"position": "a", "attempt": 1}]
    entry.settle = {"state": "failed", "error": {"code": "x"}, "dead": True}
    await journal.submit(entry)
    kept, dead_at = ending(admin_url, entry.run_id)
    assert kept is None
    assert dead_at is not None
    assert {row.position: row.state for row in await node_runs.latest(tenant, entry.run_id)} == {"a": "compensated", "b": "succeeded"}


def ending(admin_url: str, run_id: str) -> tuple[Any, Any]:
    with psycopg.connect(admin_url) as admin:
        row = admin.execute("SELECT ending, dead_at FROM weft.runs WHERE id = %s", (run_id,)).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_driver_that_was_replaced_writes_nothing_at_all(journal: Journal, tenant: Tenant, owner: str, admin_url: str) -> None:
    entry = await begun(tenant, owner)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.runs SET fence = 2 WHERE id = %s", (entry.run_id,))
    entry.node_runs, entry.events = [step("a")], [told("step.succeeded")]
    entry.ending, entry.compensated = {"state": "failed"}, [{"position": "a", "attempt": 1}]
    entry.checkpoints = [checkpoint(entry, "1")]
    entry.settle = {"state": "succeeded", "output": None, "compact": True}
    with pytest.raises(LeaseLost):
        await journal.submit(entry)
    assert await node_runs.latest(tenant, entry.run_id) == []
    assert [event.type for event in await events.after(tenant, entry.run_id, 0)] == ["run.created"]
    assert ending(admin_url, entry.run_id) == (None, None)
    assert await state_of(tenant, entry.run_id) == "running"


def checkpoint(entry: Entry, id: str) -> dict[str, Any]:
    return {"thread_id": entry.run_id, "ns": "", "id": id, "parent_id": None, "kind": "msgpack", "body": "AA==", "metadata": {}}


async def test_of_a_runs_checkpoints_the_last_is_kept_and_none_when_it_ends(
    journal: Journal, tenant: Tenant, owner: str, admin_url: str
) -> None:
    entry = await begun(tenant, owner)
    entry.checkpoints = [checkpoint(entry, "1"), checkpoint(entry, "2")]
    await journal.submit(entry)
    saved = await checkpoints.find(tenant, entry.run_id, "", None)
    assert saved is not None
    assert (saved.id, await checkpoints.find(tenant, entry.run_id, "", "1")) == ("2", None)
    entry = again(entry.run_id, tenant)
    entry.checkpoints = [checkpoint(entry, "3")]
    entry.settle = {"state": "succeeded", "compact": True}
    await journal.submit(entry)
    assert await checkpoints.find(tenant, entry.run_id, "", None) is None


async def test_checkpoints_of_runs_that_ended_long_ago_are_compacted(journal: Journal, tenant: Tenant, owner: str, admin_url: str) -> None:
    old, young, going = await begun(tenant, owner), await begun(tenant, owner), await begun(tenant, owner)
    for entry in (old, young, going):
        entry.checkpoints = [checkpoint(entry, "1")]
        await journal.submit(entry)
    for entry in (old, young):
        end = again(entry.run_id, tenant)
        end.settle = {"state": "succeeded"}
        await journal.submit(end)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.runs SET finished_at = finished_at - interval '40 days' WHERE id = %s", (old.run_id,))
    assert await checkpoints.compact(tenant, age=timedelta(days=30)) == 1
    left = [entry.run_id for entry in (old, young, going) if await checkpoints.find(tenant, entry.run_id, "", None)]
    assert left == [young.run_id, going.run_id]


class Doubtful(Database):
    """Its connection breaks under the commits that are counted in `lost`: they happen, and nobody hears of it."""

    lost = 0

    async def batch(self, statements: Any) -> Any:
        answers: Any = await super().batch(statements)
        if self.lost and any(query.name == "record" for _, query, _ in statements):
            self.lost -= 1
            raise Unavailable("the connection broke")
        return answers


@pytest.fixture
async def doubtful(app_url: str, anyio_backend: str) -> AsyncGenerator[Doubtful]:
    async with Doubtful.open(app_url) as opened:
        assert isinstance(opened, Doubtful)
        yield opened


async def test_a_commit_nobody_heard_of_is_neither_repeated_nor_lost(doubtful: Doubtful, tenant: Tenant, owner: str) -> None:
    going, ending, parking = await begun(tenant, owner), await begun(tenant, owner), await begun(tenant, owner)
    for entry in (going, ending, parking):
        entry.node_runs, entry.events = [step("a", output=1)], [told("step.succeeded"), told("step.succeeded")]
    ending.settle = {"state": "succeeded", "output": 5}
    parking.settle = {"state": "waiting", "signal": 0}
    doubtful.lost = 2
    async with Journal(doubtful, on_woken=nobody) as journal:
        assert await asyncio.gather(*(journal.submit(entry) for entry in (going, ending, parking))) == [True, True, True]
        assert journal.reachable.is_set()
    for entry in (going, ending, parking):
        assert [event.type for event in await events.after(tenant, entry.run_id, 0)] == ["run.created", "step.succeeded", "step.succeeded"]
        assert [row.output for row in await node_runs.latest(tenant, entry.run_id)] == [1]
    assert [await state_of(tenant, entry.run_id) for entry in (going, ending, parking)] == ["running", "succeeded", "waiting"]


async def test_a_driver_replaced_while_a_commit_was_in_doubt_hears_of_it(
    doubtful: Doubtful, tenant: Tenant, owner: str, admin_url: str
) -> None:
    entry = await begun(tenant, owner)
    entry.settle = {"state": "succeeded", "output": 1}
    doubtful.lost = 1

    class Meanwhile(Doubtful):
        async def batch(self, statements: Any) -> Any:
            with psycopg.connect(admin_url, autocommit=True) as admin:
                admin.execute("UPDATE weft.runs SET fence = 2 WHERE id = %s", (entry.run_id,))
            return await super().batch(statements)

    doubtful.__class__ = Meanwhile
    async with Journal(doubtful, on_woken=nobody) as journal:
        with pytest.raises(LeaseLost):
            await journal.submit(entry)


class Silent(Database):
    """A database that does not answer while `away` is set."""

    away = False

    async def batch(self, statements: Sequence[tuple[str, Query, dict[str, Any]]]) -> Any:
        if self.away:
            raise Unavailable("nobody there")
        return await super().batch(statements)


async def test_entries_are_held_in_their_order_and_given_up_when_patience_ends(app_url: str, tenant: Tenant, owner: str) -> None:
    entry = await begun(tenant, owner)
    async with Silent.open(app_url) as database, Journal(database, on_woken=nobody, patience=60) as journal:
        assert isinstance(database, Silent)
        database.away = True
        kept = [again(entry.run_id, tenant) for _ in range(300)]
        futures: list[asyncio.Future[bool]] = []
        for number, one in enumerate(kept):
            one.events = [told(f"step.{number}")]
            futures.append(journal.submit(one))
        while journal.reachable.is_set():
            await asyncio.sleep(0)
        database.away = False
        assert await asyncio.gather(*futures) == [True] * 300
        assert journal.reachable.is_set()
    found = await events.after(tenant, entry.run_id, 0, limit=1000)
    assert [event.type for event in found][1:] == [f"step.{number}" for number in range(300)]


async def test_who_waits_for_a_database_that_stays_away_hears_of_it(app_url: str, tenant: Tenant, owner: str) -> None:
    entry = await begun(tenant, owner)
    async with Silent.open(app_url) as database, Journal(database, on_woken=nobody, patience=0.2) as journal:
        assert isinstance(database, Silent)
        database.away = True
        first, second = journal.submit(entry), journal.submit(again(entry.run_id, tenant))
        for future in (first, second):
            with pytest.raises(Unavailable):
                await future
        assert not journal.reachable.is_set()
        database.away = False
        assert await journal.submit(again(entry.run_id, tenant))
        assert journal.reachable.is_set()
