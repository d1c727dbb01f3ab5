"""Importing: what of a file is there already, and what no longer is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    id: str
    digest: str


ROWS = {"known": Known, "standing": str, "pieces": int}


async def known(session: Session, scope_id: int, kind: str, digests: Sequence[str]) -> dict[str, str]:
    """{digest in hexadecimal: id} of those that are there."""
    rows = await session.all(SQL.known, Known, scope_id=scope_id, kind=kind, digests=list(digests))
    return {row.digest: row.id for row in rows}


async def standing(session: Session, scope_id: int, document_id: str, *, max_trust: int, after: str | None, limit: int) -> list[str]:
    """The next pieces of a document that count, by id."""
    return await session.all(SQL.standing, str, scope_id=scope_id, document_id=document_id, max_trust=max_trust, after=after, limit=limit)


async def pieces(session: Session, scope_id: int, document_id: str) -> int:
    return await session.one(SQL.pieces, int, scope_id=scope_id, document_id=document_id) or 0
