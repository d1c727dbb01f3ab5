"""Tools of other servers: a row per tool with what a person approved and what is offered now, and one per connection with its health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from store.jsontext import Json
from store.postgres import Session, Tenant, Transaction
from store.queries import load

SQL = load(__file__)

ToolState = Literal["approved", "changed", "new", "gone", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A connection as a source of tools. `target`: where they were listed. `error`: None once it has answered again."""

    connection: str
    kind: str
    target: str
    title: str
    protocol: str | None
    listed_at: datetime | None
    latency_ms: int | None
    refused: list[dict[str, str]]
    error: str | None
    error_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A tool. `definition` with `digest` is what was approved, `offered` with `offered_digest` what the server offers now."""

    connection: str
    name: str
    definition: dict[str, Any] | None
    digest: str | None
    effect: str | None
    offered: dict[str, Any] | None
    offered_digest: str | None
    state: str
    approved_by: str | None
    approved_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A tool as its server offers it."""

    name: str
    definition: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a server offered when it was asked: all of it, from one place."""

    kind: str
    target: str
    title: str
    protocol: str | None
    latency_ms: int
    tools: Sequence[Offered]
    refused: Sequence[Mapping[str, str]]


ROWS = {"source": Source, "sources": Source, "lock": str, "tools": Pin, "tool": Pin}


async def source(session: Session, connection: str) -> Source | None:
    return await session.one(SQL.source, Source, connection=connection)


async def sources(session: Session) -> list[Source]:
    return await session.all(SQL.sources, Source)


async def tools(session: Session, connection: str | None = None) -> list[Pin]:
    """By connection and name; of all connections without one."""
    return await session.all(SQL.tools, Pin, connection=connection)


async def tool(session: Session, connection: str, name: str) -> Pin | None:
    return await session.one(SQL.tool, Pin, connection=connection, name=name)


async def keep(tenant: Tenant, connection: str, listing: Listing) -> None:
    """Takes in a whole listing, one after the other: new tools, changed ones, those that are gone."""
    async with tenant.transaction() as transaction:
        target = await transaction.one(SQL.lock, str, connection=connection)
        await transaction.queue(
            SQL.listed,
            connection=connection,
            kind=listing.kind,
            target=listing.target,
            title=listing.title,
            protocol=listing.protocol,
            latency_ms=listing.latency_ms,
            refused=Json(list(listing.refused)),
        )
        if target is not None and target != listing.target:
            await transaction.queue(SQL.moved, connection=connection)
        await transaction.queue(SQL.withdraw, connection=connection, names=[tool.name for tool in listing.tools])
        for offered in listing.tools:
            await _offer(transaction, connection, offered)


async def saw(tenant: Tenant, connection: str, name: str, offered: Offered | None) -> None:
    """A call found one tool different from what was approved, or gone."""
    async with tenant.transaction() as transaction:
        await transaction.one(SQL.lock, str, connection=connection)
        if offered is not None:
            await _offer(transaction, connection, offered)
            return
        others = [pin.name for pin in await tools(transaction, connection) if pin.name != name]
        await transaction.queue(SQL.withdraw, connection=connection, names=others)


async def reached(session: Session, connection: str, *, latency_ms: int) -> None:
    await session.execute(SQL.reached, connection=connection, latency_ms=latency_ms)


async def failed(session: Session, connection: str, *, kind: str, target: str, error: str) -> None:
    await session.execute(SQL.failed, connection=connection, kind=kind, target=target, error=error)


async def approve(session: Session, connection: str, name: str, *, digest: str, effect: str, user_id: str) -> bool:
    """Whether the tool is still offered as the person has seen it."""
    params = {"connection": connection, "name": name, "digest": digest, "effect": effect, "user_id": user_id}
    return bool(await session.execute(SQL.approve, **params))


async def disable(session: Session, connection: str, name: str) -> bool:
    """Whether there is such a tool."""
    return bool(await session.execute(SQL.disable, connection=connection, name=name))


async def forget(session: Session, connection: str) -> None:
    await session.execute(SQL.forget, connection=connection)


async def _offer(transaction: Transaction, connection: str, offered: Offered) -> None:
    await transaction.queue(
        SQL.offer, connection=connection, name=offered.name, offered=Json(offered.definition), offered_digest=offered.digest
    )
