"""Turns of conversations: numbers without gaps, and the last of them."""

from __future__ import annotations

from collections.abc import Sequence

from store.errors import NotFound
from store.memories import Memory
from store.postgres import Session, Transaction
from store.queries import load

SQL = load(__file__)
ROWS = {"lock": int, "known": str, "last": Memory, "size": int}


async def lock(transaction: Transaction, scope_id: int) -> int:
    """The number of the next turn, which is nobody else's until the transaction ends."""
    found = await transaction.one(SQL.lock, int, scope_id=scope_id)
    if found is None:
        raise NotFound("There is no such scope of memories.")
    return found


async def advance(transaction: Transaction, scope_id: int, number: int) -> None:
    await transaction.execute(SQL.advance, scope_id=scope_id, number=number)


async def known(session: Session, scope_id: int, kind: str, digests: Sequence[str]) -> set[str]:
    """Those of the digests that are there."""
    return set(await session.all(SQL.known, str, scope_id=scope_id, kind=kind, digests=list(digests)))


async def last(session: Session, scope_id: int, series: str, limit: int, *, after: int = 0, min_trust: int = 0) -> tuple[list[Memory], int]:
    """The last turns with a number above `after`, newest first, and how many there are."""
    chosen = {"scope_id": scope_id, "series": series, "after": after, "min_trust": min_trust}
    found = await session.all(SQL.last, Memory, **chosen, limit=limit)
    return found, await session.one(SQL.size, int, **chosen) or 0
