"""Forgetting: which memories are meant, their end, and the receipt that says so without saying what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.jsontext import Json
from store.postgres import Session
from store.queries import load

SQL = load(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    id: str
    body: str
    title: str | None
    speaker: str | None
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    kind: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """`forgotten`: {kind of row: how many}; `size`: how many in all; `redacted`: {table of runs: rows with words that are gone}."""

    id: str
    at: datetime
    by_user: str | None
    reason: str
    selector: str
    forgotten: Any
    size: int
    redacted: Any


ROWS = {
    "by_id": str,
    "by_source": str,
    "by_words": Worded,
    "about": str,
    "emptied": str,
    "count": Counted,
    "by_key": Receipt,
    "erase": Receipt,
    "receipts": Receipt,
    "was_forgotten": bool,
}


async def by_id(session: Session, scope_ids: Sequence[int], ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.by_id, str, scope_ids=list(scope_ids), ids=list(ids))


async def by_source(session: Session, scope_ids: Sequence[int], source: str) -> list[str]:
    return await session.all(SQL.by_source, str, scope_ids=list(scope_ids), source=source)


async def by_words(session: Session, scope_id: int, terms: str, needle: str, escaped: str) -> list[Worded]:
    """`terms`: a tsquery, or '' for none; `escaped`: the needle as it stands in JSON."""
    return await session.all(SQL.by_words, Worded, scope_id=scope_id, terms=terms, needle=needle, escaped=escaped)


async def about(
    session: Session, scope_ids: Sequence[int], *, entity_ids: Sequence[str], names: Sequence[str], speakers: Sequence[str]
) -> list[str]:
    """`names` as they are compared; `speakers` in lower case."""
    return await session.all(
        SQL.about, str, scope_ids=list(scope_ids), entity_ids=list(entity_ids), names=list(names), speakers=list(speakers)
    )


async def emptied(session: Session, ids: Sequence[str]) -> list[str]:
    return await session.all(SQL.emptied, str, ids=list(ids))


async def count(session: Session, ids: Sequence[str]) -> dict[str, int]:
    return {row.kind: row.number for row in await session.all(SQL.count, Counted, ids=list(ids))}


async def by_key(session: Session, key: str) -> Receipt | None:
    """The receipt of a step that has done it already."""
    return await session.one(SQL.by_key, Receipt, key=key)


async def erase(
    session: Session, ids: Sequence[str], *, reason: str, selector: str, by: str | None, redacted: Mapping[str, int] | None = None,
    key: str | None = None,
) -> Receipt:  # fmt: skip
    made = await session.one(
        SQL.erase, Receipt, ids=list(ids), reason=reason, selector=selector, by_user=by, redacted=Json(dict(redacted or {})), key=key
    )
    if made is None:
        raise AssertionError("an insert that answers no row")
    return made


async def receipts(session: Session, limit: int = 50) -> list[Receipt]:
    """The newest first."""
    return await session.all(SQL.receipts, Receipt, limit=limit)


async def was_forgotten(session: Session, digest: str) -> bool:
    return bool(await session.one(SQL.was_forgotten, bool, digest=digest))
