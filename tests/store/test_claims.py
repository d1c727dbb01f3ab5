"""Claiming: in turns between organizations, within their limits, under concurrency keys, and without reading what is not due."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from datetime import datetime, timedelta

import psycopg
import pytest

from store import runs, workers
from store.postgres import Database
from store.workers import Post
from tests.store.queue import LEASE, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(database: Database, admin_url: str) -> Generator[Queue]:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        yield Queue(database=database, admin=admin)


# -- fairness --------------------------------------------------------------------------------------------------------------------


async def test_a_backlog_of_one_organization_does_not_hold_up_the_others(queue: Queue) -> None:
    big, *small = [await queue.organization(slug) for slug in ("big", "one", "two")]
    queue.put(big, 5000, due=-100, priority=100)
    for owner in small:
        queue.put(owner, 20)
    claimed = Counter(row.org_id for row in await queue.claim(30))
    assert claimed == {big.id: 10, small[0].id: 10, small[1].id: 10}
    assert Counter(row.org_id for row in await queue.claim(30)) == claimed
    assert Counter(row.org_id for row in await queue.claim(30)) == {big.id: 30}


async def test_who_has_fewer_runs_under_way_comes_first(queue: Queue) -> None:
    first, second = await queue.organization("first"), await queue.organization("second")
    queue.put(first, 20)
    assert len(await queue.claim(6)) == 6
    queue.put(second, 20)
    assert Counter(row.org_id for row in await queue.claim(6)) == {second.id: 6}
    assert Counter(row.org_id for row in await queue.claim(6)) == {first.id: 3, second.id: 3}


async def test_within_an_organization_priority_comes_first_and_then_the_longest_due(queue: Queue) -> None:
    owner = await queue.organization("acme")
    late, early, low = queue.put(owner, 1, due=-1), queue.put(owner, 1, due=-9), queue.put(owner, 1, due=-99, priority=-5)
    high = queue.put(owner, 1, priority=5)
    order = [(await queue.claim(1))[0].id for _ in range(4)]
    assert order == [*high, *early, *late, *low]


# -- limits of organizations -----------------------------------------------------------------------------------------------------


async def test_four_claimers_at_once_never_exceed_the_limit_of_an_organization(queue: Queue) -> None:
    limited, free = await queue.organization("limited", max_running=7), await queue.organization("free")
    queue.put(limited, 400)
    queue.put(free, 400)
    most = 0
    for _ in range(6):
        claimed = [row for rows in await asyncio.gather(*(queue.claim(8, worker=-n) for n in range(1, 5))) for row in rows]
        assert len({row.id for row in claimed}) == len(claimed)
        most = max(most, queue.count(f"org_id = '{limited.id}' AND state = 'running'"))
        queue.finish([row.id for row in claimed][::2])
    assert most == 7
    assert queue.count(f"org_id = '{free.id}' AND started_at IS NOT NULL") > 100
    assert queue.count(f"org_id = '{limited.id}' AND state = 'queued' AND wake_at IS NULL") == 0  # the blocked ones stay due


async def test_an_organization_at_its_limit_costs_the_others_nothing(queue: Queue) -> None:
    full, free = await queue.organization("full", max_running=1), await queue.organization("free")
    queue.put(full, 3000, due=-50)
    queue.put(free, 40)
    assert Counter(row.org_id for row in await queue.claim(32)) == {full.id: 1, free.id: 31}
    assert Counter(row.org_id for row in await queue.claim(32)) == {free.id: 9}
    assert await queue.claim(32) == []


# -- concurrency keys ------------------------------------------------------------------------------------------------------------


async def test_two_hundred_runs_of_five_keys_go_in_two_by_two_also_when_nobody_is_woken(queue: Queue) -> None:
    """Whoever finishes a run here dies before it wakes the next: the sweep does."""
    owner = await queue.organization("acme")
    queue.put(owner, 200, key="k", keys=5, limit=2)
    done = most = 0
    async with asyncio.timeout(60):
        while done < 200:
            claimed = [row.id for rows in await asyncio.gather(*(queue.claim(16, worker=-n) for n in (1, 2, 3))) for row in rows]
            rows = queue.admin.execute("SELECT count(*) FROM weft.runs WHERE state = 'running' GROUP BY concurrency_key").fetchall()
            most = max(most, *(number for (number,) in rows))
            queue.finish(claimed)
            done += len(claimed)
            await workers.wake_lines(queue.database)
    assert most == 2
    assert queue.count("state = 'succeeded'") == 200


async def test_runs_of_one_key_go_in_by_priority_and_then_in_the_order_they_were_started(queue: Queue) -> None:
    owner = await queue.organization("acme")
    first = queue.put(owner, 1, key="k", limit=1)
    assert [row.id for row in await queue.claim()] == first
    others, urgent = queue.put(owner, 3, key="k", limit=1), queue.put(owner, 1, key="k", limit=1, priority=9)
    assert await queue.claim() == []
    assert queue.count("state = 'queued' AND wake_at IS NULL AND NOT admitted") == 4
    order: list[str] = []
    running = first
    for _ in range(4):
        queue.finish(running)
        assert await workers.wake_lines(queue.database) == 1
        running = [row.id for row in await queue.claim()]
        order += running
    assert order == [*urgent, *sorted(others)]


async def test_blocked_runs_of_a_key_do_not_stand_before_the_rest_of_their_organization(queue: Queue) -> None:
    owner = await queue.organization("acme")
    queue.put(owner, 3000, due=-100, key="k", limit=1)
    free = queue.put(owner, 5)
    claimed = {row.id for row in await queue.claim()}
    assert len(claimed) == 6
    assert claimed > set(free)


async def test_organizations_with_the_same_key_do_not_wait_for_each_other(queue: Queue) -> None:
    for slug in ("one", "two"):
        queue.put(await queue.organization(slug), 3, key="k", limit=1)
    assert len(await queue.claim()) == 2


async def test_a_cancelled_run_and_one_whose_time_is_up_need_no_place_to_end(queue: Queue) -> None:
    owner = await queue.organization("acme")
    queue.put(owner, 4, key="k", limit=1)
    (first,) = await queue.claim()
    waiting = [id for (id,) in queue.admin.execute("SELECT id::text FROM weft.runs WHERE state = 'queued' ORDER BY id").fetchall()]
    cancelled, late, _ = waiting
    queue.admin.execute("UPDATE weft.runs SET request = 'cancel', wake_at = clock_timestamp() WHERE id = %s", (cancelled,))
    queue.admin.execute("UPDATE weft.runs SET deadline_at = clock_timestamp(), wake_at = clock_timestamp() WHERE id = %s", (late,))
    assert {row.id for row in await queue.claim()} == {cancelled, late}
    assert queue.count("admitted") == 1
    queue.finish([first.id, cancelled, late])
    assert await workers.wake_lines(queue.database) == 1
    assert len(await queue.claim()) == 1


async def test_a_deadline_stays_when_a_run_is_put_aside(queue: Queue) -> None:
    owner = await queue.organization("acme")
    queue.put(owner, 2, key="k", limit=1)
    queue.admin.execute("UPDATE weft.runs SET deadline_at = clock_timestamp() + interval '1 hour'")
    (first,) = await queue.claim()
    assert queue.count("wake_at = deadline_at AND state = 'queued'") == 1
    soon = first.now + timedelta(hours=2)
    (late,) = [row for row in await runs.claim(queue.database, slots=5, worker=-9, lease=LEASE, at=soon) if not row.recovered]
    assert late.id != first.id


async def test_a_delayed_run_joins_the_line_when_its_delay_is_over(queue: Queue) -> None:
    owner = await queue.organization("acme")
    delayed = queue.put(owner, 2, due=60, key="k", limit=1)
    queue.put(owner, 1, key="k", limit=1)
    (first,) = await queue.claim()
    queue.finish([first.id])
    assert await workers.wake_lines(queue.database) == 0  # the delayed ones do not stand in line
    claimed = await runs.claim(queue.database, slots=5, worker=-9, lease=LEASE, at=first.now + timedelta(seconds=61))
    assert [row.id for row in claimed] == [min(delayed)]


async def test_a_smaller_limit_ahead_holds_for_all_behind_it(queue: Queue) -> None:
    """A workflow whose new version allows five: its old runs, which allow one, must get their turn too."""
    owner = await queue.organization("acme")
    queue.put(owner, 1, key="k", limit=5)
    assert len(await queue.claim()) == 1
    queue.put(owner, 1, key="k", limit=1)
    queue.put(owner, 3, key="k", limit=5)
    assert await queue.claim() == []


# -- plans -----------------------------------------------------------------------------------------------------------------------


async def test_a_claim_reads_neither_future_timers_nor_a_backlog(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    """Pages, which do not depend on how busy the machine is. The plans are made while the table is small and kept, as in a worker."""
    owner, other = await queue.organization("acme"), await queue.organization("other")
    pages(queue)
    queue.put(owner, 100_000, due=3600, state="waiting")
    timers = least(queue)
    queue.put(owner, 20_000, due=-50)
    backlog = least(queue)
    for priority in range(1, 101):
        queue.put(other, 1, due=60, priority=priority)
    queue.admin.execute("ANALYZE weft.runs")
    queue.put(owner, 20_000, due=-90)
    queues = least(queue)
    with capsys.disabled():
        print(f"\nPages a claim reads beside 100,000 timers: {timers}; of 32 of a backlog: {backlog}, with 100 more queues: {queues}")
    assert timers < 500
    assert backlog < 3000
    assert queues < 5000


def least(queue: Queue) -> int:
    """Of several claims: one that comes after a vacuum of somebody else's reads the catalogue anew."""
    return min(pages(queue) for _ in range(3))


def pages(queue: Queue) -> int:
    """How many pages a claim of 32 touches, its functions and all; it finds fewer when fewer are due."""
    claim = "SELECT * FROM weft.claim_runs(32, -1, interval '8 s')"
    explained = queue.admin.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}".encode()).fetchone()
    assert explained is not None
    plan = explained[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


# -- leases and clocks -----------------------------------------------------------------------------------------------------------


async def beat(queue: Queue, worker: int, at: float) -> None:
    post = Post(worker=worker, host="h", pid=1, version="0", lease=LEASE, slots=4)
    await workers.beat(queue.database, post, driving=0, draining=False, at=await moment(queue, at))


async def moment(queue: Queue, after: float) -> datetime:
    row = queue.admin.execute("SELECT clock_timestamp() + make_interval(secs => %s)", (after,)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_when_the_clock_jumps_nobody_takes_a_living_workers_runs_but_a_dead_ones_are_taken(queue: Queue, jump: float) -> None:
    owner = await queue.organization("acme")
    queue.put(owner, 2)
    living, dead = await queue.claim(1, worker=-1), await queue.claim(1, worker=-2)
    for second in range(0, 10, 2):
        await beat(queue, -3, -10.0 + second)
    await beat(queue, -3, 0)

    async def taken(after: float) -> set[str]:
        await beat(queue, -3, jump + after)
        await runs.renew(queue.database, worker=-1, run_ids=[living[0].id], lease=LEASE, at=await moment(queue, jump + after))
        found = await runs.claim(queue.database, slots=4, worker=-3, lease=LEASE, at=await moment(queue, jump + after))
        return {row.id for row in found}

    assert [await taken(second) for second in (0.0, 2.0, 4.0, 6.0)] == [set()] * 4
    assert await taken(8.5) == {dead[0].id}


async def test_a_worker_whose_heartbeats_come_judges_leases_at_once(queue: Queue) -> None:
    owner = await queue.organization("acme")
    queue.put(owner, 1)
    (run,) = await queue.claim(1, worker=-2)
    for second in (-10, -8, -6, -4, -2, 0, 2, 4, 6):
        await beat(queue, -3, float(second))
        assert await runs.claim(queue.database, slots=4, worker=-3, lease=LEASE, at=await moment(queue, second)) == []
    await beat(queue, -3, 8.5)
    (again,) = await runs.claim(queue.database, slots=4, worker=-3, lease=LEASE, at=await moment(queue, 8.5))
    assert (again.id, again.recovered, again.claims) == (run.id, True, 1)
