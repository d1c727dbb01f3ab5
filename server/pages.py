"""Pages that fit: asks for fewer rows when those asked for would not fit into one answer, so that the cursor stays true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from server.excerpts import MAX_ANSWER, compact, preview
from store.pages import Page

ROOM = MAX_ANSWER - 900  # characters for rows; the rest is for what stands around them

Fetch = Callable[[int], Awaitable[tuple[list[Any], str | None]]]
"""How many rows -> the rows as JSON, and the cursor behind them if there are more."""


async def fitting(fetch: Fetch, limit: int) -> tuple[list[Any], str | None]:
    """At most `limit` rows whose JSON fits. A single row that does not is shown in part."""
    size = limit
    while True:
        rows, cursor = await fetch(size)
        length = len(compact(rows))
        if length <= ROOM:
            return rows, cursor
        if len(rows) <= 1:
            return [preview(row, ROOM, "read it by its own id") for row in rows], cursor
        size = max(1, min(len(rows) - 1, len(rows) * ROOM * 9 // (length * 10)))


async def listing(key: str, fetch: Callable[[int], Awaitable[Page[Any]]], view: Callable[[Any], Any], limit: int) -> dict[str, Any]:
    """One page of a list as a tool answers it: {key: rows, "total", "next_cursor"}."""
    total = 0

    async def rows(size: int) -> tuple[list[Any], str | None]:
        nonlocal total
        page = await fetch(size)
        total = page.total
        return [view(item) for item in page.items], page.next_cursor

    shown, cursor = await fitting(rows, limit)
    found = {key: shown, "total": total}
    return {**found, "next_cursor": cursor} if cursor else found
