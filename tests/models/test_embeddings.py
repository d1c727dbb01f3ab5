"""Vectors that a vendor makes are recorded, priced and budgeted like answers; memory goes on without them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from graphs import memories, modelling
from graphs.memories import Access, Remembrance, Wanted
from graphs.models import Caller, Models
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from memory.scopes import Principal
from store import models as registry
from store import spaces, spending
from store.errors import Invalid
from store.models import Listed
from store.postgres import Tenant
from tests.engine.conftest import House, actor, evaluator, flow, house
from tests.models.asking import HELLO
from tests.models.loopback import ModelServer, Turn
from tests.models.test_spending import LONG_AGO, rows, spent, total

__all__ = ["actor", "evaluator", "house"]
pytestmark = pytest.mark.anyio
VECTORS = Listed(name="openai:vectors", kind="embedding", input_price=1000.0, output_price=0.0)  # $0.001 a token, ten tokens a text
LONG = "The ferry to the island leaves at nine in the evening, every day of the week except on Sundays."


@asynccontextmanager
async def reaching(tenant: Tenant, owner: str, loopback: ModelServer) -> AsyncGenerator[Access]:
    """As a user at a door reaches memories."""
    async with Outbound(Policy()) as outbound:
        models = Models(loopback.openai(), outbound).of(tenant, Caller(user_id=owner))
        embedder = models.embedder(await loopback.embedder(outbound))
        loopback.asked.clear()  # the one text that tells the dimension
        yield Access(tenant=tenant, principal=Principal(user_id=owner, role="owner"), embedder=embedder, models=models)


async def test_what_a_user_remembers_and_recalls_counts_for_the_user_and_the_organization(
    tenant: Tenant, owner: str, loopback: ModelServer
) -> None:
    await registry.put(tenant, VECTORS)
    await spending.set_budget(tenant, kind="user", subject=owner, period="total", usd=10.0, tokens=None)
    async with reaching(tenant, owner, loopback) as access:
        await memories.remember(access, Remembrance(text=LONG))
        found = await memories.recall(access, Wanted(query="ferry"))
    assert found.how == "words and vectors"
    texts = sum(len(asked["input"]) for asked in loopback.asked)
    assert await spent(tenant) == (round(texts * 0.01, 9), 10 * texts, 0.0, 0)
    for row in await rows(tenant):
        assert (row.model, row.vendor, row.user_name, row.run_id, row.outcome) == ("openai:vectors", "openai", "Olga", None, "ok")
        assert (row.output_tokens, row.estimated) == (0, False)
    (used,) = await spending.usage(tenant, by="model", since=LONG_AGO)
    assert (used.mark, used.input_tokens, used.cost_usd) == ("openai:vectors", 10 * texts, pytest.approx(texts * 0.01))


async def test_over_budget_recall_goes_by_words_and_what_is_remembered_gets_its_vectors_later(
    tenant: Tenant, owner: str, loopback: ModelServer
) -> None:
    await registry.put(tenant, VECTORS)
    await total(tenant, usd=0.0001)
    async with reaching(tenant, owner, loopback) as access:
        kept = await memories.remember(access, Remembrance(text=LONG))
        found = await memories.recall(access, Wanted(query="ferry"))
        assert kept.kept.id in [hit.memory.id for hit in found.recalled.hits]
        assert found.how.startswith("words only: the embedder may not be asked (the budget of the organization")
        assert (loopback.asked, await rows(tenant)) == ([], [])
        with pytest.raises(Exception, match="does not pay"):
            await memories.embed(access, ["x"])
        await total(tenant, usd=10.0)
        done = await memories.consolidate(access, ["embed"], "own")
        assert done.embedded >= 1
        space = (await spaces.of_organization(tenant))[0]
        assert (await spaces.progress(tenant, space.id)).done >= 1
        assert (await memories.recall(access, Wanted(query="ferry"))).how == "words and vectors"


async def test_an_embedder_whose_price_nobody_knows_says_how_to_set_one(tenant: Tenant, owner: str, loopback: ModelServer) -> None:
    await total(tenant, usd=1.0)
    async with reaching(tenant, owner, loopback) as access:
        found = await memories.recall(access, Wanted(query="ferry"))
        if "words only: the memories have no vectors" in found.how:
            await memories.remember(access, Remembrance(text=LONG))
            found = await memories.recall(access, Wanted(query="ferry"))
    assert "weft models set openai:vectors --kind embedding --input-price" in found.how


async def test_a_server_that_fails_costs_nothing_and_one_that_counts_nothing_is_estimated(
    tenant: Tenant, owner: str, loopback: ModelServer
) -> None:
    await registry.put(tenant, VECTORS)
    async with reaching(tenant, owner, loopback) as access:
        loopback.turns.append(Turn(status=400, message="no"))
        with pytest.raises(Exception, match="answers 400"):
            await memories.embed(access, ["one"])
        loopback.turns.append(Turn(body=b'{"data": [{"index": 0, "embedding": [1, 2]}]}'))
        await memories.embed(access, ["one"])
        loopback.turns.append(Turn(body=b"[]"))
        with pytest.raises(Exception, match="not JSON of OpenAI's form"):
            await memories.embed(access, ["one"])
    failed, silent, odd = await rows(tenant)
    assert (failed.outcome, failed.cost_usd) == ("model_unavailable", 0.0)
    assert (silent.outcome, silent.estimated, silent.input_tokens) == ("ok", True, 5)
    assert (odd.outcome, odd.estimated, odd.input_tokens) == ("model_timeout", True, 5)


async def test_steps_of_a_run_count_for_their_node_run_and_the_budget_of_the_run(house: House, loopback: ModelServer) -> None:
    tenant = house.actor.tenant
    await registry.put(tenant, VECTORS)
    steps = flow(
        {"id": "keep", "type": "remember", "config": {"text": LONG}},
        {"id": "find", "type": "recall", "config": {"query": "ferry"}},
        {"id": "vector", "type": "embed", "config": {"texts": ["one", "two"]}},
        edges=[("keep", "find"), ("find", "vector")],
    )
    async with Outbound(Policy()) as outbound:
        embedder = await loopback.embedder(outbound)
        async with house.opened(models=loopback.openai(), embedder=embedder) as runtime:
            house.runtime = runtime
            run = await house.run(steps)
            assert run.state == "succeeded", run.error
            found = [row for row in await rows(tenant) if row.run_id == run.id]
            assert {row.position for row in found} == {"keep", "find", "vector"}
            assert all(row.workflow == steps["name"] and row.user_name for row in found)
            assert sum(row.cost_usd or 0 for row in found) == pytest.approx(sum(row.input_tokens for row in found) * 0.001)
            poor = {**flow(*steps["nodes"][2:]), "settings": {"budget": {"usd": 0.001}}}
            run = await house.run(poor)
            assert (run.state, run.error and run.error["code"]) == ("failed", "budget_exceeded")
            poor = {**flow(*steps["nodes"][:2], edges=[("keep", "find")]), "settings": {"budget": {"usd": 0.001}}}
            run = await house.run(poor)
            assert run.state == "succeeded"  # without vectors


async def test_a_model_of_vectors_answers_nothing_and_is_no_default(house: House, loopback: ModelServer) -> None:
    async with house.opened(models=loopback.openai()) as runtime:
        shown = await modelling.change(runtime, house.actor, "openai:vectors", {"kind": "embedding", "input_price": 0.02})
        assert (shown.known.kind, shown.known.price and shown.known.price.output) == ("embedding", 0.0)
        with pytest.raises(Invalid, match="makes vectors and answers nothing"):
            await modelling.choose(runtime, house.actor, default="openai:vectors")
        with pytest.raises(Invalid, match="leave out output_price"):
            await modelling.change(runtime, house.actor, "openai:vectors", {"output_price": 1.0})
        with pytest.raises(Invalid, match="WEFT_EMBEDDER"):
            await modelling.change(runtime, house.actor, "openai:vectors", {"base_url": "https://models.example.com/v1"})
        shown = await modelling.change(runtime, house.actor, "openai:text-embedding-3-small", {"input_price": 0.03})
        assert (shown.known.kind, shown.known.price and shown.known.price.input) == ("embedding", 0.03)
        with pytest.raises(Failure) as failed:
            await runtime.models.of(house.actor.tenant).complete("openai:vectors", HELLO)
    assert failed.value.code == "model_embeds"
