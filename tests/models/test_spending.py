"""What calls cost is written down once, and budgets hold: before a call, while it is answered, over crashes and among many callers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graphs.models import Caller, Completion, Limit, Message, Models, ModelSettings
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from store import models as registry
from store import spending
from store.errors import Invalid
from store.models import Listed
from store.postgres import Database, Tenant
from store.spending import CallRow
from tests.models.asking import HELLO, KIND, ignored
from tests.models.loopback import ModelServer, Turn

pytestmark = pytest.mark.anyio
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TINY = Listed(name="openai:tiny", input_price=1000.0, output_price=2000.0)  # $0.001 and $0.002 a token


@asynccontextmanager
async def asking(tenant: Tenant, settings: ModelSettings, caller: Caller | None = None) -> AsyncGenerator[Models]:
    async with Outbound(Policy()) as outbound:
        yield Models(settings, outbound).of(tenant, caller or Caller())


async def rows(tenant: Tenant) -> list[CallRow]:
    """Oldest first."""
    return (await spending.calls(tenant, run_id=None, before=None, limit=1000))[::-1]


async def spent(tenant: Tenant) -> tuple[float, int, float, int]:
    """Of the only budget."""
    (budget,) = await spending.budgets(tenant)
    return round(budget.usd, 9), budget.tokens, round(budget.usd_reserved, 9), budget.tokens_reserved


async def total(tenant: Tenant, *, usd: float | None = None, tokens: int | None = None) -> None:
    await spending.set_budget(tenant, kind="organization", subject="", period="total", usd=usd, tokens=tokens)


async def refused(asked: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        await asked
    return failed.value


# --- what is written down ---------------------------------------------------------------------------------------------


async def test_a_call_is_written_down_with_who_asked_and_what_it_cost(tenant: Tenant, owner: str, loopback: ModelServer) -> None:
    run = "0190f7a0-0000-7000-8000-000000000001"
    caller = Caller(user_id=owner, run_id=run, position="each[2]/ask", attempt=3, workflow="refunds")
    await registry.put(tenant, replace(TINY, cached_price=100.0))
    loopback.turns.append(Turn(used=(1000, 20), cached=600))
    async with asking(tenant, loopback.openai(), caller) as models:
        answer = await models.complete(None, HELLO, agent="clerk")
    assert answer.usage.cost_usd == pytest.approx(0.4 + 0.06 + 0.04)
    (row,) = await rows(tenant)
    assert (row.state, row.outcome, row.estimated, row.vendor, row.model) == ("settled", "ok", False, "openai", "openai:tiny")
    assert (row.run_id, row.position, row.attempt, row.workflow, row.agent) == (run, "each[2]/ask", 3, "refunds", "clerk")
    assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (1000, 20, 600)
    assert row.cost_usd == pytest.approx(0.5)
    assert row.user_name == "Olga"
    assert row.duration_ms is not None


async def test_what_failed_and_what_was_mended_is_written_down_too(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    loopback.turns.extend([Turn(text="no JSON"), Turn(text='{"kind": "other"}'), Turn(status=429), Turn(text="I won't", refusal="No.")])
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete(None, HELLO, output_schema=KIND)).usage.cost_usd == pytest.approx(2 * 0.025)
        await refused(models.complete(None, HELLO))
        await refused(models.complete(None, HELLO))
    found = await rows(tenant)
    assert [row.outcome for row in found] == ["model_output", "ok", "model_rate_limited", "model_refused"]
    assert [row.cost_usd for row in found] == [pytest.approx(0.025), pytest.approx(0.025), 0.0, pytest.approx(0.025)]


async def test_an_unknown_price_is_told_as_unknown(tenant: Tenant, loopback: ModelServer) -> None:
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete(None, HELLO)).usage.cost_usd is None
    assert [row.cost_usd for row in await rows(tenant)] == [None]
    (used,) = await spending.usage(tenant, by="model", since=LONG_AGO)
    assert (used.mark, used.calls, used.unpriced, used.cost_usd, used.input_tokens) == ("openai:tiny", 1, 1, None, 11)
    await total(tenant, usd=1.0)
    async with asking(tenant, loopback.openai()) as models:
        failure = await refused(models.complete(None, HELLO))
    assert (failure.code, failure.retryable) == ("model_price_unknown", False)
    assert "weft models set openai:tiny --input-price" in failure.message
    await total(tenant, tokens=100_000)  # tokens can be counted whatever they cost
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO)


LIES = {
    "less than nothing": Turn(used=(-1_000_000, -500_000)),
    "less than nothing of the answer": Turn(used=(11, -500_000)),
    "more than a number holds": Turn(used=(10**20, 10)),
    "more than anybody asked for": Turn(used=(10, 10**9)),
    "more from the cache than there was": Turn(used=(10, 10), cached=10**7),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("lie", LIES)
async def test_a_count_that_cannot_be_is_taken_at_our_estimate_and_the_answer_is_kept(
    tenant: Tenant, loopback: ModelServer, lie: str, streamed: bool
) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=1_000.0, tokens=10**9)
    loopback.turns.extend([replace(LIES[lie], text="A word."), Turn(used=(10, 10))])
    async with asking(tenant, loopback.openai()) as models:
        answer = await models.complete(None, HELLO, on_text=ignored if streamed else None)
        assert answer.text == "A word."
        assert 0 < answer.usage.input_tokens < 1_000
        assert 0 <= answer.usage.output_tokens < 1_000
        usd, tokens, usd_left, tokens_left = await spent(tenant)
        assert 0 < usd < 3
        assert 0 < tokens < 2_000
        assert (usd_left, tokens_left) == (0, 0)
        await models.complete(None, HELLO)  # and the budget pays on
    assert [(row.state, row.outcome, row.estimated) for row in await rows(tenant)] == [("settled", "ok", True), ("settled", "ok", False)]


async def test_an_answer_whose_cost_cannot_be_written_down_is_kept(
    tenant: Tenant, loopback: ModelServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, tokens=10**9)

    async def broken(*_: Any, **__: Any) -> None:
        raise Invalid("The value is out of range.")

    monkeypatch.setattr(spending, "settle", broken)
    loopback.turns.append(Turn(text="A word."))
    async with asking(tenant, loopback.openai()) as models:
        assert (await models.complete(None, HELLO)).text == "A word."
    assert "could not be written down: The value is out of range." in caplog.text
    assert (await spent(tenant))[3] > 0  # it stays counted at what was set aside


async def test_a_cut_answer_counts_as_what_was_heard(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    loopback.turns.append(Turn(text="Some words that go on for a while.", cut=True, said=5))
    async with asking(tenant, loopback.openai()) as models:
        assert (await refused(models.complete(None, HELLO, on_text=ignored))).code == "model_cut"
    (row,) = await rows(tenant)
    assert (row.outcome, row.estimated) == ("model_cut", True)
    assert 0 < row.output_tokens < 50
    assert (row.cost_usd or 0.0) > 0


async def test_a_silent_call_counts_as_all_that_was_set_aside(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO)
        loopback.turns.append(Turn(silent=True))
        assert (await refused(models.complete(None, HELLO, max_tokens=50, timeout=0.3))).code == "model_timeout"
    row = (await rows(tenant))[-1]
    assert (row.outcome, row.estimated, row.output_tokens) == ("model_timeout", True, 50)


async def test_a_cancelled_call_is_settled_all_the_same(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=100.0)
    loopback.turns.append(Turn(silent=True))
    async with asking(tenant, loopback.openai()) as models:
        task = asyncio.create_task(models.complete(None, HELLO, max_tokens=50))
        async with asyncio.timeout(20):
            while not loopback.asked:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (row,) = await rows(tenant)
    assert (row.state, row.outcome) == ("settled", "cancelled")
    assert (await spent(tenant))[2:] == (0.0, 0)


async def test_a_call_of_a_dead_process_stays_counted_at_its_estimate(tenant: Tenant) -> None:
    await total(tenant, usd=10.0)
    call = {"model": "openai:tiny", "vendor": "openai"}
    one = await spending.reserve(tenant, call, input_tokens=10, most=20, least=1, prices=(1000.0, 2000.0), limits=[], seconds=-1.0)
    assert one.verdict == "granted"
    assert [row.state for row in await rows(tenant)] == ["unknown"]  # before anybody has swept up
    assert await spent(tenant) == (0.0, 0, 0.05, 30)
    for _ in range(2):
        await spending.expire(tenant)
        assert await spent(tenant) == (0.05, 30, 0.0, 0)
    settled: dict[str, Any] = {"input_tokens": 1, "output_tokens": 1, "cached_tokens": 0, "cost": 5.0, "estimated": False}
    await spending.settle(tenant, one.id or "", **settled, outcome="ok", duration_ms=1)
    assert await spent(tenant) == (0.05, 30, 0.0, 0)  # the dead do not come back
    (used,) = await spending.usage(tenant, by="outcome", since=LONG_AGO)
    assert (used.mark, used.unknown, used.cost_usd) == ("unknown", 1, pytest.approx(0.05))


async def test_a_settlement_told_twice_counts_once(tenant: Tenant) -> None:
    await total(tenant, usd=10.0)
    call = {"model": "openai:tiny", "vendor": "openai"}
    one = await spending.reserve(tenant, call, input_tokens=10, most=20, least=1, prices=(1000.0, 2000.0), limits=[], seconds=60.0)
    settled: dict[str, Any] = {"input_tokens": 9, "output_tokens": 5, "cached_tokens": 0, "cost": 0.019, "estimated": False}
    for _ in range(3):
        await spending.settle(tenant, one.id or "", **settled, outcome="ok", duration_ms=1)
    assert await spent(tenant) == (0.019, 14, 0.0, 0)


async def test_usage_is_told_by_day_model_user_workflow_agent_and_run(tenant: Tenant, owner: str) -> None:
    run = "0190f7a0-0000-7000-8000-000000000001"
    script = [{"text": "Hi.", "usage": {"input_tokens": 100, "output_tokens": 10}}]
    for name, caller in (("flow", Caller(user_id=owner, run_id=run, workflow="flow")), ("other", Caller(workflow="other"))):
        async with asking(tenant, ModelSettings(scripts={name: script}), caller) as models:
            await models.complete(f"scripted:{name}", HELLO, agent=name)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    marks = {
        by: {one.mark for one in await spending.usage(tenant, by=by, since=LONG_AGO)} for by in ("day", "model", "vendor", "user", "run")
    }
    assert marks == {
        "day": {today},
        "model": {"scripted:flow", "scripted:other"},
        "vendor": {"scripted"},
        "user": {"Olga", None},
        "run": {run, None},
    }
    (mine,) = await spending.usage(tenant, by="agent", since=LONG_AGO, workflow="flow", user="Olga", run_id=run, model="scripted:flow")
    assert (mine.mark, mine.calls, mine.input_tokens, mine.cost_usd) == ("flow", 1, 100, 0.0)
    assert await spending.usage(tenant, by="agent", since=datetime.now(UTC) + timedelta(days=1)) == []


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_a_budget_that_is_spent_refuses_and_says_which(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=0.1)
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO, max_tokens=10)  # 11 in, 7 out: $0.025
        loopback.asked.clear()
        failure = await refused(models.complete(None, (Message(role="user", text="x" * 300),), max_tokens=10))
    assert (failure.code, failure.retryable) == ("budget_exceeded", False)
    assert failure.message == "the budget of the organization does not pay for a call to openai:tiny any more: spent $0.025 of $0.1"
    assert failure.details == {"budget": "organization", "subject": "", "period": "total", "usd_limit": 0.1, "usd": 0.025}
    assert loopback.asked == []


async def test_the_rest_of_a_budget_shortens_an_answer(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=1.0)
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO, max_tokens=100_000)
        await models.complete(None, HELLO)
    first, second = (asked["max_tokens"] for asked in loopback.asked)
    assert 256 <= second < first < 500


async def test_without_a_budget_the_authors_bound_goes_out_as_it_is(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, replace(TINY, max_output=500))
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO)
        await models.complete(None, HELLO, max_tokens=77)
        await models.complete(None, HELLO, max_tokens=7000)
    assert [asked.get("max_tokens") for asked in loopback.asked] == [None, 77, 500]


async def test_tokens_are_a_budget_of_their_own(tenant: Tenant, loopback: ModelServer) -> None:
    await total(tenant, tokens=100)
    async with asking(tenant, loopback.openai()) as models:
        await models.complete(None, HELLO, max_tokens=20)
        await models.complete(None, HELLO, max_tokens=20)
        failure = await refused(models.complete(None, HELLO, max_tokens=50))
    assert failure.message.endswith("spent 36 of 100 tokens")


async def test_every_kind_of_budget_and_limit_holds(tenant: Tenant, owner: str, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    caller = Caller(user_id=owner, workflow="flow", run_id="0190f7a0-0000-7000-8000-000000000001")
    for kind, subject, said in (
        ("user", owner, "the budget of the day of user Olga"),
        ("agent", "clerk", "the budget of the day of agent clerk"),
        ("workflow", "flow", "the budget of the day of workflow flow"),
    ):
        await spending.set_budget(tenant, kind=kind, subject=subject, period="day", usd=0.01, tokens=None)
        async with asking(tenant, loopback.openai(), caller) as models:
            failure = await refused(models.complete(None, HELLO, agent="clerk"))
            assert failure.message.startswith(said)
        assert await spending.remove_budget(tenant, kind=kind, subject=subject, period="day")
    async with asking(tenant, loopback.openai(), caller) as models:
        limits = [Limit(key="agent:each[2]", usd=0.06), Limit(key="tools", tokens=100)]
        await models.complete(None, HELLO, limits=limits, max_tokens=10)
        failure = await refused(models.complete(None, HELLO, limits=limits, max_tokens=40))
        assert failure.message.startswith("the limit agent:each[2] of the run does not pay")
        failure = await refused(models.complete(None, HELLO, limits=limits[1:], max_tokens=60))
        assert failure.message.startswith("the limit tools of the run does not pay")
        await models.complete(None, HELLO, limits=[Limit(key="other", usd=0.06)], max_tokens=10)
    assert not await spending.remove_budget(tenant, kind="user", subject=owner, period="day")


async def test_an_answer_is_stopped_when_it_outgrows_what_was_set_aside(tenant: Tenant, loopback: ModelServer) -> None:
    """A server that takes no notice of max_tokens."""
    await registry.put(tenant, TINY)
    await total(tenant, usd=1000.0)
    pieces: list[str] = []
    loopback.turns.append(Turn(text="word " * 2000))
    async with asking(tenant, loopback.openai()) as models:
        failure = await refused(models.complete(None, HELLO, max_tokens=100, on_text=pieces.append))
    assert (failure.code, failure.retryable) == ("budget_exceeded", False)
    assert "stopped in the middle of its answer" in failure.message
    assert len(pieces) == 164
    (row,) = await rows(tenant)
    assert (row.outcome, row.output_tokens, row.estimated) == ("budget_exceeded", 100, True)


async def test_whoever_finds_a_budget_held_by_calls_under_way_waits_for_them(tenant: Tenant, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    await total(tenant, usd=0.3)
    async with asking(tenant, loopback.openai()) as models:
        answers = await asyncio.gather(*(models.complete(None, HELLO, max_tokens=80) for _ in range(4)))
    assert [answer.text for answer in answers] == ["ok"] * 4
    assert await spent(tenant) == (0.1, 72, 0.0, 0)


async def test_budgets_of_one_organization_are_nothing_to_another(tenant: Tenant, database: Database, other_tenant: Tenant) -> None:
    await total(tenant, tokens=1)
    async with asking(other_tenant, ModelSettings()) as models:
        await models.complete(None, HELLO)
    assert await spending.budgets(other_tenant) == []
    assert await rows(tenant) == []
    async with asking(tenant, ModelSettings()) as models:
        assert (await refused(models.complete(None, HELLO))).code == "budget_exceeded"


@pytest.mark.promise("P8")
@pytest.mark.parametrize("streamed", [False, True])
async def test_32_agents_on_one_budget_never_pass_it(tenant: Tenant, database: Database, loopback: ModelServer, streamed: bool) -> None:
    """Each asks until it is refused. Their inputs turn out larger than they were taken for, which nobody can know before."""
    await registry.put(tenant, TINY)
    limit, agents = 5.0, 32
    await total(tenant, usd=limit)
    used = (40, 30)  # what every call is said to have used: $0.10
    answered, refusals = 0, list[str]()

    async def agent(models: Models, number: int) -> None:
        nonlocal answered
        while True:
            loopback.turns.append(Turn(text="Fine.", used=used))
            try:
                heard: dict[str, Any] = {"on_text": ignored} if streamed else {}
                answer: Completion = await models.complete(None, HELLO, agent=f"agent {number}", max_tokens=30, **heard)
            except Failure as failure:
                refusals.append(failure.code)
                return
            assert answer.usage.cost_usd == pytest.approx(0.1)
            answered += 1

    async with asking(tenant, loopback.openai()) as one, asking(tenant, loopback.openai()) as two:  # two processes of one house
        await asyncio.gather(*(agent((one, two)[number % 2], number) for number in range(agents)))
    assert refusals == ["budget_exceeded"] * agents
    spent_usd, _, reserved, tokens_reserved = await spent(tenant)
    assert (reserved, tokens_reserved) == (0.0, 0)
    assert spent_usd == pytest.approx(answered * 0.1)
    assert limit - 0.15 < spent_usd <= limit + agents * 0.04
    assert math.isclose(sum(row.cost_usd or 0.0 for row in await rows(tenant)), spent_usd, abs_tol=1e-6)


async def test_a_budget_begins_with_what_was_spent_of_its_period_before(tenant: Tenant, owner: str, loopback: ModelServer) -> None:
    await registry.put(tenant, TINY)
    caller = Caller(user_id=owner, workflow="refunds")
    async with asking(tenant, loopback.openai(), caller) as models:
        await models.complete(None, HELLO, agent="clerk@2")
        subjects = {"organization": "", "user": owner, "workflow": "refunds", "agent": "clerk"}
        for kind, subject in subjects.items():
            for period in ("day", "month", "total"):
                await spending.set_budget(tenant, kind=kind, subject=subject, period=period, usd=10.0, tokens=None)
        await spending.set_budget(tenant, kind="workflow", subject="others", period="day", usd=10.0, tokens=None)
        told = {(budget.kind, budget.subject): (round(budget.usd, 9), budget.tokens) for budget in await spending.budgets(tenant)}
        assert told == {**dict.fromkeys(subjects.items(), (0.025, 18)), ("workflow", "others"): (0.0, 0)}
        await spending.set_budget(tenant, kind="user", subject=owner, period="day", usd=0.03, tokens=None)  # only another amount
        failure = await refused(models.complete(None, HELLO))
    assert failure.message.startswith("the budget of the day of user Olga does not pay for a call to openai:tiny any more: spent $0.025 of")
    await spending.remove_budget(tenant, kind="user", subject=owner, period="day")
    async with asking(tenant, loopback.openai(), caller) as models:
        await models.complete(None, HELLO)  # while there is no such budget
    await spending.set_budget(tenant, kind="user", subject=owner, period="day", usd=1.0, tokens=None)
    (mine,) = [budget for budget in await spending.budgets(tenant) if (budget.kind, budget.period) == ("user", "day")]
    assert (round(mine.usd, 9), mine.tokens, mine.tokens_reserved) == (0.05, 36, 0)
