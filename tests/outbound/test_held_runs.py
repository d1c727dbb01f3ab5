"""Runs whose calls are refused by a circuit or a rate limit: nothing is in doubt, nothing is lost, and they go on by themselves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from graphs import circuits, runs
from graphs.outbound.breaker import THRESHOLD, Failed, after
from store import circuits as rows
from store.postgres import Tenant
from store.queries import Query
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.outbound.loopback import always, answer, origin

pytestmark = pytest.mark.anyio
SOON = b"UPDATE weft.circuits SET retry_at = clock_timestamp() + make_interval(secs => %(seconds)s) WHERE org_id = %(org_id)s::uuid"


async def opened(tenant: Tenant, target: str, *, seconds: float) -> None:
    """Opens a circuit for so long."""
    for _ in range(THRESHOLD):
        await rows.change(tenant, target, lambda found: after(found, Failed(call="x", error="no answer"), found.now), make=True)
    await tenant.execute(Query("soon", SOON), seconds=seconds)


def post(url: str, **more: Any) -> dict[str, Any]:
    return flow({"id": "pay", "type": "http", "config": {"method": "POST", "url": url, "json": {"amount": 5}}, **more})


async def told(house: House, run: Run, type: str) -> list[Any]:
    return [event for event in await runs.events(house.runtime, house.actor, run.id) if event.type == type]


@pytest.mark.promise("P2")
async def test_a_write_that_an_open_circuit_refuses_is_made_later_exactly_once_and_never_in_doubt(house: House) -> None:
    async with origin(always(answer(200))) as here, house.opened() as house.runtime:
        await house.run(flow(put("warm")))  # what the first run imports would take longer than the circuit is open
        await opened(house.actor.tenant, here.url, seconds=2.0)
        run = await house.run(post(here.url))
        assert (run.state, len(here.asked)) == ("succeeded", 1), run.error
        [held] = await told(house, run, "step.retrying")
        assert here.url in held.message
        assert "until" in held.message
        assert held.data["circuit"] == here.url
        assert not await told(house, run, "step.ambiguous")
        [circuit] = (await circuits.page(house.actor.tenant)).items
        assert circuit.state == "closed"


async def test_runs_that_wait_for_a_well_again_host_go_on_in_any_worker(house: House) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(origin(always(answer(200))))
        for _ in range(2):
            house.runtime = await stack.enter_async_context(house.opened())
        await opened(house.actor.tenant, here.url, seconds=1.0)
        started = [await house.start(post(here.url, retry={"max_attempts": 10})) for _ in range(8)]
        done = [await runs.wait(house.runtime, house.actor, run.id, seconds=30) for run in started]
        assert ({run.state for run in done}, len(here.asked)) == ({"succeeded"}, 8)


async def test_a_step_that_may_not_be_retried_fails_with_the_circuit_and_leads_on_by_its_error_edge(house: House) -> None:
    async with origin(always(answer(200))) as here, house.opened() as house.runtime:
        await opened(house.actor.tenant, here.url, seconds=600.0)
        instead = flow(
            {"id": "pay", "type": "http", "config": {"url": here.url}, "retry": {"max_attempts": 1}, "on_error": "route"},
            {"id": "other", "type": "set", "config": {"values": {"why": "{{ errors.pay.code }}"}}},
            edges=[("pay", "other", {"branch": "error"})],
            output="{{ nodes.other.why }}",
        )
        run = await house.run(instead)
        assert (run.state, run.output, here.asked) == ("succeeded", "circuit_open", [])


async def test_waiting_for_a_rate_limit_uses_up_no_attempts(house: House) -> None:
    async with origin(always(answer(200))) as here, house.opened() as house.runtime:
        await circuits.limit(house.actor.tenant, here.url, "60/min", 1)
        started = [await house.start(post(here.url, retry={"max_attempts": 1})) for _ in range(6)]
        done = [await runs.wait(house.runtime, house.actor, run.id, seconds=30) for run in started]
        assert ({run.state for run in done}, len(here.asked)) == ({"succeeded"}, 6)
        assert any([await told(house, run, "step.retrying") for run in done])
