"""Random histories of assert, supersede and retract answer `as_of` and `known_at` as a naive model does, at every instant."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import facts, identities
from store.facts import Claim, Fact
from store.ids import new_id
from store.postgres import Database, Tenant
from store.queries import Query

DAYS = 8
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
KNOWN = datetime(2024, 1, 1, tzinfo=UTC)
SCOPE = Query("scope", b"INSERT INTO weft.memory_scopes (org_id, kind, name) VALUES (%(org_id)s::uuid, 'organization', '') RETURNING id")
MEMORY = Query(
    "memory",
    b"""INSERT INTO weft.memories (org_id, scope_id, kind, body, terms, length, tokens, origin, trust, digest, recorded_at)
    VALUES (%(org_id)s::uuid, %(scope_id)s, 'fact', %(body)s::text, ''::tsvector, 0, 0, 'user', %(trust)s,
      sha256(%(identity)s::text::bytea), %(now)s) RETURNING id""",
)
SUBJECTS = itertools.count()


def day(number: int | None) -> datetime | None:
    return None if number is None else FIRST + timedelta(days=number)


@dataclass(frozen=True)
class Assert:
    value: str
    since: int | None
    until: int | None
    trust: int


@dataclass(frozen=True)
class Retract:
    instant: int
    value: str
    vouched: bool


@dataclass
class Naive:
    """What is so on each of the days, per layer (vouched or not): a value and a token of who said so. Copied whole at every step."""

    single: bool
    days: list[set[tuple[bool, str, int]]] = field(default_factory=lambda: [set() for _ in range(DAYS)])
    tokens: Any = field(default_factory=itertools.count)

    def block(self, instant: int, vouched: bool, value: str) -> set[int]:
        """The days around an instant over which the same fact goes on."""
        here = [entry for entry in self.days[instant] if entry[:2] == (vouched, value)]
        if not here:
            return set()
        found = {instant}
        for step in (-1, 1):
            at = instant + step
            while 0 <= at < DAYS and here[0] in self.days[at]:
                found.add(at)
                at += step
        return found

    def apply(self, step: Assert | Retract) -> None:
        if isinstance(step, Retract):
            for at in self.block(step.instant, step.vouched, step.value):
                self.days[at] = {entry for entry in self.days[at] if entry[:2] != (step.vouched, step.value)}
            return
        vouched = step.trust >= facts.VOUCHED
        start, end = step.since or 0, DAYS if step.until is None else step.until
        if self.single and step.until is None:
            starts = [
                at for at in range(start + 1, DAYS) for entry in self.days[at] if entry[0] == vouched and entry not in self.days[at - 1]
            ]
            end = min(starts, default=DAYS)
        if set(range(start, end)) <= self.block(start, vouched, step.value):
            return
        token = next(self.tokens) if self.single else -1
        for at in range(start, end):
            if self.single:
                self.days[at] = {entry for entry in self.days[at] if entry[0] and not vouched}
            self.days[at].add((vouched, step.value, token))

    def answer(self) -> list[set[tuple[bool, str]]]:
        return [{entry[:2] for entry in today} for today in self.days]


intervals = st.tuples(st.none() | st.integers(1, DAYS - 2), st.none() | st.integers(1, DAYS - 1)).filter(
    lambda pair: pair[1] is None or (pair[0] or 0) < pair[1]
)
values = st.sampled_from("abc")
asserts = st.tuples(values, intervals, st.sampled_from([1, 2, 3, 3, 3])).map(lambda made: Assert(made[0], *made[1], made[2]))
retracts = st.builds(Retract, st.integers(0, DAYS - 1), values, st.booleans())
histories = st.lists(st.one_of(asserts, asserts, asserts, retracts), min_size=1, max_size=10)


@dataclass(frozen=True)
class World:
    runner: asyncio.Runner
    tenant: Tenant
    scope_id: int


@pytest.fixture
def world(app_url: str) -> Generator[World]:
    async def opened() -> tuple[Any, Database, Tenant, int]:
        context = Database.open(app_url)
        database = await context.__aenter__()
        tenant = database.tenant((await identities.create_organization(database, slug="acme", name="Acme")).id)
        scope_id = await tenant.one(SCOPE, int)
        assert scope_id
        return context, database, tenant, scope_id

    with asyncio.Runner() as runner:
        context, _, tenant, scope_id = runner.run(opened())
        yield World(runner, tenant, scope_id)
        runner.run(context.__aexit__(None, None, None))


async def hold(tenant: Tenant, scope_id: int, claim: Claim, now: datetime) -> None:
    async with tenant.transaction() as transaction:
        made = await facts.prepare(transaction, scope_id, claim)
        if made.known is None:
            values = {"body": claim.object, "trust": claim.trust, "identity": new_id(), "now": now}
            memory_id = await transaction.one(MEMORY, str, scope_id=scope_id, **values)
            assert memory_id
            await facts.settle(transaction, made, memory_id, claim, now=now)


async def held(tenant: Tenant, scope_id: int, subject: str, at: int, known_at: datetime | None) -> list[Fact]:
    as_of = FIRST + timedelta(days=at, hours=12)
    return await facts.about(tenant, [scope_id], [subject], as_of=as_of, known_at=known_at)


async def replay(tenant: Tenant, scope_id: int, single: bool, history: list[Assert | Retract]) -> None:
    subject = f"s{next(SUBJECTS)}"
    naive, snapshots = Naive(single), list[list[set[tuple[bool, str]]]]()
    for number, step in enumerate(history):
        now = KNOWN + timedelta(minutes=number)
        if isinstance(step, Assert):
            claim = Claim(
                subject=subject,
                predicate="p",
                object=step.value,
                single=single,
                trust=step.trust,
                valid_from=day(step.since),
                valid_to=day(step.until),
            )
            await hold(tenant, scope_id, claim, now)
        else:
            found = await held(tenant, scope_id, subject, step.instant, None)
            ids = [fact.id for fact in found if (fact.vouched, fact.object) == (step.vouched, step.value)]
            await facts.retract(tenant, ids, "wrong", now=now)
        naive.apply(step)
        snapshots.append(naive.answer())
    for number, snapshot in enumerate(snapshots):
        known_at = KNOWN + timedelta(minutes=number, seconds=30)
        for at, expected in enumerate(snapshot):
            found = await held(tenant, scope_id, subject, at, known_at)
            assert {(fact.vouched, fact.object) for fact in found} == expected, (number, at)
            assert len(found) == len(expected), "a value is there twice"
    for at, expected in enumerate(snapshots[-1]):
        found = await held(tenant, scope_id, subject, at, None)
        assert {(fact.vouched, fact.object) for fact in found} == expected
    assert await held(tenant, scope_id, subject, 0, KNOWN - timedelta(minutes=1)) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(single=st.booleans(), history=histories)
def test_a_random_history_is_answered_as_a_naive_model_does(world: World, single: bool, history: list[Assert | Retract]) -> None:
    world.runner.run(replay(world.tenant, world.scope_id, single, history))
