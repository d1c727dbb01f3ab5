"""Graphs: weighted, typed edges between entities or nodes; neighbours, shortest ways and communities, each one recursive statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from store.errors import Invalid
from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)
MAX_DEPTH = 6
ROUNDS = 20
Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A node that was reached: in `depth` steps, the last of them over `edge_id` from `via` (`outward`: along its direction)."""

    id: str
    name: str | None
    kind: str | None
    depth: int
    via: str
    type: str
    weight: float
    outward: bool
    edge_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`types`: of the edges between the nodes; `strength`: the product of their weights, none counted above 1."""

    nodes: list[str]
    types: list[str]
    strength: float
    names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """Most important member first."""

    ids: list[str]
    names: list[str]
    size: int


ROWS = {"neighbours": Neighbour, "paths": Way, "communities": Community}


async def connect(session: Transaction, memory_id: str, from_id: str, to_id: str, type: str, weight: float = 1.0) -> None:
    """Makes a memory the edge between two nodes, or sets the weight of the edge it is."""
    await session.queue(SQL.connect, memory_id=memory_id, from_id=from_id, to_id=to_id, type=type, weight=weight)


async def neighbours(
    session: Session,
    scope_ids: Sequence[int],
    ids: Sequence[str],
    *,
    depth: int = 1,
    types: Sequence[str] | None = None,
    direction: Direction = "both",
    min_weight: float = 0.0,
    as_of: datetime | None = None,
    min_trust: int = 1,
    limit: int = 100,
) -> list[Neighbour]:
    return await session.all(
        SQL.neighbours,
        Neighbour,
        scope_ids=list(scope_ids),
        ids=list(ids),
        depth=_bounded(depth),
        types=None if types is None else list(types),
        direction=direction,
        min_weight=min_weight,
        as_of=as_of,
        min_trust=min_trust,
        limit=limit,
    )


async def paths(
    session: Session,
    scope_ids: Sequence[int],
    from_id: str,
    to_id: str,
    *,
    depth: int = MAX_DEPTH,
    types: Sequence[str] | None = None,
    directed: bool = False,
    as_of: datetime | None = None,
    min_trust: int = 1,
    limit: int = 3,
) -> list[Way]:
    """The shortest ways, strongest first; none when they are more than `depth` steps apart."""
    return await session.all(
        SQL.paths,
        Way,
        scope_ids=list(scope_ids),
        from_id=from_id,
        to_id=to_id,
        depth=_bounded(depth),
        types=None if types is None else list(types),
        directed=directed,
        as_of=as_of,
        min_trust=min_trust,
        limit=limit,
    )


async def communities(
    session: Session,
    scope_ids: Sequence[int],
    *,
    types: Sequence[str] | None = None,
    least: int = 2,
    min_trust: int = 1,
    limit: int = 50,
) -> list[Community]:
    """Groups that are more tightly connected within than without, largest first; `least`: their smallest size."""
    return await session.all(
        SQL.communities,
        Community,
        scope_ids=list(scope_ids),
        types=None if types is None else list(types),
        least=least,
        rounds=ROUNDS,
        min_trust=min_trust,
        limit=limit,
    )


def _bounded(depth: int) -> int:
    if not 1 <= depth <= MAX_DEPTH:
        raise Invalid(f"depth must be between 1 and {MAX_DEPTH}, not {depth}.")
    return depth
