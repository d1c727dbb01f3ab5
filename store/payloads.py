"""Large JSON values, kept once per organization under the SHA-256 of their text; rows that hold such a value hold its digest instead."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from store.columns import INLINE
from store.jsontext import text
from store.postgres import Session
from store.queries import load

SQL = load(__file__)
DIGEST = re.compile(r"[0-9a-f]{64}")
UNUSED = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a value's JSON text; `size` is that of the whole, in characters."""

    text: str
    size: int


ROWS = {"page": Part}


async def page(session: Session, digest: str, offset: int, limit: int) -> Part | None:
    """`limit` characters of the value with this digest (hexadecimal), from `offset` on; None when there is no such value."""
    return await session.one(SQL.page, Part, digest=digest, skipped=offset, limit=limit) if DIGEST.fullmatch(digest) else None


async def kept(session: Session, value: Any) -> str | None:
    """Stores a value that is too large for a row, and answers its digest; None for one that fits."""
    body = text(value)
    if len(body) <= INLINE:
        return None
    digest = hashlib.sha256(body.encode()).hexdigest()
    await session.execute(SQL.store, digest=digest, body=body, size=len(body))
    return digest


async def purge(session: Session, *, unused: timedelta = UNUSED) -> int:
    """Deletes values that nothing has referred to for a while; the number of them. For housekeeping, after runs have been deleted."""
    return await session.execute(SQL.purge, unused=unused)
