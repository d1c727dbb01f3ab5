"""What calls of models used and cost, and the budgets that bound it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from store import jsontext
from store.ids import is_id
from store.postgres import Session
from store.queries import load

SQL = load(__file__)

Verdict = Literal["granted", "busy", "refused", "unpriced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """An answer to a reservation. When granted, `id` is the call's and `output` how many tokens it may answer with; else the rest
    tells of the purse that pays no more. `purses`: how many it draws on."""

    verdict: Verdict
    id: str | None
    output: int | None
    kind: str | None
    subject: str | None
    period: str | None
    usd_limit: float | None
    token_limit: int | None
    usd: float | None
    tokens: int | None
    usd_reserved: float | None
    tokens_reserved: int | None
    purses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Calls that share a mark. `unpriced` of them have no known cost, and those in `unknown` died with their process."""

    mark: str | None
    calls: int
    failed: int
    unknown: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    id: str
    at: datetime
    state: str
    user_name: str | None
    run_id: str | None
    position: str | None
    attempt: int | None
    workflow: str | None
    agent: str | None
    model: str
    vendor: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool
    outcome: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`usd` and `tokens` are what is spent since `since`; the reserved ones what calls under way may spend yet."""

    kind: str
    subject: str
    user_name: str | None
    period: str
    usd_limit: float | None
    token_limit: int | None
    usd: float
    tokens: int
    usd_reserved: float
    tokens_reserved: int
    since: datetime


ROWS = {"reserve": Reserved, "hold": int, "usage": Used, "calls": CallRow, "budgets": Budget}


async def reserve(
    session: Session,
    call: Mapping[str, Any],
    *,
    input_tokens: int,
    most: int,
    least: int,
    prices: tuple[float, float] | None,
    limits: Sequence[Mapping[str, Any]],
    seconds: float,
) -> Reserved:
    """`call`: user_id, run_id, position, attempt, workflow, agent, model, vendor. `prices`: USD for a million tokens in and out. After
    `seconds` without a settlement the call counts as lost."""
    found = await session.one(
        SQL.reserve,
        Reserved,
        call=jsontext.text(dict(call)),
        input_tokens=input_tokens,
        most=most,
        least=least,
        input_price=prices[0] if prices else None,
        output_price=prices[1] if prices else None,
        limits=jsontext.text([dict(limit) for limit in limits]),
        seconds=seconds,
    )
    assert found is not None  # noqa: S101  # a function always answers
    return found


async def hold(session: Session, run_id: str, limits: Sequence[Mapping[str, Any]]) -> None:
    """Opens the purses of limits within a run, for the child runs that draw on them."""
    await session.execute(SQL.hold, run_id=run_id, limits=jsontext.text([dict(limit) for limit in limits]))


async def settle(
    session: Session,
    id: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int,
    cost: float | None,
    estimated: bool,
    outcome: str,
    duration_ms: int,
) -> None:
    """Once; what is told again changes nothing."""
    await session.execute(
        SQL.settle,
        id=id,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        cost=cost,
        estimated=estimated,
        outcome=outcome,
        duration_ms=duration_ms,
    )


async def expire(session: Session) -> None:
    """Counts calls whose process has died at what was set aside for them."""
    await session.execute(SQL.expire)


async def purge(session: Session, *, age: timedelta) -> None:
    await session.execute(SQL.purge, age=age)


async def usage(
    session: Session,
    *,
    by: str,
    since: datetime,
    until: datetime | None = None,
    model: str | None = None,
    run_id: str | None = None,
    workflow: str | None = None,
    agent: str | None = None,
    user: str | None = None,
    limit: int = 100,
) -> list[Used]:
    """By day, model, vendor, user, workflow, agent, run or outcome."""
    if run_id is not None and not is_id(run_id):
        return []
    return await session.all(
        SQL.usage, Used, by=by, since=since, until=until, model=model, run_id=run_id, workflow=workflow, agent=agent, user=user, limit=limit
    )


async def calls(session: Session, *, run_id: str | None, before: str | None, limit: int, viewer: str | None = None) -> list[CallRow]:
    """`limit` + 1 rows at most: the extra one says that there are more. `viewer`: without those of runs that are private to others."""
    if run_id is not None and not is_id(run_id):
        return []
    return await session.all(SQL.calls, CallRow, run_id=run_id, before=before, limit=limit + 1, viewer=viewer)


async def budgets(session: Session) -> list[Budget]:
    return await session.all(SQL.budgets, Budget)


async def set_budget(session: Session, *, kind: str, subject: str, period: str, usd: float | None, tokens: int | None) -> None:
    await session.execute(SQL.set_budget, kind=kind, subject=subject, period=period, usd=usd, tokens=tokens)


async def remove_budget(session: Session, *, kind: str, subject: str, period: str) -> bool:
    """Whether there was one."""
    return bool(await session.execute(SQL.remove_budget, kind=kind, subject=subject, period=period))
