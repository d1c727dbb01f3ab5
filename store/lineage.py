"""What was made of what: down the line for forgetting and quarantine, up the line for labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    id: str
    kind: str
    parents: list[str]
    seen: list[str]
    described: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    id: str
    kind: str
    parents: list[str]
    seen: list[str]
    meant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    id: str
    subject: str
    predicate: str
    object: str


ROWS = {
    "children": Child,
    "concluded": Concluded,
    "distrust": str,
    "hidden": Hidden,
    "pieces": str,
    "visible": str,
    "resting": str,
    "trust": str,
}
SURVIVING = frozenset({"fact", "entity", "node", "edge"})
"""Kinds that say one thing: they stand as long as one of the memories they were made of does. Others may hold a bit of each."""


async def support(transaction: Transaction, memory_id: str, parents: Sequence[str]) -> None:
    await transaction.queue(SQL.support, id=memory_id, parents=list(parents))


async def free(transaction: Transaction, memory_id: str) -> None:
    await transaction.queue(SQL.free, id=memory_id)


async def inherit(transaction: Transaction, ids: Sequence[str]) -> None:
    await transaction.queue(SQL.inherit, ids=list(ids))


async def distrust(session: Session, ids: Sequence[str], *, meant: Sequence[str], reason: str, by: str | None) -> list[str]:
    """Hides them; `meant` for their own sake and the others with them. Ids of those that were seen until now."""
    return await session.all(SQL.distrust, str, ids=list(ids), meant=list(meant), reason=reason, by_user=by)


async def trust(session: Session, ids: Sequence[str]) -> list[str]:
    """Shows them again; ids of those that were hidden."""
    return await session.all(SQL.trust, str, ids=list(ids))


async def resting(session: Session, ids: Sequence[str]) -> set[str]:
    """Those of them that stand as long as one of the memories they were made of does."""
    return set(await session.all(SQL.resting, str, ids=list(ids), kinds=sorted(SURVIVING)))


async def visible(session: Session, ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.visible, str, ids=list(ids))


async def pieces(session: Session, ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.pieces, str, ids=list(ids))


async def falling(session: Session, ids: Sequence[str], *, wary: bool = False) -> list[str]:
    """These and all that does not stand without them, in the order it was found. `wary`: also entities that one of them may have described,
    whatever else they rest on: nobody can tell whose the words are."""
    gone: dict[str, None] = dict.fromkeys(ids)
    frontier = list(gone)
    resting: dict[str, Child] = {}
    while frontier:
        for child in await session.all(SQL.children, Child, ids=frontier):
            if child.id not in gone:
                resting[child.id] = child
        frontier = [child.id for child in resting.values() if _falls(child, gone, wary=wary)]
        for memory_id in frontier:
            gone[memory_id] = None
            del resting[memory_id]
    return list(gone)


def _falls(child: Child, gone: Mapping[str, None], *, wary: bool) -> bool:
    if child.kind not in SURVIVING or (wary and child.described):
        return True
    return gone.keys() >= set(child.seen if wary else child.parents)


async def rising(session: Session, ids: Sequence[str]) -> list[str]:
    """Of these and what was made of them, all that is hidden and can be seen again: not what was hidden for its own sake, nor what rests on
    something else that stays hidden."""
    hidden = await session.all(SQL.hidden, Hidden, ids=list(ids))
    found = {child.id: child for child in hidden if not child.meant or child.id in ids}
    while held := [child.id for child in found.values() if _held(child, found)]:
        for memory_id in held:
            del found[memory_id]
    return list(found)


def _held(child: Hidden, rising: Mapping[str, Hidden]) -> bool:
    """One that says one thing needs one of its parents, others all of them."""
    staying = [parent for parent in child.parents if parent not in rising]
    return bool(staying) and (child.kind not in SURVIVING or (len(staying) == len(child.parents) and not child.seen))
