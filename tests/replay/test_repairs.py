"""Typical repairs of failed runs hold when they cure, with what nobody can know told plainly; those that do not cure are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graphs import replaying, runs, steering
from store.errors import Conflict
from tests.engine.conftest import House, flow, put
from tests.outbound.loopback import Asked, Origin, answer, origin
from tests.replay.conftest import failed, proposed

pytestmark = pytest.mark.anyio
Patch = list[dict[str, Any]]


@pytest.fixture
async def shop(anyio_backend: str) -> AsyncGenerator[Origin]:
    """`/stock` answers, `/busy` is too busy, everything else is not found."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = {"/stock": 200, "/busy": 503}.get(asked.target, 404)
        writer.write(answer(status, json.dumps({"count": 3, "price": None}).encode(), content_type="application/json"))

    async with origin(reply) as opened:
        yield opened


def http(id: str, url: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "http", "config": {"url": url}, "retry": {"max_attempts": 1}, **more}


def op(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path} if op == "remove" else {"op": op, "path": path, "value": value}


def priced(url: str) -> dict[str, Any]:
    """Fails in `total`: the shop knows no price."""
    return flow(
        http("stock", url + "/stock"),
        put("rate", factor="{{ nodes.stock.body.price }}"),
        put("total", sum="{{ nodes.stock.body.count * nodes.rate.factor }}"),
        put("told", said="{{ nodes.total.sum }}"),
        edges=[("stock", "rate"), ("rate", "total"), ("total", "told")],
    )


GUARD = {"id": "known", "type": "if", "config": {"condition": "nodes.rate.factor != None"}}
REPAIRS: dict[str, Patch] = {
    "its expression": [op("replace", "/nodes/2/config/values/sum", "{{ nodes.stock.body.count * (nodes.rate.factor or 1) }}")],
    "the step before that gives it something wrong": [op("replace", "/nodes/1/config/values/factor", "{{ nodes.stock.body.price or 1 }}")],
    "it goes on without": [op("add", "/nodes/2/on_error", "continue"), op("replace", "/nodes/3/config/values/said", "{{ nodes.total }}")],
    "an error edge": [
        op("add", "/nodes/2/on_error", "route"), op("add", "/nodes/-", put("sorry")),
        op("add", "/edges/-", {"from": "total", "to": "sorry", "branch": "error"}),
    ],
    "a step before it": [
        op("add", "/nodes/-", put("sure", factor="{{ nodes.rate.factor or 1 }}")), op("replace", "/edges/1/to", "sure"),
        op("add", "/edges/-", {"from": "sure", "to": "total"}),
        op("replace", "/nodes/2/config/values/sum", "{{ nodes.stock.body.count * nodes.sure.factor }}"),
    ],
    "a condition before it": [
        op("add", "/nodes/-", GUARD), op("replace", "/edges/1/to", "known"),
        op("add", "/edges/-", {"from": "known", "to": "total", "branch": "true"}),
    ],
}  # fmt: skip
WRONG: dict[str, tuple[Patch, str]] = {
    "another expression that fails": (
        [op("replace", "/nodes/2/config/values/sum", "{{ nodes.stock.body.amount * 2 }}")],
        "the failing step still fails",
    ),
    "a retry of what fails every time": ([op("add", "/nodes/2/retry", {"max_attempts": 3})], "the failing step still fails"),
    "the step switched off": ([op("add", "/nodes/2/disabled", True)], "not left out"),
    "the step taken out": (
        [
            op("remove", "/nodes/2"), op("remove", "/edges/2"), op("replace", "/edges/1/to", "told"),
            op("replace", "/nodes/2/config/values", {}),
        ],
        "not left out",
    ),
    "a step before it that changes nothing": (
        [op("add", "/nodes/-", put("sure")), op("replace", "/edges/1/to", "sure"), op("add", "/edges/-", {"from": "sure", "to": "total"})],
        "the failing step still fails",
    ),
    "a failure passed over, with nothing for what follows": (
        [op("add", "/nodes/2/on_error", "continue")],
        "the failing step still fails, and told goes on with nothing",
    ),
    "a failure passed over, which fails what follows": (
        [op("add", "/nodes/2/on_error", "continue"), op("replace", "/nodes/3/config/values/said", "{{ nodes.total.sum + 1 }}")],
        "fails at told",
    ),
    "something beside the cure": (
        [*REPAIRS["its expression"], op("add", "/nodes/1/config/values/other", 1)],
        "mended without that",
    ),
    "only something else": ([op("replace", "/nodes/3/config/values/said", "hello")], "the failing step still fails"),
}  # fmt: skip


async def test_repairs_that_cure_hold_and_others_are_refused(running: House, shop: Origin) -> None:
    run = await failed(running, priced(shop.url))
    calls = len(shop.asked)
    for name, patch in REPAIRS.items():
        good = await proposed(running, run, patch)
        assert good.ok, (name, good.reason, good.diagnostics)
        assert good.simulated == (), name
        assert good.patch == tuple(patch)
    for name, (patch, why) in WRONG.items():
        bad = await proposed(running, run, patch)
        assert not bad.ok, name
        assert why in bad.reason, (name, bad.reason)
    without = await proposed(running, run, REPAIRS["a condition before it"])
    assert "not reached any more for this input" in without.reason
    passed = await proposed(running, run, REPAIRS["it goes on without"])
    assert "fails as it did, and the run goes on" in passed.reason
    assert len(shop.asked) == calls


async def test_of_a_call_that_is_another_one_now_it_is_said_what_nobody_knows(running: House, shop: Origin) -> None:
    definition = flow(
        put("first"), http("look", shop.url + "/stok"), put("n", x="{{ nodes.look.body.count + 1 }}"),
        http("send", shop.url + "/stock"), edges=[("first", "look"), ("look", "n"), ("n", "send")],
    )  # fmt: skip
    run = await failed(running, definition)
    patch = [op("replace", "/nodes/1/config/url", shop.url + "/stock")]
    mocked = await proposed(running, run, patch, mocks={"look": {"status": 200, "ok": True, "headers": {}, "body": {"count": 3}}})
    assert mocked.ok, mocked.reason
    assert mocked.simulated == ("look", "send")
    assert "everything up to look is as recorded, from there on it is new" in mocked.reason
    assert mocked.replay is not None
    assert mocked.replay.run.output == {"x": 4} or mocked.replay.run.state == "succeeded"
    misfit = await proposed(running, run, patch, mocks={"look": {"status": 200, "ok": True, "headers": {}, "body": {"count": "none"}}})
    assert not misfit.ok
    assert "fails at n" in misfit.reason
    cheated = await proposed(running, run, [op("replace", "/nodes/2/config/values/x", 1)], mocks={"look": {"status": 200}})
    assert not cheated.ok, "a mock stands only for what the recording does not have"
    assert (await proposed(running, run, patch, mocks={"nowhere": 1})).ok is False


async def test_a_retry_holds_where_the_failure_may_pass(running: House, shop: Origin) -> None:
    again = [op("replace", "/nodes/0/retry", {"max_attempts": 3, "initial": "1ms"})]
    busy = await failed(running, flow(http("call", shop.url + "/busy")))
    held = await proposed(running, busy, again)
    assert held.ok, held.reason
    assert held.simulated == ("call",)
    missing = await failed(running, flow(http("call", shop.url + "/nowhere")))
    assert "the failing step still fails" in (await proposed(running, missing, again)).reason
    posted = flow(http("call", shop.url + "/busy", config={"url": shop.url + "/busy", "method": "POST", "json": {}}))
    once = await running.run(posted)
    if once.state == "failed":
        assert not (await proposed(running, once, again)).ok, "what may have been done is not repeated"


async def test_what_was_cut_off_beside_the_failure_does_not_stand_in_the_way_of_a_cure(running: House, shop: Origin) -> None:
    ask = {"id": "ask", "type": "approval", "config": {"title": "Ship?"}}
    branches = {"a": {"nodes": [put("calc", x="{{ input.n + 1 }}")]}, "b": {"nodes": [ask]}}
    definition = flow({"id": "both", "type": "parallel", "config": {"branches": branches}}, put("end"), edges=[("both", "end")])
    run = await failed(running, definition, {"n": "one"})
    cured = await proposed(running, run, [op("replace", "/nodes/0/config/branches/a/nodes/0/config/values/x", "{{ input.n }}")])
    assert cured.ok, cured.reason
    assert cured.simulated == ("both/ask",)
    assert "both/calc" in cured.reason


async def test_a_run_that_somebody_cancelled_because_it_hung_can_be_mended(running: House) -> None:
    definition = flow(
        put("a"), {"id": "heard", "type": "wait_event", "config": {"event": "payed"}}, put("b"), edges=[("a", "heard"), ("heard", "b")]
    )
    run = await running.run(definition)
    with pytest.raises(Conflict, match="cancel it"):
        await proposed(running, run, [op("replace", "/nodes/1/config/event", "paid")])
    await steering.control(running.runtime, running.actor, run.id, "cancel")
    run = await runs.wait(running.runtime, running.actor, run.id, seconds=10)
    assert run.state == "cancelled"
    cured = await proposed(running, run, [op("replace", "/nodes/1/config/event", "paid")])
    assert cured.ok, cured.reason
    assert cured.simulated == ("heard",)
    other = await proposed(running, run, [op("replace", "/nodes/2/config/values/at", "c")])
    assert not other.ok
    assert "cancelled" in other.reason
    same = await replaying.replay(running.runtime, running.actor, run.id, on_divergence="simulate")
    assert same.equal
    assert same.run.state == "cancelled"
