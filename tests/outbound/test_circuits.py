"""Circuits and rate limits with two processes on one database: what is shared, what is refused, and what it costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from graphs import circuits
from graphs.models import Message, Models, ModelSettings
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from graphs.outbound.breaker import THRESHOLD
from graphs.outbound.gate import REMEMBERED
from store.errors import Invalid, NotFound, Unavailable
from store.postgres import Database, Tenant
from store.queries import Query
from tests.outbound.loopback import Asked, Origin, Reply, always, answer, origin

pytestmark = pytest.mark.anyio
LOCAL = Policy(allow_nets=("127.0.0.0/8",))


class Switch:
    """A server whose answer the test changes; while it hangs, no answer comes."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw or answer(500)
        self.free = asyncio.Event()
        self.free.set()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await self.free.wait()
        writer.write(self.raw)


@asynccontextmanager
async def processes(tenant: Tenant, number: int = 2, policy: Policy = LOCAL) -> AsyncGenerator[list[Outbound]]:
    """The clients of an organization in as many processes."""
    opened = [Outbound(policy) for _ in range(number)]
    try:
        yield [outbound.of(tenant) for outbound in opened]
    finally:
        for outbound in opened:
            await outbound.__aexit__(None, None, None)


async def written(*outbounds: Outbound) -> None:
    for outbound in outbounds:
        assert outbound.gate is not None
        await outbound.gate.settled()


async def refused(outbound: Outbound, url: str, code: str = "circuit_open") -> Failure:
    with pytest.raises(Failure) as failed:
        await outbound.request("POST", url)
    assert (failed.value.code, failed.value.retryable) == (code, True), failed.value.message
    return failed.value


async def shut(outbound: Outbound, url: str) -> bool:
    """Whether a call would be refused by the circuit. None is made."""
    assert outbound.gate is not None
    try:
        passage = await outbound.gate.enter(url, 1.0)
    except Failure as refusal:
        return refusal.code == "circuit_open"
    passage.failed(asyncio.CancelledError())
    return False


async def broken(outbound: Outbound, here: Origin) -> None:
    """Opens the circuit by failures."""
    for _ in range(THRESHOLD):
        assert (await outbound.request("GET", here.url)).status == 500
    await written(outbound)


async def rested(tenant: Tenant, *outbounds: Outbound) -> None:
    """Turns the clock: the rest of an open circuit is over, and everybody knows."""
    await tenant.execute(Query("rest", b"UPDATE weft.circuits SET retry_at = clock_timestamp() WHERE org_id = %(org_id)s::uuid"))
    for outbound in outbounds:
        assert outbound.gate is not None
        outbound.gate.forget()


async def state(tenant: Tenant) -> Any:
    [circuit] = (await circuits.page(tenant)).items
    return circuit


# -- the circuit breaker ---------------------------------------------------------------------------------------------------------


async def test_an_open_circuit_refuses_before_the_call_and_says_which_and_until_when(tenant: Tenant) -> None:
    async with origin(Switch()) as here, processes(tenant, 1) as [outbound]:
        await broken(outbound, here)
        failure = await refused(outbound, here.url + "/path?token=secret")
        assert len(here.asked) == THRESHOLD
        assert here.url in failure.message
        assert "answered with 500" in failure.message
        assert "secret" not in failure.message
        assert failure.details["circuit"] == here.url
        assert 28 < (failure.retry_after or 0) < 36
        circuit = await state(tenant)
        assert (circuit.target, circuit.state, circuit.retry_at - circuit.opened_at) == (here.url, "open", timedelta(seconds=30))


async def test_another_process_that_thought_it_well_knows_within_a_second_or_so(tenant: Tenant) -> None:
    switch = Switch(answer(200))
    async with origin(switch) as here, processes(tenant) as [first, second]:
        assert (await second.request("GET", here.url)).status == 200
        switch.raw = answer(500)
        begun = time.monotonic()
        await broken(first, here)
        while not await shut(second, here.url) and time.monotonic() - begun < 10:
            await asyncio.sleep(0.02)
        assert time.monotonic() - begun < REMEMBERED + 1.0


async def test_exactly_one_call_of_all_processes_probes_and_its_answer_lets_the_others_through(tenant: Tenant) -> None:
    switch = Switch()
    async with origin(switch) as here, processes(tenant, 3) as everybody:
        await broken(everybody[0], here)
        switch.raw = answer(200, b"well")
        switch.free.clear()
        await rested(tenant, *everybody)
        calls = [asyncio.create_task(outbound.request("POST", here.url)) for outbound in everybody for _ in range(5)]
        while sum(call.done() for call in calls) < 14:
            await asyncio.wait(calls, timeout=0.05)
        refusals = [call.exception() for call in calls if call.done()]
        assert {getattr(wrong, "code", None) for wrong in refusals} == {"circuit_open"}
        assert len(here.asked) == THRESHOLD + 1
        switch.free.set()
        [probe] = [call for call in calls if not call.done()]
        assert (await probe).status == 200
        await written(*everybody)
        for outbound in everybody:
            assert outbound.gate is not None
            outbound.gate.forget()
            assert (await outbound.request("POST", here.url)).status == 200
        assert (await state(tenant)).state == "closed"


async def test_a_failed_probe_opens_it_for_twice_as_long(tenant: Tenant) -> None:
    async with origin(Switch()) as here, processes(tenant, 1) as [outbound]:
        await broken(outbound, here)
        await rested(tenant, outbound)
        assert (await outbound.request("GET", here.url)).status == 500
        await written(outbound)
        assert 58 < ((await refused(outbound, here.url)).retry_after or 0) < 68
        assert (await state(tenant)).times_opened == 2


async def test_a_cancelled_probe_leaves_the_place_to_the_next(tenant: Tenant) -> None:
    switch = Switch()
    async with origin(switch) as here, processes(tenant) as [first, second]:
        await broken(first, here)
        await rested(tenant, first, second)
        switch.free.clear()
        probe = asyncio.create_task(first.request("GET", here.url))
        while len(here.asked) == THRESHOLD:
            await asyncio.wait([probe], timeout=0.02)
        probe.cancel()
        await asyncio.wait([probe])
        await written(first)
        switch.raw = answer(200)
        switch.free.set()
        assert (await second.request("GET", here.url)).status == 200


async def test_time_outs_and_refused_connections_count(tenant: Tenant) -> None:
    switch = Switch()
    switch.free.clear()
    async with origin(switch) as here, processes(tenant, 1) as [outbound]:
        for _ in range(THRESHOLD):
            with pytest.raises(Failure, match="did not finish"):
                await outbound.request("GET", here.url, timeout=0.05)
        await refused(outbound, here.url)
        gone = here.url
    async with processes(tenant, 1) as [outbound]:
        await circuits.reset(tenant, gone)
        for _ in range(THRESHOLD):
            with pytest.raises(Failure, match="does not accept connections"):
                await outbound.request("GET", gone)
        await refused(outbound, gone)


@pytest.mark.parametrize("reply", [always(answer(404)), always(answer(429)), always(answer(301, location="/elsewhere"))])
async def test_answers_that_are_no_trouble_of_the_target_never_open_it(tenant: Tenant, reply: Reply) -> None:
    async with origin(reply) as here, processes(tenant, 1) as [outbound]:
        for _ in range(2 * THRESHOLD):
            await outbound.request("GET", here.url, follow_redirects=False)
        await written(outbound)
        assert (await circuits.page(tenant)).total == 0


async def test_what_we_refuse_ourselves_and_names_that_do_not_exist_are_no_failures(tenant: Tenant) -> None:
    async with processes(tenant, 1, Policy()) as [outbound]:
        for url in ("http://127.0.0.1:9", "ftp://example.com", "http://nowhere.invalid", "http://192.168.0.1"):
            for _ in range(2 * THRESHOLD):
                with pytest.raises(Failure) as failed:
                    await outbound.request("GET", url)
                assert failed.value.code in ("blocked_address", "bad_url", "connect")
                assert not (failed.value.code == "connect" and failed.value.retryable and url != "http://nowhere.invalid")
        await written(outbound)
        assert {item.target for item in (await circuits.page(tenant)).items} <= {"http://nowhere.invalid"}


async def test_cancelled_calls_are_no_failures(tenant: Tenant) -> None:
    switch = Switch()
    switch.free.clear()
    async with origin(switch) as here, processes(tenant, 1) as [outbound]:
        calls = [asyncio.create_task(outbound.request("GET", here.url)) for _ in range(2 * THRESHOLD)]
        while len(here.asked) < len(calls):
            await asyncio.wait(calls, timeout=0.02)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await written(outbound)
        assert (await circuits.page(tenant)).total == 0


async def test_a_redirect_to_an_open_circuit_says_that_something_was_sent(tenant: Tenant) -> None:
    async with origin(Switch()) as there, origin(always(answer(307, location=there.url))) as here, processes(tenant, 1) as [outbound]:
        await broken(outbound, there)
        assert (await refused(outbound, here.url)).details == {"sent": True}


async def test_calls_of_models_open_the_circuit_and_are_refused_by_it(tenant: Tenant) -> None:
    from pydantic import SecretStr

    async with origin(always(answer(500, b"{}", content_type="application/json"))) as here, Outbound(Policy()) as outbound:
        settings = ModelSettings(openai_api_key=SecretStr("sk-1"), openai_base_url=here.url + "/v1", default="openai:x")
        models = Models(settings, outbound).of(tenant)
        for _ in range(THRESHOLD):
            with pytest.raises(Failure) as failed:
                await models.complete(None, [Message(role="user", text="Hello")])
            assert failed.value.code == "model_unavailable"
        with pytest.raises(Failure) as failed:
            await models.complete(None, [Message(role="user", text="Hello")])
        assert (failed.value.code, failed.value.retryable) == ("circuit_open", True)
        assert (failed.value.retry_after or 0) > 28
        assert len(here.asked) == THRESHOLD


async def test_a_silent_model_counts_too(tenant: Tenant) -> None:
    from pydantic import SecretStr

    switch = Switch(answer(500, b"{}", content_type="application/json"))
    async with origin(switch) as here, Outbound(Policy()) as outbound:
        models = Models(ModelSettings(openai_api_key=SecretStr("sk-1"), openai_base_url=here.url, default="openai:x"), outbound).of(tenant)
        for number in range(THRESHOLD):
            if number == THRESHOLD - 1:
                switch.free.clear()
            with pytest.raises(Failure):
                await models.complete(None, [Message(role="user", text="Hello")], timeout=1.5 if number else 20.0)
        with pytest.raises(Failure) as failed:
            await models.complete(None, [Message(role="user", text="Hello")], timeout=5.0)
        assert failed.value.code == "circuit_open"


# -- what it costs ---------------------------------------------------------------------------------------------------------------


class Counting(Tenant):
    calls = 0

    async def _call(self, *given: Any, **more: Any) -> Any:
        Counting.calls += 1
        return await super()._call(*given, **more)


async def test_calls_to_a_target_in_good_health_cost_one_round_trip_a_second(database: Database, organization: str) -> None:
    async with origin(always(answer(200))) as here, processes(Counting(database, organization), 1) as [outbound]:
        Counting.calls, begun = 0, time.monotonic()
        for _ in range(300):
            await outbound.request("GET", here.url)
        assert 1 <= Counting.calls <= 1 + (time.monotonic() - begun) / REMEMBERED


class Away(Tenant):
    async def _call(self, *given: Any, **more: Any) -> Any:
        raise Unavailable

    def transaction(self) -> Any:
        raise Unavailable


async def test_without_postgres_calls_go_on_and_keep_their_answers(database: Database, organization: str) -> None:
    async with origin(Switch()) as here, processes(Away(database, organization), 1) as [outbound]:
        for _ in range(THRESHOLD + 3):
            assert (await outbound.request("GET", here.url)).status == 500
        await written(outbound)
        assert len(here.asked) == THRESHOLD + 3


async def test_a_hundred_calls_that_fail_together_open_it_once(tenant: Tenant) -> None:
    switch = Switch()
    async with origin(switch) as here, processes(tenant) as both:
        switch.free.clear()
        calls = [asyncio.create_task(outbound.request("GET", here.url)) for outbound in both for _ in range(50)]
        while len(here.asked) < len(calls):
            await asyncio.wait(calls, timeout=0.02)
        switch.free.set()
        await asyncio.gather(*calls)
        await written(*both)
        circuit = await state(tenant)
        assert (circuit.state, circuit.times_opened, circuit.openings) == ("open", 1, 1)


# -- rate limits -----------------------------------------------------------------------------------------------------------------


async def test_a_limit_holds_over_two_processes_and_is_used_to_the_full(tenant: Tenant) -> None:
    moments: list[float] = []
    codes: set[str] = set()

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        moments.append(time.monotonic())
        writer.write(answer(200))

    async with origin(reply) as here, processes(tenant) as both:
        await circuits.limit(tenant, here.url, "20/s", 5)
        end = time.monotonic() + 2.5

        async def caller(outbound: Outbound) -> None:
            while time.monotonic() < end:
                try:
                    await outbound.request("GET", here.url)
                except Failure as failure:
                    codes.add(failure.code)
                    await asyncio.sleep(min(failure.retry_after or 0.0, 0.1))

        begun = time.monotonic()
        await asyncio.gather(*(caller(outbound) for outbound in both for _ in range(6)))
    for number, moment in enumerate(moments, 1):
        assert number <= 5 + 20 * (moment - begun) + 0.01, (number, moment - begun)
    assert len(moments) >= 30
    assert codes <= {"rate_limited"}


async def test_who_finds_no_token_within_a_second_is_told_a_time_of_its_own(tenant: Tenant) -> None:
    async with origin(always(answer(200))) as here, processes(tenant, 1) as [outbound]:
        await circuits.limit(tenant, here.url, "2/min", None)
        assert (await outbound.request("POST", here.url)).status == 200
        refusals = [await refused(outbound, here.url, "rate_limited") for _ in range(3)]
        waits = [failure.retry_after or 0.0 for failure in refusals]
        assert 55 < waits[0] < 61
        assert [round((later - earlier) / 30) for earlier, later in pairwise(waits)] == [1, 1]
        assert "2 calls in 60 s" in refusals[0].message
        assert len(here.asked) == 1


async def test_removing_or_changing_a_limit_takes_effect_at_once_here(tenant: Tenant) -> None:
    async with origin(always(answer(200))) as here, processes(tenant, 1) as [outbound]:
        assert outbound.gate is not None
        await circuits.limit(tenant, here.url, "1/h", None)
        await outbound.request("GET", here.url)
        await refused(outbound, here.url, "rate_limited")
        await circuits.limit(tenant, here.url, "1000/s", None)
        outbound.gate.forget()
        await outbound.request("GET", here.url)
        await circuits.limit(tenant, here.url, "1/h", 1)
        outbound.gate.forget()
        await outbound.request("GET", here.url)
        await circuits.unlimit(tenant, here.url)
        await outbound.request("GET", here.url)
        with pytest.raises(NotFound):
            await circuits.unlimit(tenant, here.url)


async def test_a_pause_a_target_asks_for_binds_every_process_of_the_organization(tenant: Tenant) -> None:
    async with origin(always(answer(429, retry_after=40))) as here, processes(tenant) as [first, second]:
        assert (await first.request("GET", here.url)).status == 429
        await written(first)
        failure = await refused(second, here.url, "rate_limited")
        assert 38 < (failure.retry_after or 0) < 42
        assert "asked for no more calls" in failure.message
        assert len(here.asked) == 1
        await circuits.reset(tenant, here.url)
        assert second.gate is not None
        second.gate.forget()
        assert (await second.request("GET", here.url)).status == 429


async def test_a_short_pause_is_waited_for_in_the_process(tenant: Tenant) -> None:
    switch = Switch(answer(503, retry_after=1))
    async with origin(switch) as here, processes(tenant, 1) as [outbound]:
        await outbound.request("GET", here.url)
        await written(outbound)
        switch.raw = answer(200)
        begun = time.monotonic()
        assert (await outbound.request("GET", here.url)).status == 200
        assert 0.5 < time.monotonic() - begun < 5


# -- organizations ---------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P3")
async def test_a_circuit_or_limit_of_one_organization_is_not_seen_reset_or_felt_by_another(tenant: Tenant, other_tenant: Tenant) -> None:
    async with origin(Switch()) as here, Outbound(LOCAL) as house:
        ours, theirs = house.of(tenant), house.of(other_tenant)
        await circuits.limit(tenant, here.url, "1000/s", None)
        await broken(ours, here)
        await refused(ours, here.url)
        assert (await theirs.request("GET", here.url)).status == 500
        await written(theirs)
        assert [(item.state, item.limit_calls) for item in (await circuits.page(other_tenant)).items] == [("closed", None)]
        await circuits.reset(other_tenant, here.url)
        with pytest.raises(NotFound):
            await circuits.unlimit(other_tenant, here.url)
        assert (await state(tenant)).state == "open"
        await tenant.execute(Query("forget", b"DELETE FROM weft.circuits WHERE org_id = %(org_id)s::uuid"))
        with pytest.raises(NotFound):
            await circuits.reset(tenant, here.url)


# -- names and numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("https://API.example.com", "https://api.example.com"),
        ("https://api.example.com:443/v1?x=1", "https://api.example.com"),
        ("http://api.example.com:80", "http://api.example.com"),
        ("http://api.example.com:443", "http://api.example.com:443"),
        ("https:/api.example.com", "https://api.example.com"),  # proxies fold slashes
        ("https://api.example.com.", "https://api.example.com"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("http://[::1]", "http://[::1]"),
    ],
)
async def test_a_target_has_one_spelling_which_is_the_one_that_calls_use(written: str, key: str) -> None:
    import httpx2

    from graphs.outbound.transport import target_of

    assert circuits.target(written) == key
    assert target_of(httpx2.URL(key)) == key


@pytest.mark.parametrize("text", ["api.example.com", "ftp://x", "https://", "https://a b", "slack", "", "https://u:p@x.example"])
async def test_what_is_no_origin_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Invalid, match=r"https://api\.example\.com"):
        circuits.target(text)


async def test_a_rate_is_calls_per_second_minute_or_hour() -> None:
    assert [circuits.rate(text, None) for text in ("10/s", "600/min", "90/min", "1000/h")] == [
        (10, 1, 10),
        (600, 60, 10),
        (90, 60, 2),
        (1000, 3600, 1),
    ]
    assert circuits.rate("10/s", 50) == (10, 1, 50)
    for text in ("10", "0/s", "-1/s", "1.5/s", "10/d", "ten/s", "99999999/s"):
        with pytest.raises(Invalid, match="600/min"):
            circuits.rate(text, None)
