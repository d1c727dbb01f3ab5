"""Collections of vectors that users bring: each has a dimension and a metric, and a space of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.memories import in_space
from store.postgres import Session
from store.queries import load
from store.spaces import Space

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """`score`: the higher the nearer, as the collection's metric says."""

    id: str
    body: str
    data: Any
    trust: int
    score: float


ROWS = {"older": str, "cosine": Near, "l2": Near, "ip": Near}


async def older(session: Session, scope_id: int, collection: str, key: str, except_id: str, *, max_trust: int) -> list[str]:
    return await session.all(SQL.older, str, scope_id=scope_id, collection=collection, key=key, except_id=except_id, max_trust=max_trust)


async def nearest(
    session: Session,
    space: Space,
    scope_ids: Sequence[int],
    vector: str,
    *,
    k: int,
    threshold: float | None = None,
    min_trust: int = 1,
) -> list[Near]:
    """Nearest first; `vector` as pgvector writes it."""
    query = in_space(SQL.by_name[space.metric], space.id)
    return await session.all(query, Near, scope_ids=list(scope_ids), vector=vector, k=k, threshold=threshold, min_trust=min_trust)
