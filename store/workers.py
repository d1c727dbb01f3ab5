"""Workers: the processes that drive runs, as they say themselves with every heartbeat, and the chores that one of them does for all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from store.postgres import Database
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """`state`: serving, draining, or lost: its session lock is gone, or it has not been heard of for a lease."""

    host: str
    pid: int
    version: str
    state: str
    driving: int
    slots: int
    started_at: datetime
    seen_at: datetime


ROWS: dict[str, type] = {"beat": str, "leave": str, "list": Worker, "forget": int, "wake_lines": int, "mind_clock": float}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Who a worker is."""

    worker: int
    host: str
    pid: int
    version: str
    lease: timedelta
    slots: int


async def beat(database: Database, post: Post, *, driving: int, draining: bool, at: datetime | None = None) -> None:
    """Says that a worker lives. `at` stands in for the database's clock in tests."""
    who = {name: getattr(post, name) for name in post.__dataclass_fields__}
    await database.system(SQL.beat, str, **who, driving=driving, draining=draining, at=at)


async def mind_clock(database: Database, *, at: datetime | None = None) -> float | None:
    """Seconds that the clock of Postgres has been set back since a worker looked last. Lengths of time under way have been made as long
    again as they were. None: it has not been."""
    [seconds] = await database.system(SQL.mind_clock, float, at=at)
    return seconds


async def leave(database: Database, worker: int) -> None:
    await database.system(SQL.leave, str, worker=worker)


async def listed(database: Database) -> list[Worker]:
    """All workers, by host and age; lost ones for a day."""
    return await database.system(SQL.list, Worker)


async def forget(database: Database, *, at: datetime | None = None) -> int:
    """Removes the workers that were lost a day ago."""
    [forgotten] = await database.system(SQL.forget, int, at=at)
    return forgotten


async def wake_lines(database: Database, *, at: datetime | None = None) -> int:
    """Wakes the runs that stand first before a concurrency key with a free place; the number of them."""
    [woken] = await database.system(SQL.wake_lines, int, at=at)
    return woken
