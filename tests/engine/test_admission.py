"""Admission: delays, deadlines, priorities and concurrency keys of starts and of child runs, through the engine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from graphs import runs, steering
from graphs.admission import UNTIMED, Begin, Timing, admission
from graphs.engine import upkeep
from graphs.runtime import Runtime
from store import identities, workers
from store.errors import Invalid
from store.queries import Query
from store.workers import Post
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import APPROVAL, answer, until

pytestmark = pytest.mark.anyio
KEYED = {"concurrency": {"key": "{{ input.customer }}", "limit": 1}}
ASIDE = Query("aside", b"SELECT count(*)::int AS n FROM weft.runs WHERE org_id = %(org_id)s AND id = %(id)s AND wake_at IS NULL")
DELETE = Query("delete", b"DELETE FROM weft.runs WHERE org_id = %(org_id)s AND id = %(id)s")
RUNNING = Query("running", b"SELECT count(*)::int AS n FROM weft.runs WHERE org_id = %(org_id)s AND state = 'running'")
UNDER_WAY = Query(
    "under_way",
    b"""SELECT coalesce(max(number), 0)::int AS most FROM (
          SELECT count(*) AS number FROM weft.runs
          WHERE org_id = %(org_id)s AND finished_at IS NULL AND started_at IS NOT NULL GROUP BY concurrency_key) AS x""",
)


async def admitted(house: House, settings: dict[str, Any], input: Any = None, timing: Timing = UNTIMED, mode: str = "production") -> Any:
    begin = Begin(workflow="flow", version=3, mode=mode, input=input or {})
    return await admission(house.evaluator, {"settings": settings}, begin, variables={"REGION": "north"}, timing=timing)


async def start(house: House, definition: dict[str, Any], input: Any = None, timing: Timing = UNTIMED) -> runs.Run:
    return await runs.start(house.runtime, house.actor, workflow=definition["name"], input=input or {}, timing=timing)


# -- what is rendered ------------------------------------------------------------------------------------------------------------


async def test_the_key_is_rendered_from_the_input_under_the_name_of_the_workflow(house: House) -> None:
    key = {"concurrency": {"key": "{{ input.customer }}-{{ env.REGION }}-{{ run.version + 1 }}", "limit": 4}}
    found = await admitted(house, key, {"customer": 17})
    assert (found.concurrency_key, found.concurrency_limit) == ("flow:17-north-4", 4)


@pytest.mark.parametrize(
    ("settings", "input", "words"),
    [
        (KEYED, {"customer": None}, "is empty for this input"),
        (KEYED, {"customer": ""}, "is empty for this input"),
        (KEYED, {"customer": "x" * 501}, "501 characters"),
        (KEYED, {}, r"settings\.concurrency\.key: .*customer"),
        ({"deadline": "{{ input.by }}"}, {"by": "tomorrow"}, r"settings\.deadline is 'tomorrow'; write an ISO 8601 instant"),
        ({"deadline": "{{ input.by }}"}, {"by": "2027-01-31T09:00:00"}, "with a time zone"),
        ({"deadline": "{{ input.by }}"}, {"by": "9999-12-31T23:59:59-12:00"}, "ISO 8601"),
        ({"deadline": "{{ input.by }}"}, {"by": 5}, "which is not text"),
    ],
)
async def test_what_does_not_do_is_said_with_its_place(house: House, settings: dict[str, Any], input: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await admitted(house, settings, input)


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing(delay="soon"), "delay: 'soon' is not a duration"),
        (Timing(deadline="2027-01-31"), "deadline is '2027-01-31'; write an ISO 8601 instant"),
        (Timing(priority=101), "from -100 to 100"),
    ],
)
async def test_a_start_that_times_itself_wrongly_is_refused(house: House, timing: Timing, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await admitted(house, {}, timing=timing)


async def test_a_start_says_delay_and_priority_itself_and_the_sooner_deadline_counts(house: House) -> None:
    settings = {"start_delay": "1h", "priority": 5, "deadline": "2040-01-01T00:00:00Z", "timeout": "1m"}
    own = await admitted(house, settings)
    assert (own.delay, own.priority, own.timeout, own.deadline) == (3600.0, 5, 60.0, datetime(2040, 1, 1, tzinfo=UTC))
    timing = Timing(delay="0s", priority=-5, deadline="2030-01-01T02:00:00+02:00")
    told = await admitted(house, settings, timing=timing)
    assert (told.delay, told.priority, told.deadline) == (None, -5, datetime(2030, 1, 1, tzinfo=UTC))


async def test_a_test_run_waits_for_nothing_but_its_settings_are_checked(house: House) -> None:
    found = await admitted(house, {**KEYED, "start_delay": "1h"}, {"customer": "a"}, mode="test")
    assert (found.delay, found.concurrency_key, found.concurrency_limit) == (None, None, None)
    with pytest.raises(Invalid):
        await admitted(house, KEYED, {"customer": ""}, mode="test")


# -- delays and deadlines --------------------------------------------------------------------------------------------------------


async def test_a_delayed_run_begins_when_its_time_has_come_and_its_timeout_counts_from_then(running: House) -> None:
    await running.publish(flow(put("a"), settings={"start_delay": "700ms", "timeout": "10m"}))
    run = await start(running, {"name": "flow"})
    assert (run.state, run.started_at) == ("queued", None)
    assert run.deadline_at is not None
    assert run.deadline_at - run.created_at > timedelta(minutes=10, seconds=0.6)
    done = await until(running, run.id, "succeeded")
    assert done.started_at is not None
    assert done.started_at - run.created_at >= timedelta(seconds=0.7)


async def test_a_delayed_run_can_be_cancelled_and_pausing_does_not_shorten_its_delay(running: House) -> None:
    await running.publish(flow(put("a")))
    paused, cancelled = [await start(running, {"name": "flow"}, timing=Timing(delay="1h")) for _ in range(2)]
    await steering.control(running.runtime, running.actor, cancelled.id, "cancel")
    assert (await until(running, cancelled.id, "cancelled")).steps_done == 0
    for action in ("pause", "resume"):
        await steering.control(running.runtime, running.actor, paused.id, action)
    done = await running.run(flow(put("a")))
    assert (done.state, (await runs.get(running.runtime, running.actor, paused.id)).state) == ("succeeded", "queued")


@pytest.mark.promise("P8")
async def test_a_run_fails_at_its_deadline_even_before_its_delay_is_over(running: House) -> None:
    await running.publish(flow(put("a"), settings={"start_delay": "1h", "deadline": "{{ input.by }}"}))
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    run = await start(running, {"name": "flow"}, {"by": soon})
    failed = await until(running, run.id, "failed")
    assert (failed.error["code"], failed.steps_done) == ("run_timeout", 0)


# -- concurrency keys ------------------------------------------------------------------------------------------------------------


async def test_runs_of_one_key_go_one_after_the_other_and_others_pass_by(running: House) -> None:
    await running.publish(flow(APPROVAL, settings=KEYED))
    first, second, other = [await start(running, {"name": "flow"}, {"customer": name, "what": name}) for name in ("a", "a", "b")]
    for run in (first, other):
        await until(running, run.id, "waiting")
    assert (await runs.get(running.runtime, running.actor, second.id)).state == "queued"
    await answer(running, first.id, {"approved": True})
    await until(running, second.id, "waiting")
    assert (await runs.get(running.runtime, running.actor, first.id)).state == "succeeded"


async def test_a_blocked_run_can_be_cancelled_and_a_finished_one_queues_up_again_when_retried(running: House) -> None:
    stop = {"id": "no", "type": "stop", "config": {"state": "failed", "message": "no"}}
    await running.publish({**flow(stop, settings=KEYED), "name": "stops"})
    failed = await start(running, {"name": "stops"}, {"customer": "a"})
    await until(running, failed.id, "failed")
    await running.publish(flow(APPROVAL, settings=KEYED))
    first, blocked = [await start(running, {"name": "flow"}, {"customer": "a", "what": "x"}) for _ in range(2)]
    await until(running, first.id, "waiting")
    await steering.control(running.runtime, running.actor, blocked.id, "cancel")
    assert (await until(running, blocked.id, "cancelled")).steps_done == 0
    await steering.control(running.runtime, running.actor, first.id, "cancel")
    await until(running, first.id, "cancelled")
    third = await start(running, {"name": "flow"}, {"customer": "a", "what": "x"})
    await until(running, third.id, "waiting")
    await steering.control(running.runtime, running.actor, first.id, "retry")
    await running.run(flow(put("a")))
    assert (await runs.get(running.runtime, running.actor, first.id)).state == "queued"
    await answer(running, third.id, {"approved": True})
    await until(running, first.id, "waiting")


async def test_a_blocked_child_waits_its_turn_and_its_parent_with_it(running: House) -> None:
    await running.publish({**flow(APPROVAL, settings=KEYED), "name": "child"})
    sub = {"id": "sub", "type": "subflow", "config": {"workflow": "child", "input": {"customer": "a", "what": "x"}}}
    first, second = [await running.start(flow(sub)) for _ in range(2)]
    for others in ("queued", "succeeded"):
        async with asyncio.timeout(20):
            while sorted((kids := await children(running)).values()) != sorted(("waiting", others)):
                await asyncio.sleep(0.02)
        await answer(running, next(id for id, state in kids.items() if state == "waiting"), {"approved": True})
    for run in (first, second):
        await until(running, run.id, "succeeded")


async def children(house: House) -> dict[str, str]:
    return {kid.id: kid.state for kid in (await runs.page(house.runtime, house.actor, workflow="child")).items}


async def test_a_place_that_nobody_gave_back_is_found_by_the_sweep(running: House) -> None:
    """As when a run is deleted, or its end and a claim miss each other."""
    await running.publish(flow(APPROVAL, settings=KEYED))
    first, second = [await start(running, {"name": "flow"}, {"customer": "a", "what": "x"}) for _ in range(2)]
    await until(running, first.id, "waiting")
    async with asyncio.timeout(20):
        while await running.actor.tenant.one(ASIDE, int, id=second.id) != 1:
            await asyncio.sleep(0.02)
    await running.actor.tenant.execute(DELETE, id=first.id)
    await until(running, second.id, "waiting")


async def test_two_hundred_runs_of_five_keys_on_three_engines_go_two_by_two_and_all_finish(house: House) -> None:
    pause = {"id": "w", "type": "wait", "config": {"seconds": 0.05}}
    await house.publish(flow(pause, settings={"concurrency": {"key": "{{ input.k }}", "limit": 2}}))
    most = 0
    async with AsyncExitStack() as stack:
        engines: list[Runtime] = [await stack.enter_async_context(house.opened()) for _ in range(3)]
        for number in range(200):
            house.runtime = engines[number % 3]
            await start(house, {"name": "flow"}, {"k": number % 5})
        async with asyncio.timeout(90):
            while (await runs.page(house.runtime, house.actor, state="succeeded", limit=1)).total < 200:
                most = max(most, *await house.actor.tenant.all(UNDER_WAY, int))
                await asyncio.sleep(0.01)
    assert 1 <= most <= 2  # what was seen


# -- chores ----------------------------------------------------------------------------------------------------------------------


async def test_the_chores_forget_old_workers_and_the_checkpoints_of_runs_that_ended_long_ago(
    house: House, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(worker=-9, host="gone", pid=1, version="0", lease=timedelta(seconds=7), slots=1)
    await workers.beat(house.database, post, driving=0, draining=False, at=datetime.now(UTC) - timedelta(hours=25))
    monkeypatch.setattr(upkeep, "TIDY_AFTER", 1)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        async with house.opened() as house.runtime:
            assert any(worker.host == "gone" and worker.state == "lost" for worker in await workers.listed(house.database))
            run = await house.run(flow(APPROVAL), {"what": "x"})
            await answer(house, run.id, {"approved": True})
            await until(house, run.id, "succeeded")
            admin.execute("UPDATE weft.runs SET finished_at = finished_at - interval '8 days'")
            async with asyncio.timeout(20):
                while any(worker.host == "gone" for worker in await workers.listed(house.database)):
                    await asyncio.sleep(0.02)
                while admin.execute("SELECT FROM weft.checkpoints WHERE thread_id = %s", (run.id,)).fetchone():
                    await asyncio.sleep(0.02)


# -- limits of organizations, and the fast path ----------------------------------------------------------------------------------


async def test_a_run_that_need_not_wait_begins_at_once_and_one_of_a_limited_organization_in_its_turn(running: House) -> None:
    slow = {"id": "s", "type": "script", "config": {"code": "x = 0\nfor i in range(3000000):\n    x += i\nreturn x"}}
    first = await running.start(flow(put("a")))
    assert first.state in ("running", "succeeded")
    await until(running, first.id, "succeeded")
    await identities.limit_organization(running.actor.tenant, 1)
    started = [await running.start(flow(slow)) for _ in range(4)]
    most = 0
    async with asyncio.timeout(60):
        while {run.state for run in started} != {"succeeded"}:
            most = max(most, *await running.actor.tenant.all(RUNNING, int))
            started = [await runs.get(running.runtime, running.actor, run.id) for run in started]
    assert most == 1
