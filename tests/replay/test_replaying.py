"""A past run is run again from what it left behind: nothing is done for real, and what differs is said."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from graphs import cassettes, replaying, runs, signals, steering, tasks
from graphs.comparing import Comparison
from graphs.definition import Definition
from graphs.engine.cassette import cassette
from graphs.engine.plan import plan
from graphs.runtime import Actor
from store.errors import Conflict, Invalid, NotFound
from store.postgres import Tenant
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.models.loopback import ModelServer, Turn, model_server
from tests.outbound.loopback import Asked, Origin, answer, origin

pytestmark = pytest.mark.anyio
JSON = "application/json"


@pytest.fixture
async def shop(anyio_backend: str) -> AsyncGenerator[Origin]:
    """Counts what it is asked. `/flaky` fails twice, `/broken` always."""
    here: list[Origin] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        count = sum(one.target == asked.target for one in here[0].asked)
        broken = asked.target == "/broken" or (asked.target == "/flaky" and count < 3)
        writer.write(answer(503 if broken else 200, json.dumps({"n": count, "at": asked.target}).encode(), content_type=JSON))

    async with origin(reply) as opened:
        here.append(opened)
        yield opened


def http(id: str, url: str, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": "http", "config": {"url": url, **config}}


def everything(url: str) -> dict[str, Any]:
    """Models, calls that change something, retries, questions, times, events, a child run, loops, a script, the clock and a variable."""
    ship = http("ship", url + "/ship/{{ index }}", method="POST", json={"order": "{{ item }}"})
    each = {"nodes": [ship, put("line", n="{{ nodes.ship.body.n }}")], "edges": [{"from": "ship", "to": "line"}]}
    guarded = {
        "body": {"nodes": [{**http("broken", url + "/broken"), "retry": {"max_attempts": 1}}]},
        "catch": {"nodes": [put("caught", why="{{ error.message }}")]},
    }
    waiting = {
        "nodes": [{"id": "pause", "type": "wait", "config": {"seconds": 0.01}}, put("then")],
        "edges": [{"from": "pause", "to": "then"}],
    }
    asking = {"nodes": [{"id": "ask", "type": "approval", "config": {"title": "Ship?"}}]}
    return flow(
        {"id": "classify", "type": "llm", "config": {"prompt": "Classify {{ input.ticket }}"}},
        {**http("flaky", url + "/flaky"), "retry": {"max_attempts": 4, "initial": "10ms", "jitter": False}},
        put("when", started="{{ run.started_at }}", id="{{ run.id }}", now="{{ str(datetime.datetime.now()) }}", region="{{ env.REGION }}"),
        {"id": "each", "type": "foreach", "config": {"items": "{{ input.orders }}", "concurrency": 2, "body": each}},
        {"id": "safe", "type": "try", "config": guarded},
        {"id": "both", "type": "parallel", "config": {"branches": {"a": waiting, "b": asking}}},
        {"id": "heard", "type": "wait_event", "config": {"event": "paid"}},
        {"id": "child", "type": "subflow", "config": {"workflow": "child", "input": {"x": 2}}},
        {"id": "told", "type": "emit_event", "config": {"event": "done", "correlation": "{{ run.id }}"}},
        {"id": "sums", "type": "script", "config": {"code": "return sum([l.n for l in lines]) + y", "values": {
            "lines": "{{ nodes.each.items }}", "y": "{{ nodes.child.output.y }}"}}},
        edges=[("classify", "each"), ("flaky", "each"), ("when", "each"), ("each", "safe"), ("safe", "both"), ("both", "heard"),
               ("heard", "child"), ("child", "told"), ("told", "sums")],
        input={"type": "object", "properties": {"ticket": {"type": "string"}, "orders": {"type": "array"}}},
        output={"sum": "{{ nodes.sums }}", "said": "{{ nodes.classify.text }}"},
    )  # fmt: skip


CHILD = {**flow(put("out", y="{{ input.x * 21 }}"), output={"y": "{{ nodes.out.y }}"}), "name": "child"}
GIVEN = {"ticket": "broken lamp", "orders": ["A", "B", "C"]}


async def through(house: House, started: Run) -> Run:
    """Answers whatever the run asks, until it is over."""
    async with asyncio.timeout(30):
        while True:
            run = await runs.wait(house.runtime, house.actor, started.id, seconds=5)
            if run.state in runs.FINISHED:
                return run
            for task in (await tasks.page(house.runtime, house.actor, run_id=run.id)).items:
                await tasks.answer(house.runtime, house.actor, task.id, {"approved": True})
            if any(wait["kind"] == "event" for wait in run.waiting_for):
                await signals.send(house.runtime, house.actor, name="paid", payload={"amount": 5})


async def recorded(house: House, model: ModelServer, url: str) -> Run:
    model.turns.append(Turn(text="a refund"))
    await house.publish(CHILD)
    run = await through(house, await house.start(everything(url), GIVEN))
    assert run.state == "succeeded", run.error
    return run


@pytest.fixture
def model() -> Any:
    with model_server() as server:
        yield server


async def test_everything_replays_without_a_single_call(house: House, shop: Origin, model: ModelServer) -> None:
    async with house.opened(models=model.openai()) as house.runtime:
        run = await recorded(house, model, shop.url)
        calls, questions = len(shop.asked), len(model.asked)
        children = (await runs.page(house.runtime, house.actor, workflow="child", mode=None)).total
        house.runtime.engine.variables = {"REGION": "south"}  # since then
        again = await replaying.replay(house.runtime, house.actor, run.id)
        assert again.divergence is None, again.divergence
        assert again.equal
        assert again.digest == again.recorded
        assert again.run.mode == "test"
        assert (again.run.state, again.run.output) == (run.state, run.output)
        assert (len(shop.asked), len(model.asked)) == (calls, questions)
        assert (await runs.page(house.runtime, house.actor, workflow="child", mode=None)).total == children
        assert (await tasks.page(house.runtime, house.actor, run_id=again.run.id)).items == []
        steps = await runs.trace(house.runtime, house.actor, again.run.id)
        assert [step.state for step in steps if step.position == "flaky"] == ["retrying", "retrying", "succeeded"]


async def test_a_replay_of_a_replay_is_the_same(house: House, shop: Origin, model: ModelServer) -> None:
    async with house.opened(models=model.openai()) as house.runtime:
        run = await recorded(house, model, shop.url)
        first = await replaying.replay(house.runtime, house.actor, run.id)
        one = await replaying.recording_of(house.runtime, house.actor, run.id)
        two = cassettes.of_lines([*cassettes.lines(one)])
        assert two == one
        second = await replaying.replay_recording(house.runtime, house.actor, two)
        assert second.digest == first.digest == first.recorded


EDITS: list[tuple[str, str, Any, str]] = [
    ("/nodes/0/config/prompt", "replace", "Sort {{ input.ticket }}", "classify"),
    ("/nodes/3/config/body/nodes/0/config/method", "replace", "PUT", "each[0]/ship"),
    ("/nodes/3/config/body/nodes/1/config/values/n", "replace", "{{ nodes.ship.body.n + 1 }}", "each[0]/line"),
    ("/nodes/3/config/items", "replace", "{{ input.orders[:2] }}", "each"),
    ("/nodes/5/config/branches/a/nodes/0/config/seconds", "replace", 0.02, "both/pause"),
    ("/nodes/5/config/branches/b/nodes/0/config/title", "replace", "Send?", "both/ask"),
    ("/nodes/6/config/event", "replace", "billed", "heard"),
    ("/nodes/7/config/input/x", "replace", 3, "child"),
    ("/nodes/9/config/code", "replace", "return y", "sums"),
    ("/edges/8/when", "add", "nodes.told == 1", "told"),
    ("/nodes/1/retry/max_attempts", "replace", 2, "flaky"),
]


@pytest.mark.parametrize("policy", ["stop", "simulate"])
async def test_an_edit_is_located_where_it_was_made(house: House, shop: Origin, model: ModelServer, policy: Any) -> None:
    async with house.opened(models=model.openai()) as house.runtime:
        run = await recorded(house, model, shop.url)
        calls = len(shop.asked)
        for path, op, value, position in EDITS:
            draft = patched(everything(shop.url), path, op, value)
            again = await replaying.replay(house.runtime, house.actor, run.id, draft, on_divergence=policy)
            assert not again.equal
            assert again.divergence is not None
            assert again.divergence.position == position, (path, again.divergence)
            assert again.divergence.node == position.rpartition("/")[2]
            assert again.digest != again.recorded
        assert len(shop.asked) == calls


def patched(document: dict[str, Any], path: str, op: str, value: Any) -> dict[str, Any]:
    from graphs import authoring

    return authoring.patched(copy.deepcopy(document), [{"op": op, "path": path, "value": value}])


async def test_a_simulated_replay_goes_on_with_a_mock_or_a_sample(running: House, shop: Origin) -> None:
    definition = flow(http("first", shop.url + "/a"), http("second", shop.url + "/b?{{ nodes.first.body.n }}"), edges=[("first", "second")])
    run = await running.run(definition)
    draft = patched(definition, "/nodes/0/config/url", "replace", shop.url + "/c")
    mock = {"first": {"status": 200, "ok": True, "headers": {}, "body": {"n": 1}}}
    stopped = await replaying.replay(running.runtime, running.actor, run.id, draft)
    assert stopped.run.state == "failed"
    assert stopped.run.error["code"] == "diverged"
    assert [one.position for one in (stopped.divergence, *stopped.further) if one] == ["first"]
    mocked = await replaying.replay(running.runtime, running.actor, run.id, draft, on_divergence="simulate", mocks=mock)
    assert mocked.run.state == "succeeded", mocked.run.error
    assert mocked.divergence is not None
    assert (mocked.divergence.position, mocked.divergence.what) == ("first", "config")
    sampled = await replaying.replay(running.runtime, running.actor, run.id, draft, on_divergence="simulate")
    assert sampled.run.state == "succeeded"
    assert len(shop.asked) == 2


async def test_steps_done_by_hand_and_retries_by_hand_count_as_they_ended(running: House, shop: Origin) -> None:
    definition = flow(
        {**http("broken", shop.url + "/broken"), "retry": {"max_attempts": 1}},
        put("after", said="{{ nodes.broken.body.x }}"),
        edges=[("broken", "after")],
    )
    run = await running.run(definition)
    assert run.state == "failed"
    await steering.control(running.runtime, running.actor, run.id, "retry")
    assert (await runs.wait(running.runtime, running.actor, run.id, seconds=10)).state == "failed"
    await steering.skip(running.runtime, running.actor, run.id, "broken", {"status": 200, "ok": True, "headers": {}, "body": {"x": 7}})
    run = await runs.wait(running.runtime, running.actor, run.id, seconds=10)
    assert run.state == "succeeded", run.error
    again = await replaying.replay(running.runtime, running.actor, run.id)
    assert again.equal, replaying.report_of(again)


async def test_boundaries_races_and_time_limits_replay(running: House) -> None:
    slow = {"id": "slow", "type": "wait", "config": {"seconds": 60}}
    limited = {
        "id": "limited",
        "type": "try",
        "timeout": "100ms",
        "config": {"body": {"nodes": [{**slow, "id": "long"}]}},
        "on_error": "continue",
    }
    cut = {**slow, "boundary": [{"name": "late", "timer": "50ms"}]}
    beside = {
        "id": "beside",
        "type": "wait",
        "config": {"seconds": 0.3},
        "boundary": [{"name": "soon", "timer": "50ms", "interrupting": False}],
    }
    race = {
        "first": {"nodes": [{"id": "quick", "type": "wait", "config": {"seconds": 0.05}}]},
        "never": {"nodes": [{**slow, "id": "tortoise"}]},
    }
    definition = flow(
        cut, beside, limited, {"id": "race", "type": "race", "config": {"branches": race}}, put("reminded"), put("end"),
        edges=[("slow", "end", {"branch": "late"}), ("beside", "reminded", {"branch": "soon"}), ("limited", "end"), ("race", "end")],
    )  # fmt: skip
    run = await running.run(definition)
    assert run.state == "succeeded", run.error
    again = await replaying.replay(running.runtime, running.actor, run.id)
    assert again.equal, replaying.report_of(again)


async def test_what_was_undone_and_cancelled_replays(running: House, shop: Origin) -> None:
    booked = {
        **http("book", shop.url + "/book", method="POST", json={}),
        "compensate": {"type": "http", "config": {"method": "DELETE", "url": shop.url + "/book"}},
    }
    pay = {**http("pay", shop.url + "/broken"), "retry": {"max_attempts": 1}}
    saga = {
        "compensate": True,
        "body": {"nodes": [booked, pay], "edges": [{"from": "book", "to": "pay"}]},
        "catch": {"nodes": [put("sorry", why="{{ error.code }}")]},
    }
    run = await running.run(flow({"id": "saga", "type": "try", "config": saga}))
    assert run.state == "succeeded"
    calls = len(shop.asked)
    again = await replaying.replay(running.runtime, running.actor, run.id)
    assert again.equal, replaying.report_of(again)
    waiting = await running.run(flow(put("a"), {"id": "ask", "type": "approval", "config": {"title": "?"}}, edges=[("a", "ask")]))
    with pytest.raises(Conflict, match="is waiting"):
        await replaying.replay(running.runtime, running.actor, waiting.id)
    await steering.control(running.runtime, running.actor, waiting.id, "cancel")
    cancelled = await runs.wait(running.runtime, running.actor, waiting.id, seconds=10)
    assert cancelled.state == "cancelled"
    again = await replaying.replay(running.runtime, running.actor, waiting.id)
    assert again.equal, replaying.report_of(again)
    assert again.run.state == "cancelled"
    assert len(shop.asked) == calls


async def test_what_was_cancelled_before_it_asked_for_anything_is_not_held_against_a_replay(running: House) -> None:
    ask = {"id": "ask", "type": "approval", "config": {"title": "Ship {{ input.order }}?"}}
    run = await running.run(flow(ask), {"order": "A"})
    await steering.control(running.runtime, running.actor, run.id, "cancel")
    await runs.wait(running.runtime, running.actor, run.id, seconds=10)
    recording = await replaying.recording_of(running.runtime, running.actor, run.id)
    assert [(tried.position, tried.state) for tried in recording.tried] == [("ask", "cancelled")]
    early = replace(recording, tried=tuple(replace(tried, input=None) for tried in recording.tried))
    planned = plan(Definition.model_validate(recording.definition))
    assert Comparison(cassette(early, planned), cassette(recording, planned)).divergences() == []


async def test_who_may_not_see_a_run_does_not_find_it(running: House, other_tenant: Tenant) -> None:
    run = await running.run(flow(put("a")))
    stranger = Actor(tenant=other_tenant, user_id=running.actor.user_id, user_name="Eve", role="owner", via="http")
    with pytest.raises(NotFound):
        await replaying.replay(running.runtime, stranger, run.id)


async def test_a_masked_cassette_replays_and_holds_nothing_private(running: House) -> None:
    definition = flow(
        put("a", text="Write to {{ input.mail }} or {{ input.phone }}, {{ input.name }}"),
        {"id": "wait", "type": "wait", "config": {"seconds": 0}},
        put("b", same="{{ nodes.a.text.startswith('Write to ' + input.mail) }}", name="Dear {{ input.name }}"),
        edges=[("a", "wait"), ("wait", "b")],
    )
    given = {"mail": "ada@lovelace.org", "phone": "+44 20 7946 0958", "name": "Ada Lovelace", "age": 36}
    run = await running.run(definition, given)
    recording = await replaying.recording_of(running.runtime, running.actor, run.id)
    masked = cassettes.redacted(recording, ["/input/name"])
    text = "\n".join(cassettes.lines(masked))
    for secret in ("ada@", "7946", "Ada Lovelace"):
        assert secret not in text
    again = await replaying.replay_recording(running.runtime, running.actor, cassettes.of_lines(text.splitlines()))
    assert again.equal, replaying.report_of(again)
    with pytest.raises(Invalid, match="number"):
        cassettes.redacted(recording, ["/input/age"])
    with pytest.raises(Invalid, match="nothing to mask"):
        cassettes.redacted(recording, ["/input/nowhere"])


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"weft": "cassette", "format": 1}', "no json", '{"weft":"cassette","format":1,"run":{},"definition":{}}\n{"step":{}}'],
)
def test_a_broken_cassette_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(Invalid, match="cassette"):
        cassettes.of_lines(text.splitlines())
