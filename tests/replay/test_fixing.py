"""A patch for a failed run is offered only after the failing run, replayed on it, succeeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graphs import authoring, fixing, runs
from graphs.runtime import Actor
from store.errors import Conflict, Invalid, NotFound, Unavailable
from store.postgres import Tenant
from tests.engine.conftest import House, flow, put
from tests.models.loopback import Turn, model_server
from tests.outbound.loopback import Asked, Origin, answer, origin
from tests.replay.conftest import failed, proposed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shop(anyio_backend: str) -> AsyncGenerator[Origin]:
    """`/stock` and `/orders` answer; everything else is not found."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        known = asked.target in ("/stock", "/orders")
        writer.write(answer(200 if known else 404, json.dumps({"count": 3, "price": 2.5}).encode(), content_type="application/json"))

    async with origin(reply) as opened:
        yield opened


def http(id: str, url: str, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": "http", "config": {"url": url, **config}}


def priced(url: str) -> dict[str, Any]:
    """Fails in `total`: the field is called `count`."""
    return flow(
        http("stock", url + "/stock"),
        put("unrelated", x=1),
        put("total", sum="{{ nodes.stock.body.amount * nodes.stock.body.price }}"),
        http("order", url + "/orders", method="POST", json={"sum": "{{ nodes.total.sum }}"}),
        edges=[("stock", "total"), ("unrelated", "total"), ("total", "order")],
    )


RIGHT = [{"op": "replace", "path": "/nodes/2/config/values/sum", "value": "{{ nodes.stock.body.count * nodes.stock.body.price }}"}]
WRONG = [{"op": "replace", "path": "/nodes/2/config/values/sum", "value": "{{ nodes.stock.body.number * 2 }}"}]
INVALID = [{"op": "replace", "path": "/nodes/2/config/values/sum", "value": "{{ nodes.stok.body.count }}"}]
ELSEWHERE = [*RIGHT, {"op": "replace", "path": "/nodes/1/config/values/x", "value": 2}]
NOTHING = [{"op": "replace", "path": "/nodes/1/config/values/x", "value": 1}]


async def test_a_right_patch_is_accepted_and_a_wrong_one_refused_by_replay(running: House, shop: Origin) -> None:
    run = await failed(running, priced(shop.url))
    calls = len(shop.asked)
    good = await proposed(running, run, RIGHT)
    assert good.ok, good.reason
    assert good.divergence is not None
    assert good.divergence.position == "total"
    assert good.patch == tuple(RIGHT)
    assert [line.partition(":")[0] for line in good.diff] == ["total"]
    wrong = await proposed(running, run, WRONG)
    assert not wrong.ok
    assert "the failing step still fails" in wrong.reason
    assert wrong.patch is None
    invalid = await proposed(running, run, INVALID)
    assert not invalid.ok
    assert invalid.diagnostics
    elsewhere = await proposed(running, run, ELSEWHERE)
    assert not elsewhere.ok
    assert "before the failing step" in elsewhere.reason
    assert elsewhere.divergence is not None
    assert elsewhere.divergence.position == "unrelated"
    assert (await proposed(running, run, NOTHING)).reason == "the patch changes nothing"
    with pytest.raises(Invalid, match="does not apply"):
        await proposed(running, run, [{"op": "remove", "path": "/nodes/9"}])
    assert len(shop.asked) == calls


async def test_the_repro_is_small_and_fails_alike(running: House, shop: Origin) -> None:
    run = await failed(running, priced(shop.url))
    repro = (await proposed(running, run, NOTHING)).repro
    assert repro is not None
    assert (repro.nodes, repro.of, repro.position, repro.code) == (2, 4, "total", "expression")
    alone = await running.run(repro.definition, repro.input, mode="test")
    assert (alone.state, alone.error["code"], alone.error["position"]) == ("failed", "expression", "total")


async def test_the_repro_of_an_item_is_that_item_alone(running: House, shop: Origin) -> None:
    body = {
        "nodes": [http("ship", shop.url + "/{{ item.to }}"), put("line", n="{{ nodes.ship.body.count }}")],
        "edges": [{"from": "ship", "to": "line"}],
    }
    items = [{"to": "stock"}, {"to": "nowhere"}, {"to": "orders"}]
    run = await failed(running, flow({"id": "each", "type": "foreach", "config": {"items": items, "concurrency": 1, "body": body}}))
    faster = [{"op": "replace", "path": "/nodes/0/config/concurrency", "value": 2}]
    repro = (await proposed(running, run, faster)).repro
    assert repro is not None
    assert (repro.position, repro.code) == ("each[0]/ship", "http_status")
    assert repro.definition["nodes"][0]["config"]["items"] == [{"to": "nowhere"}]


async def test_a_call_that_asks_for_something_else_is_made_only_when_it_reads_and_may_be(running: House, shop: Origin) -> None:
    run = await failed(running, flow(http("stock", shop.url + "/stok"), put("n", x="{{ nodes.stock.body.count }}"), edges=[("stock", "n")]))
    patch = [{"op": "replace", "path": "/nodes/0/config/url", "value": shop.url + "/stock"}]
    calls = len(shop.asked)
    sampled = await proposed(running, run, patch)
    assert sampled.sampled
    assert len(shop.asked) == calls
    live = await proposed(running, run, patch, live_reads=True)
    assert live.ok, live.reason
    assert live.replay is not None
    assert live.replay.run.output == {"x": 3}
    assert len(shop.asked) == calls + 1
    nowhere = await proposed(running, run, [{**patch[0], "value": shop.url + "/stck"}], live_reads=True)
    assert not nowhere.ok
    written = [*patch, {"op": "add", "path": "/nodes/0/config/method", "value": "POST"}]
    calls = len(shop.asked)
    await proposed(running, run, written, live_reads=True)
    assert len(shop.asked) == calls


async def test_the_patch_follows_its_node_into_a_draft_that_moved_on(running: House, shop: Origin) -> None:
    made = await running.publish(priced(shop.url))
    started = await runs.start(running.runtime, running.actor, workflow=made, input={})
    run = await runs.wait(running.runtime, running.actor, started.id, seconds=10)
    assert run.state == "failed"
    workflow = await authoring.get(running.runtime, running.actor, made)
    first = {"op": "add", "path": "/nodes/0", "value": put("new")}
    workflow, _ = await authoring.edit(running.runtime, running.actor, made, [first], workflow.revision)
    moved = await proposed(running, run, RIGHT)
    assert moved.ok
    assert moved.patch is not None
    assert moved.patch[0]["path"] == "/nodes/3/config/values/sum"
    saved, report = await authoring.edit(running.runtime, running.actor, made, [*moved.patch], moved.base_revision or 0)
    assert report.ok
    again = await proposed(running, run, RIGHT)
    assert again.ok
    assert again.patch is None
    assert again.conflict is not None
    assert "is not what it was" in again.conflict
    assert saved.revision > workflow.revision


async def test_the_patch_follows_its_edge_into_a_draft_that_moved_on(running: House, shop: Origin) -> None:
    made = await running.publish(priced(shop.url))
    started = await runs.start(running.runtime, running.actor, workflow=made, input={})
    run = await runs.wait(running.runtime, running.actor, started.id, seconds=10)
    patch: Any = [
        *RIGHT,
        {"op": "add", "path": "/edges/2/when", "value": "nodes.total.sum > 0"},
        {"op": "add", "path": "/nodes/-", "value": put("z")},
    ]
    workflow = await authoring.get(running.runtime, running.actor, made)
    front = [{"op": "add", "path": "/edges/0", "value": {"from": "unrelated", "to": "order"}}]
    workflow, _ = await authoring.edit(running.runtime, running.actor, made, front, workflow.revision)
    moved = await proposed(running, run, patch)
    assert moved.ok, moved.reason
    assert moved.patch is not None
    assert [operation["path"] for operation in moved.patch] == [RIGHT[0]["path"], "/edges/3/when", "/nodes/-"]
    other = [{"op": "add", "path": "/edges/3/when", "value": "nodes.total.sum >= 0"}]
    await authoring.edit(running.runtime, running.actor, made, other, workflow.revision)
    assert "is not what it was" in str((await proposed(running, run, patch)).conflict)


async def test_a_model_gets_three_tries_and_only_what_holds_is_offered(house: House, shop: Origin) -> None:
    def turn(patch: Any) -> Turn:
        return Turn(text=json.dumps({"why": "the field is called count", "patch": patch}))

    with model_server() as model:
        async with house.opened(models=model.openai()) as house.runtime:
            run = await failed(house, priced(shop.url))
            model.turns.extend([turn(INVALID), turn(WRONG), turn(RIGHT)])
            found = await fixing.ask(house.runtime, house.actor, run.id)
            assert (found.ok, found.rounds, found.why) == (True, 3, "the field is called count")
            assert found.patch == tuple(RIGHT)
            asked = json.dumps(model.asked[-1])
            assert "still fails" in asked
            assert "<data>" in asked
            model.turns.extend([turn(WRONG)] * 3)
            given_up = await fixing.ask(house.runtime, house.actor, run.id)
            assert (given_up.ok, given_up.rounds, given_up.patch) == (False, 3, None)
            model.turns.append(Turn(status=401, message="no"))
            with pytest.raises(Unavailable, match="cannot be asked"):
                await fixing.ask(house.runtime, house.actor, run.id)


async def test_what_did_not_fail_or_belongs_to_others_is_not_mended(running: House, shop: Origin, other_tenant: Tenant) -> None:
    run = await running.run(flow(put("a")))
    with pytest.raises(Conflict, match="nothing to mend"):
        await proposed(running, run, NOTHING)
    stranger = Actor(tenant=other_tenant, user_id=running.actor.user_id, user_name="Eve", role="owner", via="http")
    broken = await failed(running, priced(shop.url))
    with pytest.raises(NotFound):
        await fixing.propose(running.runtime, stranger, broken.id, RIGHT)
