"""What people do to a run whose agent is in the middle of a turn: retries by hand, skips, forks at inner steps, pauses and cancels."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from graphs import forking, runs, steering
from graphs.definition import Json
from graphs.forking import Changes
from tests.agents.conftest import agent, answer, calls, post, results, rows, until
from tests.agents.test_loop import ADD
from tests.engine.conftest import House
from tests.faults.ledger import Ledger
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
PAY_AND_ADD = calls(("pay", {}), ("add", {"a": 1, "b": 1}))


async def seen(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_retry_by_hand_goes_on_at_the_turn_that_failed_and_repeats_nothing(
    working: House, models: ModelServer, book: Ledger
) -> None:
    models.turns.extend([PAY_AND_ADD, Turn(status=400)])
    run = await working.start(agent(post(book, approve=False), ADD))
    await until(working, run.id, "failed")
    models.turns.append(Turn(text="done"))
    await steering.control(working.runtime, working.actor, run.id, action="retry")
    run = await until(working, run.id, "succeeded")
    assert (run.output["text"], run.output["calls"]) == ("done", 2)
    assert (len(models.asked), len(book.arrivals), results(models)[1]) == (3, 1, "2")


async def test_a_call_that_waits_can_be_skipped_and_what_the_person_gives_is_its_answer(working: House, models: ModelServer) -> None:
    models.turns.extend([calls(("ask_person", {"title": "Who?"})), Turn(text="done")])
    run = await working.start(agent({"ask": {}}))
    await until(working, run.id, "waiting")
    await steering.skip(
        working.runtime, working.actor, run.id, "a/call_1_1", {"answer": {"answer": "Ada"}, "answered_by": None, "timed_out": False}
    )
    run = await until(working, run.id, "succeeded")
    assert "Ada" in results(models)[0]


async def test_a_skipped_approval_is_no_approval(working: House, models: ModelServer, book: Ledger) -> None:
    models.turns.extend([calls(("pay", {})), Turn(text="done")])
    run = await working.start(agent(post(book)))
    await until(working, run.id, "waiting")
    forged: Json = {"approved": True, "comment": "", "answered_by": "nobody", "timed_out": False}
    await steering.skip(working.runtime, working.actor, run.id, "a/approve_1_1", forged)
    async with asyncio.timeout(20):
        while (await rows(working, run.id)).get("a/approve_1_1_again2") != ("approval", "waiting"):
            await asyncio.sleep(0.01)
    await until(working, run.id, "waiting")
    assert not book.arrivals
    await answer(working, run.id, {"approved": True}, at="a/approve_1_1_again2")
    await until(working, run.id, "succeeded")
    assert len(book.arrivals) == 1


FORKS: list[tuple[str | None, dict[str, Json], list[str], int]] = [
    ("a/turn_2", {}, ["3", "4"], 0),
    ("a/call_1_2", {}, ["3", "4"], 0),
    ("a/call_2_1", {}, ["3", "4"], 1),
    (None, {"a/call_1_1": 77}, ["77", "4"], 0),
]


async def test_a_fork_begins_at_a_turn_or_a_call_of_an_agent(working: House, models: ModelServer, book: Ledger) -> None:
    add = calls(("add", {"a": 1, "b": 2}), ("add", {"a": 2, "b": 2}))
    models.turns.extend([add, calls(("pay", {})), Turn(text="done")])
    run = await working.start(agent(post(book, approve=False), ADD))
    await until(working, run.id, "succeeded")
    for node, edits, told, paid in FORKS:
        asked, arrived = len(models.asked), len(book.arrivals)
        models.turns.append(Turn(text=f"fork at {node}"))
        fork = await forking.fork(working.runtime, working.actor, run.id, node=node, changes=Changes(edits=edits, vars={}))
        fork = await until(working, fork.id, "succeeded")
        assert fork.output["text"] == f"fork at {node}"
        assert (len(models.asked) - asked, results(models)[:2], len(book.arrivals) - arrived) == (1, told, paid), node


async def test_a_run_paused_in_a_turn_calls_nothing_before_it_is_resumed(working: House, models: ModelServer, book: Ledger) -> None:
    held = threading.Event()
    models.turns.extend([Turn(text="", calls=(("pay", {}),), held=held), Turn(text="done")])
    run = await working.start(agent(post(book, approve=False)))
    await seen(lambda: models.asked)
    await steering.control(working.runtime, working.actor, run.id, action="pause")
    held.set()
    await until(working, run.id, "paused")
    assert (await rows(working, run.id))["a/turn_1"] == ("llm", "succeeded")  # paid for, and kept
    assert not book.arrivals
    await steering.control(working.runtime, working.actor, run.id, action="resume")
    await until(working, run.id, "succeeded")
    assert (len(models.asked), len(book.arrivals)) == (2, 1)


async def test_a_run_cancelled_in_a_call_that_must_not_be_repeated_asks_about_it_when_it_is_retried(
    working: House, models: ModelServer, book: Ledger
) -> None:
    book.delay = 5.0
    models.turns.extend([calls(("pay", {})), Turn(text="done")])
    run = await working.start(agent(post(book, approve=False)))
    await seen(lambda: book.arrivals)
    await steering.control(working.runtime, working.actor, run.id, action="cancel")
    await until(working, run.id, "cancelled")
    assert (await rows(working, run.id))["a/call_1_1"] == ("http", "ambiguous")
    await steering.control(working.runtime, working.actor, run.id, action="retry")
    run = await until(working, run.id, "waiting")
    assert [wait["position"] for wait in run.waiting_for] == ["a/call_1_1#ambiguous"]
    await answer(
        working, run.id, {"decision": "happened", "output": json.dumps({"status": 200, "ok": True, "headers": {}, "body": "paid"})}
    )
    await until(working, run.id, "succeeded")
    assert (len(models.asked), len(book.arrivals)) == (2, 1)
    assert "paid" in results(models)[0]
    assert (await runs.get(working.runtime, working.actor, run.id)).output["calls"] == 1
