"""What forgetting does to runs: which it touches, which it leaves, and how those that are under way go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from graphs import memories, runs
from graphs.memories import Remembrance, Selection, Wanted
from store import memories as rows
from store import redaction, waits
from store.errors import Denied, Unavailable
from store.queries import Query
from tests.outbound.loopback import Asked, Origin, answer, origin
from tests.server.conftest import House
from tests.server.test_forgetting import everything, holding, step

pytestmark = pytest.mark.anyio
SAID = "Zebulunka keeps the spare key under the third stone."


@pytest.fixture
async def admin(admin_url: str) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(admin_url, autocommit=True) as connection:
        yield connection


def flow(name: str, *steps: dict[str, Any], output: dict[str, Any] | None = None) -> dict[str, Any]:
    edges = [{"from": one["id"], "to": other["id"]} for one, other in pairwise(steps)]
    return {"name": name, "input": {"type": "object"}, "nodes": [*steps], "edges": edges, **({"output": output} if output else {})}


async def test_only_texts_with_the_words_are_redacted_and_the_rest_of_a_run_stays(house: House) -> None:
    access = memories.access(house.runtime, house.actor())
    await memories.remember(access, Remembrance(text=SAID))
    await memories.remember(access, Remembrance(text="The harbour opens at nine."))
    steps = (
        step("find", "recall", query="{{ input.q }}"),
        step("pay", "set", values={"amount": 12.5, "to": "the harbour", "key": "the spare key"}),
    )
    await house.publish(flow("reads", *steps, output={"amount": "{{ nodes.pay.amount }}", "hits": "{{ nodes.find.memories }}"}))
    run = await house.run("reads", {"q": "Where is the key of Zebulunka, and when does the harbour open?", "other": "kept as it is"})
    assert SAID in str(run.output)
    gone = await memories.forget(access, Selection(query="Zebulunka"))
    assert gone.runs == [run.id]
    after = await runs.get(house.runtime, house.actor(), run.id)
    assert after.input == {"q": "[forgotten]", "other": "kept as it is"}
    assert after.output["amount"] == 12.5
    assert "The harbour opens at nine." in str(after.output)
    assert "Zebulunka" not in str(after.output)
    trace = {one.position: one for one in await runs.trace(house.runtime, house.actor(), run.id)}
    assert trace["pay"].output == {"amount": 12.5, "to": "the harbour", "key": "the spare key"}
    told = await runs.events(house.runtime, house.actor(), run.id)
    assert "run.redacted" in {event.type for event in told}


async def test_a_run_that_has_nothing_to_do_with_it_loses_the_whole_line_and_not_a_word_of_another(house: House) -> None:
    access = memories.access(house.runtime, house.actor())
    await house.publish(flow("says", step("copy", "set", values={"copy": "{{ input.note }}"})))
    same = await house.run("says", {"note": f"Note: {SAID.lower()}"})
    other = await house.run("says", {"note": "Put the spare key under the mat."})
    kept = await memories.remember(access, Remembrance(text=SAID))
    gone = await memories.forget(access, Selection(ids=kept.kept.created))
    assert gone.runs == [same.id]
    assert (await runs.get(house.runtime, house.actor(), same.id)).input == {"note": "[forgotten]"}
    assert (await runs.get(house.runtime, house.actor(), other.id)).input == {"note": "Put the spare key under the mat."}


async def test_who_may_not_write_for_all_redacts_no_runs_of_others(house: House) -> None:
    """Else a member could say a sentence, forget it, and so blank it in everybody's runs."""
    await house.publish(flow("says", step("copy", "set", values={"copy": "{{ input.note }}"})))
    run = await house.run("says", {"note": SAID})
    operator = memories.access(house.runtime, house.actor("operator"))
    kept = await memories.remember(operator, Remembrance(text=SAID))
    gone = await memories.forget(operator, Selection(ids=kept.kept.created))
    assert (gone.runs, gone.redacted) == ([], {})
    assert (await runs.get(house.runtime, house.actor(), run.id)).input == {"note": SAID}


async def test_another_organizations_runs_are_not_looked_at(house: House, stranger: House) -> None:
    for one in (house, stranger):
        await one.publish(flow("says", step("copy", "set", values={"copy": "{{ input.note }}"})))
    theirs = await stranger.run("says", {"note": SAID})
    access = memories.access(house.runtime, house.actor())
    kept = await memories.remember(access, Remembrance(text=SAID))
    await memories.forget(access, Selection(ids=kept.kept.created))
    assert (await runs.get(stranger.runtime, stranger.actor(), theirs.id)).input == {"note": SAID}


class Gate:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = asyncio.Event()

    async def reply(self, asked: Asked, writer: Any) -> None:
        self.asked.set()
        await self.open.wait()
        writer.write(answer(body=b"{}", content_type="application/json"))


async def under_way(house: House, gate: Gate, server: Origin, method: str) -> str:
    call = step("call", "http", method=method, url=server.url)
    find = step("find", "recall", query="Where is the spare key?")
    await house.publish(
        flow("calls", find, call, step("last", "set", values={"x": "{{ nodes.find.text }}"}), output={"x": "{{ nodes.last.x }}"})
    )
    started = await runs.start(house.runtime, house.actor(), workflow="calls", input={})
    async with asyncio.timeout(20):
        await gate.asked.wait()
    return started.id


async def test_a_run_under_way_is_taken_from_its_driver_and_goes_on_with_what_is_left(
    house: House, admin: psycopg.AsyncConnection[Any]
) -> None:
    access = memories.access(house.runtime, house.actor())
    kept = await memories.remember(access, Remembrance(text=SAID))
    gate = Gate()
    async with origin(gate.reply) as server:
        run_id = await under_way(house, gate, server, "GET")
        gone = await memories.forget(access, Selection(ids=kept.kept.created))
        assert gone.runs == [run_id]
        gate.open.set()
        ended = await runs.wait(house.runtime, house.actor(), run_id, seconds=30)
    assert ended.state == "succeeded", ended.error
    assert ended.output == {"x": "[forgotten]"}
    assert holding(await everything(admin), ["Zebulunka", "third stone"]) == {}


async def test_a_call_that_must_not_be_cut_off_is_waited_for_and_until_then_nothing_is_forgotten(house: House) -> None:
    access = memories.access(house.runtime, house.actor())
    kept = await memories.remember(access, Remembrance(text=SAID))
    gate = Gate()
    async with origin(gate.reply) as server:
        run_id = await under_way(house, gate, server, "POST")
        with pytest.raises(Unavailable, match=f"run {run_id} is in the middle of a call"):
            await memories.forget(access, Selection(ids=kept.kept.created))
        assert await memories.read(access, kept.kept.created)
        gate.open.set()
        ended = await runs.wait(house.runtime, house.actor(), run_id, seconds=30)
    assert SAID in str(ended.output)
    assert (await memories.forget(access, Selection(ids=kept.kept.created))).runs == [run_id]
    assert (await runs.get(house.runtime, house.actor(), run_id)).output == {"x": "[forgotten]"}


async def test_a_run_forgets_what_it_was_given_and_its_step_counts_once(house: House, admin: psycopg.AsyncConnection[Any]) -> None:
    steps = (
        step("keep", "remember", text="{{ input.said }}", origin="user"),
        step("gone", "forget", query="{{ input.who }}"),
        step("last", "set", values={"count": "{{ nodes.gone.count }}", "said": "{{ input.said }}"}),
    )
    await house.publish(flow("keeps-and-forgets", *steps, output={"count": "{{ nodes.last.count }}", "said": "{{ nodes.last.said }}"}))
    run = await house.run("keeps-and-forgets", {"said": SAID, "who": "Zebulunka"})
    assert run.state == "succeeded", run.error
    assert run.output["count"] >= 1
    assert run.output["said"] == "[forgotten]"
    assert holding(await everything(admin), ["Zebulunka", "third stone"]) == {}


async def test_a_step_that_asks_while_somebody_forgets_is_told_nothing(house: House, admin: psycopg.AsyncConnection[Any]) -> None:
    access = memories.access(house.runtime, house.actor())
    kept = await memories.remember(access, Remembrance(text=SAID))
    await house.publish(flow("idle", step("copy", "set", values={"x": 1})))
    in_step = replace(access, run_id=(await house.run("idle")).id)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with access.tenant.transaction() as transaction:
        await redaction.hold(transaction, kept.kept.created)
        asked = asyncio.create_task(memories.recall(in_step, Wanted(query="spare key")))
        async with asyncio.timeout(20):
            while (await (await admin.execute(waiting)).fetchone()) == (0,):
                await asyncio.sleep(0)
        await rows.delete(transaction, kept.kept.created)
    assert (await asked).recalled.hits == []


async def test_events_of_another_organization_cannot_be_redacted(house: House, stranger: House) -> None:
    steal = Query("steal", b"SELECT weft.redact_events(%(victim)s::uuid, '[]'::json) AS changed, %(org_id)s::uuid AS org_id")
    with pytest.raises(Denied):
        await stranger.tenant.execute(steal, victim=house.tenant.org_id)


async def test_who_waits_for_an_event_by_forgotten_words_is_still_reached(house: House, admin: psycopg.AsyncConnection[Any]) -> None:
    access = memories.access(house.runtime, house.actor())
    keep, hear = step("keep", "remember", text="{{ input.said }}"), step("hear", "wait_event", event="come", correlation="{{ input.who }}")
    await house.publish(flow("hears", keep, hear, output={"got": "{{ nodes.hear.payload }}"}))
    run = await house.run("hears", {"said": SAID, "who": "Zebulunka"})
    assert run.state == "waiting"
    await memories.forget(access, Selection(query="Zebulunka"))
    assert holding(await everything(admin), ["Zebulunka"]) == {}
    await waits.receive(house.tenant, name="come", correlation="Somebody", payload=1, idempotency_key=None)
    received = await waits.receive(house.tenant, name="come", correlation="Zebulunka", payload=2, idempotency_key=None)
    assert received is not None
    assert received.woken == [run.id]
    ended = await runs.wait(house.runtime, house.actor(), run.id, seconds=20)
    assert (ended.state, ended.output) == ("succeeded", {"got": 2})
