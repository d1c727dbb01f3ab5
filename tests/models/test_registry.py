"""Which model is asked: the registry of an organization, its aliases, allow-list, abilities, keys of its own, and who takes whose place."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphs import connecting
from graphs.connections import Connections, MasterKey, Vault
from graphs.models import Caller, Image, Message, Models, ModelSettings, ToolSpec
from graphs.models._known import PRICED, SHIPPED, VERIFIED, Price
from graphs.models._messages import Usage
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from graphs.redaction import Redactor
from graphs.runtime import Actor
from store import models as registry
from store import spending
from store.models import Listed
from store.postgres import Database, Tenant
from tests.models.asking import HELLO, ignored
from tests.models.loopback import KEY, ModelServer, Turn, model_server

pytestmark = pytest.mark.anyio
FIRST, SECOND = "openai:first", "openai:second"
PICTURE = (Message(role="user", text="?", images=(Image(media_type="image/png", data="iVBORw0KGgo="),)),)


@asynccontextmanager
async def asking(
    tenant: Tenant, settings: ModelSettings, caller: Caller | None = None, policy: Policy | None = None
) -> AsyncGenerator[Models]:
    async with Outbound(policy or Policy()) as outbound:
        vault = Vault(lambda: [MasterKey(id="first", key=b"m" * 32)])
        yield Models(settings, outbound, Connections(vault, outbound)).of(tenant, caller or Caller())


async def failing(models: Models, model: str | None = None, messages: Any = HELLO, **options: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        await models.complete(model, messages, **options)
    return failed.value


async def test_the_default_of_the_organization_comes_before_the_operators(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.choose(tenant, default=SECOND, fallbacks=(), only_listed=False)
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete(None, HELLO)).model == SECOND
        assert (await models.complete(FIRST, HELLO)).model == FIRST


async def test_an_alias_stands_for_a_model(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, Listed(name=FIRST, alias="fast"))
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete("@fast", HELLO)).model == FIRST
        failure = await failing(models, "@slow")
    assert (failure.code, failure.message) == ("model_unknown", "no model is called '@slow' here; there are @fast")


async def test_only_listed_models_may_be_asked_where_the_organization_says_so(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, Listed(name=FIRST))
    await registry.put(tenant, Listed(name=SECOND, enabled=False))
    async with asking(tenant, loopback.openai()) as models:
        await models.complete("openai:third", HELLO)  # off by default
        failure = await failing(models, SECOND)
        assert failure.message == f"{SECOND} is switched off here; ask {FIRST}"
        await registry.choose(tenant, default=None, fallbacks=(), only_listed=True)
        failure = await failing(models, "openai:third")
        assert failure.code == "model_not_allowed"
        assert "is not on the list of models that may be asked here" in failure.message
        assert (await failing(models)).code == "model_not_allowed"  # nor is the operator's default
        await models.complete(FIRST, HELLO)


@pytest.mark.parametrize("turn", [Turn(status=500), Turn(status=429), Turn(silent=True)])
async def test_the_next_of_the_chain_answers_once_a_model_has_failed_for_good(tenant: Tenant, loopback: ModelServer, turn: Turn) -> None:
    await registry.choose(tenant, default=FIRST, fallbacks=("openai:gone", SECOND), only_listed=False)
    timeout: dict[str, Any] = {"timeout": 0.5} if turn.silent else {}
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO)
        loopback.turns.extend([turn, Turn(status=404), Turn(text="Here.")])
        answer = await models.complete(None, HELLO, **timeout)
        assert (answer.model, answer.text) == (SECOND, "Here.")
        loopback.turns.append(turn)
        assert (await failing(models, SECOND, **timeout)).message.startswith(SECOND)  # nobody comes after the last
        loopback.turns.append(turn)
        assert (await failing(models, "openai:other", **timeout)).message.startswith("openai:other")  # nor for one outside of the chain
    async with asking(tenant, loopback.openai(), Caller(last=False)) as models:
        loopback.turns.append(turn)
        failure = await failing(models, **timeout)
        assert (failure.message.partition(" ")[0].rstrip(":"), failure.retryable) == (FIRST, True)  # its own retries come first
    outcomes = [row.outcome for row in (await spending.calls(tenant, run_id=None, before=None, limit=10))[::-1]]
    assert outcomes[1:4] == [outcomes[1], "model_not_found", "ok"]


async def test_when_the_whole_chain_fails_the_first_failure_is_told(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.choose(tenant, default=FIRST, fallbacks=(SECOND,), only_listed=False)
    loopback.turns.extend([Turn(status=500), Turn(status=401)])
    async with asking(tenant, loopback.openai()) as models:
        failure = await failing(models)
    assert (failure.code, failure.message.partition(" ")[0]) == ("model_unavailable", FIRST)


async def test_a_wrong_request_is_nobody_elses_to_answer(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.choose(tenant, default=FIRST, fallbacks=(SECOND,), only_listed=False)
    loopback.turns.append(Turn(status=400, message="what?"))
    async with asking(tenant, loopback.openai()) as models:
        assert (await failing(models)).code == "model_request"
    assert len(loopback.asked) == 1


async def test_images_and_tools_are_refused_where_the_registry_says_so(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, Listed(name=FIRST, vision=False, tools=False, streaming=False))
    async with asking(tenant, loopback.openai()) as models:
        assert (await failing(models, FIRST, PICTURE)).code == "model_no_images"
        assert (await failing(models, FIRST, tools=[ToolSpec(name="now", description="")])).code == "model_no_tools"
        assert loopback.asked == []
        assert (await models.complete(FIRST, HELLO, on_text=ignored)).text == "ok"
        assert not loopback.asked[0]["stream"]
        await models.complete(SECOND, PICTURE)  # nobody knows


@pytest.mark.promise("P6")
async def test_a_key_of_the_organization_goes_to_its_own_address_only(
    tenant: Tenant, database: Database, owner: str, loopback: ModelServer
) -> None:
    """The operator's key stays at home, and the organization's too."""
    actor = Actor(tenant=tenant, user_id=owner, user_name="Olga", role="owner", via="http")
    local = Policy(allow_hosts=("127.0.0.1",))
    redactor = Redactor()
    for kind, base in (("openai", f"{loopback.url}/v1"), ("anthropic", loopback.url)):
        operators = ModelSettings(openai_api_key=loopback.openai(key="sk-of-the-operator").openai_api_key)
        async with asking(tenant, operators, Caller(user_id=owner, redactor=redactor), local) as models:
            runtime: Any = _Runtime(connections=models._connections)  # pyright: ignore[reportPrivateUsage]
            await connecting.create(runtime, actor, name=f"our-{kind}", kind=kind, settings={"base_url": base})
            await connecting.set_secret(runtime, actor, f"our-{kind}", "api_key", KEY)
            await registry.put(tenant, Listed(name=f"{kind}:ours", connection=f"our-{kind}", input_price=1.0, output_price=1.0))
            answer = await models.complete(f"{kind}:ours", HELLO)
            assert (answer.text, answer.usage.cost_usd) == ("ok", pytest.approx(18e-6))
            loopback.turns.append(Turn(status=400, message=f"what kind of key is {KEY}?"))
            failure = await failing(models, f"{kind}:ours")
            assert KEY not in failure.message
        async with asking(tenant, operators, Caller(user_id=owner)) as models:  # a private address is the operator's to allow
            assert (await failing(models, f"{kind}:ours")).code == "model_blocked_address"
    assert redactor.text(f"x {KEY} y") != f"x {KEY} y"
    assert "sk-of-the-operator" not in str(loopback.headers)
    assert KEY not in str(await spending.calls(tenant, run_id=None, before=None, limit=10)) + str(await registry.known(tenant))


class _Runtime:
    remote = None

    def __init__(self, connections: Connections | None) -> None:
        self.connections = connections


async def test_a_server_that_wants_no_key_gets_none(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, Listed(name="openai:local", base_url=f"{loopback.url}/v1"))
    async with asking(tenant, loopback.openai(), policy=Policy(allow_hosts=("127.0.0.1",))) as models:
        assert (await failing(models, "openai:local")).code == "model_auth"  # this one wants one, and the operator's stayed at home
    assert KEY not in str(loopback.headers)


@pytest.mark.parametrize("name", ["openai:local", "anthropic:local"])
async def test_an_address_that_an_organization_chose_is_not_trusted_even_where_the_operators_is(
    tenant: Tenant, loopback: ModelServer, name: str
) -> None:
    operators = replace(loopback.openai(), **{"anthropic_base_url": loopback.url, "anthropic_api_key": loopback.openai().openai_api_key})
    await registry.put(tenant, Listed(name=name, base_url=f"{loopback.url}/v1" if name.startswith("openai") else loopback.url))
    async with asking(tenant, operators) as models:
        assert (await models.complete(name.replace("local", "other"), HELLO)).text == "ok"  # the operator may name a private address
        asked = len(loopback.headers)
        assert (await failing(models, name)).code == "model_blocked_address"
    assert len(loopback.headers) == asked


async def test_azure_is_asked_by_its_own_paths_key_and_version(tenant: Tenant, owner: str, loopback: ModelServer) -> None:
    actor = Actor(tenant=tenant, user_id=owner, user_name="Olga", role="owner", via="http")
    async with asking(tenant, ModelSettings(), Caller(user_id=owner), Policy(allow_hosts=("127.0.0.1",))) as models:
        runtime: Any = _Runtime(connections=models._connections)  # pyright: ignore[reportPrivateUsage]
        settings = {"base_url": loopback.url, "api_version": "2024-10-21"}
        await connecting.create(runtime, actor, name="azure", kind="openai", settings=settings)
        await connecting.set_secret(runtime, actor, "azure", "api_key", KEY)
        assert (await failing(models, "azure:mine")).code == "model_missing"
        await registry.put(tenant, Listed(name="azure:mine", connection="azure"))
        for heard in (None, ignored):
            loopback.turns.append(Turn(text="From the cloud."))
            assert (await models.complete("azure:mine", HELLO, max_tokens=50, on_text=heard)).text == "From the cloud."
    assert loopback.headers[-1]["api-key"] == KEY
    assert loopback.asked[-1]["max_completion_tokens"] == 50


async def test_a_script_of_the_registry_is_played(tenant: Tenant) -> None:
    await registry.put(tenant, Listed(name="scripted:demo", script=[{"text": "To be."}]))
    async with asking(tenant, ModelSettings()) as models:
        answer = await models.complete("scripted:demo", HELLO)
    assert (answer.text, answer.usage.cost_usd) == ("To be.", 0.0)


async def test_a_server_that_is_gone_has_a_stand_in(tenant: Tenant) -> None:
    with model_server() as gone:
        settings = replace(gone.openai(), scripts={"stand-in": [{"text": "Here."}]})
    await registry.choose(tenant, default=FIRST, fallbacks=("scripted:stand-in",), only_listed=False)
    async with asking(tenant, settings) as models:
        assert (await models.complete(None, HELLO)).text == "Here."


def test_the_documentation_says_of_each_shipped_price_whether_it_was_verified() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    found = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `") and line.count("|") == 7
    ]
    told: dict[str, Any] = {}
    for name, *prices, checked in found:
        told[name.strip("`")] = tuple(float(price) if price else None for price in prices), checked
    wanted: dict[str, Any] = {}
    for name, model in SHIPPED.items():
        if name != "scripted" and (price := model.price):
            checked = f"verified {VERIFIED[name]}" if name in VERIFIED else f"not verified, noted {PRICED}"
            wanted[name] = (price.input, price.output, price.cached, price.written), checked
    assert told == wanted


def test_prices_count_cache_and_long_inputs() -> None:
    haiku = SHIPPED["anthropic:claude-haiku-5-5"].price
    assert haiku
    usage = Usage(input_tokens=50_000, output_tokens=1_000, cached_tokens=20_000, written_tokens=10_000)
    assert haiku.cost(usage) == pytest.approx((20_000 * 0.10 + 20_000 * 0.01 + 10_000 * 0.125 + 1_000 * 0.50) / 1e6)
    long = Usage(input_tokens=200_000, output_tokens=1_000)
    assert haiku.cost(long) == pytest.approx((200_000 * 0.50 + 1_000 * 2.50) / 1e6)
    assert Price(input=2.0, output=4.0).cost(Usage(input_tokens=10, cached_tokens=4)) == pytest.approx(20e-6)
    assert all(model.price for model in SHIPPED.values())


async def test_prices_of_the_vendor_are_not_taken_for_those_of_another_server(tenant: Tenant, loopback: ModelServer) -> None:
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete("openai:gpt-5-mini", HELLO)).usage.cost_usd is None
