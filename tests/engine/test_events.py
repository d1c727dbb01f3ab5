"""The journal that people read: milestones, progress, and a closed list of event types."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from graphs import runs
from graphs.engine.events import EventType
from tests.engine.conftest import House, flow, put
from tests.engine.test_groups import body, failing, group

pytestmark = pytest.mark.anyio
OF_DOORS = ("run.created", "event.received", "task.answered", "run.forked")  # written by what people and other runs do


async def test_a_milestone_is_told_in_words_for_people(running: House) -> None:
    run = await running.run(flow({**put("ship", no=7), "milestone": "Order {{ nodes.ship.no }} has left"}))
    events = await runs.events(running.runtime, running.actor, run.id)
    assert [(event.level, event.message, event.position) for event in events if event.type == "run.milestone"] == [
        ("business", "Order 7 has left", "ship")
    ]


async def test_progress_counts_the_steps_of_the_top_level(running: House) -> None:
    definition = flow(put("a"), put("b"), put("c"), edges=[("a", "b", {"when": "False"}), ("a", "c")])
    run = await running.run(definition)
    events = await runs.events(running.runtime, running.actor, run.id)
    assert [event.data["progress"] for event in events if event.type == "step.succeeded"] == [{"done": 1, "of": 3}, {"done": 3, "of": 3}]


async def test_every_event_is_of_the_closed_list(running: House) -> None:
    safe = group("safe", "try", body=body(failing("boom", retry={"max_attempts": 2, "initial": "1ms"})), catch=body(put("note")))
    run = await running.run(flow(safe, {"id": "ok", "type": "approval", "config": {"title": "Well?"}}, edges=[("safe", "ok")]))
    seen = {event.type for event in await runs.events(running.runtime, running.actor, run.id)}
    assert seen - set(OF_DOORS) <= set(get_args(EventType))
    assert {"run.started", "step.succeeded", "step.failed", "task.created"} <= seen


async def test_ten_thousand_items_are_run_and_keep_their_order(running: House) -> None:
    each = group("each", "foreach", items="{{ input.n }}", concurrency=100, body=body(put("one", i="{{ item }}")))
    definition = flow(each, input={"type": "object", "properties": {"n": {"type": "array"}}}, output="{{ nodes.each.count }}")
    definition["settings"] = {"max_steps": 20_000}
    run = await running.start(definition, {"n": list(range(10_000))})
    async with asyncio.timeout(120):
        while (run := await runs.wait(running.runtime, running.actor, run.id, seconds=20)).state == "running":
            pass
    assert (run.state, run.output) == ("succeeded", 10_000), run.error
    step = await runs.node(running.runtime, running.actor, run.id, "each")
    assert [item["i"] for item in step.output["items"]] == list(range(10_000))
