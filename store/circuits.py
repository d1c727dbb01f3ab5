"""Circuit breakers and rate limits of the targets an organization calls: one row per target, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from store.postgres import Session, Tenant
from store.queries import load

SQL = load(__file__)

CircuitState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A target as of `now`, by the database's clock. `target` is an origin; later also the name of a connection."""

    target: str
    now: datetime
    state: CircuitState = "closed"
    failed_at: list[datetime]
    openings: int = 0
    times_opened: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    probe: str | None = None
    probe_until: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    hold_until: datetime | None = None
    limit_calls: int | None = None
    limit_seconds: int | None = None
    limit_burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An answer of the bucket: `wait` seconds until the call may be made or, when refused, until it should ask again."""

    granted: bool
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    total: int


ROWS = {"news": Circuit, "list": Circuit, "count": Total, "lock": Circuit, "take": Grant}


async def news(session: Session) -> list[Circuit]:
    """The targets that are not simply closed."""
    return await session.all(SQL.news, Circuit)


async def page(session: Session, *, state: str | None, after: str | None, limit: int) -> tuple[list[Circuit], int]:
    """By target, `limit` + 1 rows at most (the extra one says that there are more), and the total."""
    rows = await session.all(SQL.list, Circuit, state=state, after=after, limit=limit + 1)
    total = await session.one(SQL.count, Total, state=state)
    return rows, total.total if total else 0


async def change(tenant: Tenant, target: str, step: Callable[[Circuit], Circuit], *, make: bool) -> Circuit | None:
    """Replaces the row by what `step` makes of it, one caller after the other; with `make` where there is none yet, else None."""
    async with tenant.transaction() as transaction:
        if make:
            await transaction.queue(SQL.ensure, target=target)
        before = await transaction.one(SQL.lock, Circuit, target=target)
        if before is None:
            return None
        after = step(before)
        if after != before:
            await transaction.queue(
                SQL.save,
                target=target,
                state=after.state,
                failed_at=after.failed_at,
                openings=after.openings,
                times_opened=after.times_opened,
                opened_at=after.opened_at,
                retry_at=after.retry_at,
                probe=after.probe,
                probe_until=after.probe_until,
                last_error=after.last_error,
                last_error_at=after.last_error_at,
                hold_until=after.hold_until,
            )
    return after


async def limit(session: Session, target: str, *, calls: int, seconds: int, burst: int) -> None:
    """At most `calls` in `seconds`, `burst` of them at once."""
    await session.execute(SQL.limit, target=target, calls=calls, seconds=seconds, burst=burst)


async def unlimit(session: Session, target: str) -> bool:
    """Whether there was a limit."""
    return bool(await session.execute(SQL.unlimit, target=target))


async def take(session: Session, target: str, *, patience: float) -> Grant:
    """Asks for a call within `patience` seconds. Always granted where there is no limit any more."""
    return await session.one(SQL.take, Grant, target=target, patience=patience) or Grant(granted=True, wait=0.0)
