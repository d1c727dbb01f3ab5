"""The clock of Postgres set back: lengths of time take as long as they would have, instants that somebody named stay where they are."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from store import workers
from store.postgres import Database
from tests.store.queue import Queue

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


@pytest.fixture
def queue(database: Database, admin_url: str) -> Generator[Queue]:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        yield Queue(database=database, admin=admin)


async def test_a_clock_that_runs_on_changes_nothing(database: Database) -> None:
    now = datetime.now(UTC)
    for seconds in (0, 1, 3600, 3599):  # a second back is a clock being disciplined, not set
        assert await workers.mind_clock(database, at=now + timedelta(seconds=seconds)) is None


async def test_what_was_due_by_the_old_clock_is_due_by_the_new_one(queue: Queue) -> None:
    owner = await queue.organization("acme")
    old = datetime.now(UTC) + HOUR
    await workers.mind_clock(queue.database, at=old)
    (due,) = queue.put(owner, 1, due=3590)  # seconds from now, that is ten seconds ago for the old clock
    (later,) = queue.put(owner, 1, due=3630)
    assert await workers.mind_clock(queue.database, at=datetime.now(UTC)) == pytest.approx(3600, abs=5)
    assert [row.id for row in await queue.claim(5)] == [due]
    ((left,),) = queue.admin.execute("SELECT wake_at - clock_timestamp() FROM weft.runs WHERE id = %s", (later,)).fetchall()
    assert left == pytest.approx(timedelta(seconds=30), abs=timedelta(seconds=5))
    assert await workers.mind_clock(queue.database) is None, "once is enough, whoever looks next"


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_timer_keeps_its_length_and_a_named_instant_its_place(queue: Queue, lasting: bool) -> None:
    owner = await queue.organization("acme")
    old = datetime.now(UTC) + HOUR
    await workers.mind_clock(queue.database, at=old)
    (run,) = queue.put(owner, 1, state="waiting", due=3600 + 60)
    due = old + timedelta(minutes=1)
    queue.admin.execute(
        """INSERT INTO weft.waits (org_id, run_id, position, kind, due_at, lasting, created_at)
           VALUES (%s, %s, 'w', 'timer', %s, %s, %s)""",
        (owner.id, run, due, lasting, old),
    )
    await workers.mind_clock(queue.database)
    ((found, created),) = queue.admin.execute("SELECT due_at, created_at FROM weft.waits WHERE run_id = %s", (run,)).fetchall()
    assert found == pytest.approx(due - HOUR if lasting else due, abs=timedelta(seconds=5))
    assert created <= datetime.now(UTC), "an event that comes now comes after the wait began"


async def test_every_instant_of_the_old_clock_is_set_back(queue: Queue) -> None:
    owner = await queue.organization("acme")
    old = datetime.now(UTC) + HOUR
    await workers.mind_clock(queue.database, at=old)
    (run,) = queue.put(owner, 1, state="waiting", due=3600)
    admin, org = queue.admin, owner.id
    admin.execute(
        """INSERT INTO weft.node_runs (org_id, run_id, position, attempt, node_id, node_type, state, seq, retry_at)
           VALUES (%s, %s, 's', 1, 's', 'http', 'retrying', 1, %s)""",
        (org, run, old),
    )
    admin.execute("INSERT INTO weft.received_events (org_id, name, payload, received_at) VALUES (%s, 'paid', '{}', %s)", (org, old))
    admin.execute(
        """INSERT INTO weft.circuits (org_id, target, state, opened_at, retry_at, hold_until, slot_at)
           VALUES (%(org)s, 'https://a.example', 'open', %(old)s, %(old)s, %(old)s, %(old)s)""",
        {"org": org, "old": old},
    )
    await workers.mind_clock(queue.database)
    soon = datetime.now(UTC) + timedelta(seconds=5)
    found = admin.execute(
        """SELECT retry_at FROM weft.node_runs UNION ALL SELECT received_at FROM weft.received_events
           UNION ALL SELECT unnest(ARRAY[retry_at, hold_until, slot_at]) FROM weft.circuits UNION ALL SELECT wake_at FROM weft.runs"""
    ).fetchall()
    assert len(found) == 6
    assert all(instant <= soon for (instant,) in found)
