"""Documents in collections, and their pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.memories import Memory
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    name: str | None
    documents: int
    chunks: int


ROWS = {"older": str, "piece_ids": str, "pieces": Memory, "collections": Collection}


async def older(session: Session, scope_id: int, collection: str, source: str, except_id: str, *, max_trust: int) -> list[str]:
    return await session.all(
        SQL.older, str, scope_id=scope_id, collection=collection, source=source, except_id=except_id, max_trust=max_trust
    )


async def pieces(session: Session, document_id: str) -> list[Memory]:
    return await session.all(SQL.pieces, Memory, document_id=document_id)


async def piece_ids(session: Session, scope_id: int, document_id: str) -> list[str]:
    return await session.all(SQL.piece_ids, str, scope_id=scope_id, document_id=document_id)


async def collections(session: Session, scope_ids: Sequence[int]) -> list[Collection]:
    return await session.all(SQL.collections, Collection, scope_ids=list(scope_ids))
