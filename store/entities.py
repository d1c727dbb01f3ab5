"""Entities: who and what is spoken of, under all their names. A merge is a row that can be taken away again; it moves nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.errors import Invalid, NotFound
from store.jsontext import Json
from store.postgres import Session, Tenant, Transaction
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """`name`: the one that was asked for; `id`: of the entity, or of what it was merged into."""

    name: str
    id: str
    title: str | None
    type: str | None
    merged: bool
    trust: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    name: str
    id: str
    title: str | None
    type: str | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """`names`: as they are compared; `merged`: ids of what was found to be the same."""

    id: str
    scope_id: int
    kind: str
    name: str | None
    type: str | None
    body: str
    importance: float
    trust: int
    origin: str
    labels: list[str]
    data: Any
    names: list[str]
    mentions: int
    first_seen: datetime
    last_seen: datetime
    merged: list[str]


ROWS = {"called": Called, "like": Similar, "root": str, "part": str, "read": Entity, "mentioning": str}


async def lock(transaction: Transaction, scope_id: int) -> None:
    await transaction.queue(SQL.lock, scope_id=scope_id)


async def called(session: Session, scope_ids: Sequence[int], names: Sequence[str]) -> list[Called]:
    """Entities that have exactly one of these names; names are given as they are compared."""
    return await session.all(SQL.called, Called, scope_ids=list(scope_ids), names=list(names))


async def like(session: Session, scope_id: int, trigrams: Sequence[str], least: float) -> list[Similar]:
    return await session.all(SQL.like, Similar, scope_id=scope_id, trigrams=list(trigrams), least=least)


async def name(transaction: Transaction, scope_id: int, entity_id: str, names: Mapping[str, Sequence[str]]) -> None:
    """`names`: each with its trigrams. Not waited for."""
    joined = ["|".join(trigrams) for trigrams in names.values()]
    await transaction.queue(SQL.name, scope_id=scope_id, entity_id=entity_id, names=list(names), trigrams=joined)


async def mention(transaction: Transaction, pairs: Sequence[tuple[str, str]]) -> None:
    """Notes which memory mentions which entity: (memory, entity). Not waited for."""
    if pairs:
        memory_ids, entity_ids = [memory_id for memory_id, _ in pairs], [entity_id for _, entity_id in pairs]
        await transaction.queue(SQL.mention, memory_ids=memory_ids, entity_ids=entity_ids)
        await transaction.queue(SQL.weigh, ids=sorted(set(entity_ids)))


async def merge(
    tenant: Tenant, scope_id: int, from_id: str, into_id: str, *, method: str = "person", score: float = 1.0, by: str | None = None
) -> str:
    """From now on both are one; answers with the id of that one. Undone by `part`."""
    async with tenant.transaction() as transaction:
        await lock(transaction, scope_id)
        source, target = await root(transaction, from_id), await root(transaction, into_id)
        if source == target:
            if from_id != into_id:
                return target
            raise Invalid("An entity cannot be merged into itself.")
        await transaction.execute(SQL.merge, from_id=source, into_id=target, method=method, score=score, by_user=by)
        return target


async def part(tenant: Tenant, scope_id: int, entity_id: str) -> None:
    """Undoes the merge of this entity into another. Raises NotFound when there is none."""
    async with tenant.transaction() as transaction:
        await lock(transaction, scope_id)
        if await transaction.one(SQL.part, str, id=entity_id) is None:
            raise NotFound("This entity is not merged into another one.", id=entity_id)


async def root(session: Session, entity_id: str) -> str:
    found = await session.one(SQL.root, str, id=entity_id)
    if found is None:
        raise NotFound("There is no such entity.", id=entity_id)
    return found


async def read(session: Session, ids: Sequence[str]) -> list[Entity]:
    """The entities these are, or were merged into, most important first."""
    return await session.all(SQL.read, Entity, ids=list(ids))


async def mentioning(session: Session, entity_id: str, limit: int = 100) -> list[str]:
    """Ids of memories that mention it, newest first."""
    return await session.all(SQL.mentioning, str, id=entity_id, limit=limit)


async def describe(session: Session, entity_id: str, data: Any, body: str, *, terms: str, length: int, tokens: int, trust: int) -> None:
    """Writes what is known of an entity anew, with the terms it is found by."""
    await session.execute(SQL.describe, id=entity_id, data=Json(data), body=body, terms=terms, length=length, tokens=tokens, trust=trust)
