"""What was made of what: down the line for forgetting and quarantine, up the line for labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    id: str
    kind: str
    parents: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    id: str
    subject: str
    predicate: str
    object: str


ROWS = {"children": Child, "concluded": Concluded, "distrust": str}
SURVIVING = frozenset({"fact", "entity", "node", "edge"})
"""Kinds that say one thing: they stand as long as one of the memories they were made of does. Others may hold a bit of each."""


async def support(transaction: Transaction, memory_id: str, parents: Sequence[str]) -> None:
    await transaction.queue(SQL.support, id=memory_id, parents=list(parents))


async def free(transaction: Transaction, memory_id: str) -> None:
    await transaction.queue(SQL.free, id=memory_id)


async def inherit(transaction: Transaction, ids: Sequence[str]) -> None:
    await transaction.queue(SQL.inherit, ids=list(ids))


async def distrust(session: Session, ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.distrust, str, ids=list(ids))


async def falling(session: Session, ids: Sequence[str]) -> list[str]:
    """These and all that does not stand without them, in the order it was found."""
    gone: dict[str, None] = dict.fromkeys(ids)
    frontier = list(gone)
    resting: dict[str, Child] = {}
    while frontier:
        for child in await session.all(SQL.children, Child, ids=frontier):
            if child.id not in gone:
                resting[child.id] = child
        frontier = [child.id for child in resting.values() if child.kind not in SURVIVING or gone.keys() >= set(child.parents)]
        for memory_id in frontier:
            gone[memory_id] = None
            del resting[memory_id]
    return list(gone)
