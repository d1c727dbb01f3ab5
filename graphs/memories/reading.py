"""Reading: one memory, a page of them, all that is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from graphs.memories.caring import HIDERS, may
from graphs.memories.reach import Access, is_id, readable
from graphs.memories.recalling import rows
from memory import export as exporting
from memory import kinds as kinds_of_memory
from store import memories
from store.errors import NotFound
from store.memories import Memory
from store.pages import Page

LISTED = 100  # memories of a resource or a page


async def get(access: Access, memory_id: str) -> Memory:
    """Raises NotFound, alike for what is not there and what is somebody else's."""
    found = await read(access, [memory_id])
    if not found:
        raise NotFound(f"there is no memory {memory_id!r} here; recall or list_memories shows those there are")
    return found[0]


async def read(access: Access, ids: Sequence[str]) -> list[Memory]:
    """Those of the ids that are there and may be read; what is in quarantine is not."""
    known = [memory_id for memory_id in ids if is_id(memory_id)]
    if not known:
        return []
    allowed = {scope.id for scope in await readable(access, None)}
    return [found for found in await memories.get(access.tenant, known) if found.scope_id in allowed and found.trust > 0]


async def page(
    access: Access, *, scope: str | None = None, kinds: Sequence[str] | None = None, collection: str | None = None,
    retracted: bool = False, hidden: bool = False, limit: int = 50, cursor: str | None = None,
) -> Page[Memory]:  # fmt: skip
    """Memories, the newest first; `hidden`: only those in quarantine, which are not among the others,
    and only where one may hide them. Raises Invalid, NotFound for a kind there is not."""
    chosen = rows(kinds)
    within = [found.id for found in await readable(access, scope) if not hidden or may(access, found, HIDERS)]
    return await memories.page(
        access.tenant, within, kinds=chosen, collection=collection, retracted=retracted, hidden=hidden, limit=limit, after=cursor
    )


def kinds() -> tuple[str, ...]:
    """The kinds of memory there are."""
    return kinds_of_memory.names()


async def export(access: Access, *, subject: str | None = None, scope: str | None = None) -> AsyncGenerator[dict[str, Any]]:
    """All that is known and may be read, or all of it about a person or thing, in the order in which it was made; also what holds no more.
    Between a first line that names the scopes and a last one that says how many there were."""
    async for record in exporting.export(access.tenant, await readable(access, scope), subject=subject):
        yield record
