"""Waits: what runs are waiting for, and the events from outside that end some of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.jsontext import Json
from store.postgres import Session, Tenant, Transaction
from store.queries import load
from store.redaction import stand_in

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    position: str
    kind: str
    state: str
    due_at: datetime | None
    lasting: bool
    event_name: str | None
    correlation: str | None
    payload: Any
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """`ended`: [{position, state, payload}] of the waits asked about that are no longer open."""

    signal: int
    request: str | None
    compensate: bool
    ended: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    position: str
    state: str
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event was kept. `woken`: ids of the runs it moved; `duplicate`: it had come before under the same idempotency key."""

    id: str
    duplicate: bool
    woken: list[str]


ROWS = {"of_run": Wait, "attention": Attention, "expire": Ended, "receive": Received, "missed": Ended}


async def of_run(session: Session, run_id: str) -> list[Wait]:
    return await session.all(SQL.of_run, Wait, run_id=run_id)


async def attention(session: Session, run_id: str, positions: list[str]) -> Attention | None:
    return await session.one(SQL.attention, Attention, run_id=run_id, positions=positions)


async def expire(session: Session, run_id: str, position: str) -> Ended | None:
    """Ends an open wait as expired and answers with the state it now has."""
    return await session.one(SQL.expire, Ended, run_id=run_id, position=position)


async def drop(session: Session, run_id: str, fence: int, positions: list[str]) -> None:
    """Withdraws waits, their tasks and their child runs, if the run is still driven under this fence."""
    await session.execute(SQL.drop, run_id=run_id, fence=fence, positions=positions)


async def receive(tenant: Tenant, *, name: str, correlation: str | None, payload: Any, idempotency_key: str | None) -> Received | None:
    async with tenant.transaction() as transaction:
        return await receive_within(transaction, name=name, correlation=correlation, payload=payload, idempotency_key=idempotency_key)


async def receive_within(
    transaction: Transaction, *, name: str, correlation: str | None, payload: Any, idempotency_key: str | None
) -> Received | None:
    """Together with what else happens in the transaction."""
    await transaction.execute(SQL.lock_event, name=name)
    return await transaction.one(
        SQL.receive, Received, name=name, correlation=correlation, payload=Json(payload), idempotency_key=idempotency_key,
        stand_in=_stand_in(transaction, correlation),
    )  # fmt: skip


async def missed(
    tenant: Tenant, run_id: str, position: str, *, name: str, correlation: str | None, since: datetime | None = None
) -> Ended | None:
    """Answers an event wait with an event that came before the wait was recorded, if one did."""
    async with tenant.transaction() as transaction:
        await transaction.execute(SQL.lock_event, name=name)
        return await transaction.one(
            SQL.missed, Ended, run_id=run_id, position=position, name=name, correlation=correlation, since=since,
            stand_in=_stand_in(tenant, correlation),
        )  # fmt: skip


def _stand_in(session: Session, correlation: str | None) -> str | None:
    return None if correlation is None else stand_in(session.org_id, correlation)
