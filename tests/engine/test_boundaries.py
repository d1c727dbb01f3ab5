"""Boundaries: timers, events and errors attached to a step."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import runs, signals
from tests.engine.conftest import House, flow, put
from tests.engine.test_groups import failing, positions
from tests.engine.test_waiting import until

pytestmark = pytest.mark.anyio


def waiting(id: str, boundary: dict[str, Any], duration: str = "1h") -> dict[str, Any]:
    return {"id": id, "type": "wait", "config": {"duration": duration}, "boundary": [boundary]}


async def test_an_interrupting_timer_cancels_the_step_and_leads_its_own_way(running: House) -> None:
    definition = flow(
        waiting("ask", {"name": "late", "timer": "200ms"}),
        put("went"),
        put("remind"),
        edges=[("ask", "went"), ("ask", "remind", {"branch": "late"})],
    )
    run = await running.run(definition)
    run = await until(running, run.id, "succeeded")
    assert await positions(running, run.id) == {"ask": "cancelled", "went": "skipped", "remind": "succeeded"}
    assert (await runs.node(running.runtime, running.actor, run.id, "ask")).error["code"] == "interrupted"


async def test_a_timer_that_does_not_interrupt_leads_on_beside_the_step(running: House) -> None:
    definition = flow(
        waiting("work", {"name": "slow", "timer": "200ms", "interrupting": False}, "1500ms"),
        put("done"),
        put("remind"),
        edges=[("work", "done"), ("work", "remind", {"branch": "slow"})],
    )
    run = await until(running, (await running.start(definition)).id, "succeeded")
    rows = {row.position: row for row in await runs.trace(running.runtime, running.actor, run.id)}
    assert {name: row.state for name, row in rows.items()} == {"work": "succeeded", "done": "succeeded", "remind": "succeeded"}
    assert (rows["remind"].finished_at or rows["remind"].started_at) < (rows["work"].finished_at or rows["work"].started_at)


async def test_a_boundary_that_does_not_fire_leaves_its_way_untaken(running: House) -> None:
    definition = flow(
        waiting("work", {"name": "late", "timer": "1h"}, "10ms"),
        put("done"),
        put("remind"),
        edges=[("work", "done"), ("work", "remind", {"branch": "late"})],
    )
    run = await until(running, (await running.start(definition)).id, "succeeded")
    assert await positions(running, run.id) == {"work": "succeeded", "done": "succeeded", "remind": "skipped"}


@pytest.mark.parametrize("restart", [False, True])
async def test_an_event_interrupts_a_step_of_a_waiting_run(house: House, restart: bool) -> None:
    definition = flow(
        waiting("ask", {"name": "recall", "event": "recalled", "correlation": "{{ input.order }}"}),
        put("went"),
        put("recalled"),
        edges=[("ask", "went"), ("ask", "recalled", {"branch": "recall"})],
        input={"type": "object", "properties": {"order": {"type": "string"}}},
    )
    async with house.opened() as house.runtime:
        run = await until(house, (await house.start(definition, {"order": "A7"})).id, "waiting")
        if not restart:
            await signals.send(house.runtime, house.actor, name="recalled", correlation="B1")
            await signals.send(house.runtime, house.actor, name="recalled", correlation="A7")
            await until(house, run.id, "succeeded")
    if restart:
        async with house.opened() as house.runtime:
            await signals.send(house.runtime, house.actor, name="recalled", correlation="A7")
            await until(house, run.id, "succeeded")
            assert await positions(house, run.id) == {"ask": "cancelled", "went": "skipped", "recalled": "succeeded"}


@pytest.mark.parametrize(("codes", "state"), [(["expr*"], "succeeded"), (["http_*"], "failed")])
async def test_an_error_boundary_catches_the_codes_it_names(running: House, codes: list[str], state: str) -> None:
    definition = flow(
        failing("boom", boundary=[{"name": "oops", "error": codes}]),
        put("mend", why="{{ errors.boom.code }}"),
        edges=[("boom", "mend", {"branch": "oops"})],
    )
    run = await running.run(definition)
    assert run.state == state
    if state == "succeeded":
        assert (await runs.node(running.runtime, running.actor, run.id, "mend")).output == {"why": "expression"}


async def test_a_boundary_of_a_group_cancels_all_inside(running: House) -> None:
    inside = {"nodes": [{"id": "sleep", "type": "wait", "config": {"duration": "1h"}}]}
    each = {"id": "each", "type": "foreach", "config": {"items": [1, 2], "body": inside}, "boundary": [{"name": "late", "timer": "300ms"}]}
    run = await until(running, (await running.start(flow(each, put("next"), edges=[("each", "next", {"branch": "late"})]))).id, "succeeded")
    seen = await positions(running, run.id)
    assert seen == {"each": "cancelled", "each[0]/sleep": "cancelled", "each[1]/sleep": "cancelled", "next": "succeeded"}
    assert run.waiting_for == []
