"""Export: all that is known, of scopes or about one subject, as records with provenance, dates and history; one line of JSON each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from memory.forget import about
from store import exporting
from store.memories import Scope
from store.postgres import Tenant

VERSION = 1
PAGE = 200


async def export(tenant: Tenant, scopes: Sequence[Scope], *, subject: str | None = None) -> AsyncGenerator[dict[str, Any]]:
    """A header, then every memory of scopes the caller may read, and an end that says how many; `subject`: only what is about, by or with
    it, under all its names.

    What is None or empty is left out. Memories written meanwhile are among them or not.
    """
    scope_ids = [scope.id for scope in scopes]
    ids = None if subject is None else await about(tenant, scope_ids, subject)
    yield {
        "weft": "memories",
        "version": VERSION,
        "scopes": [{"id": scope.id, "kind": scope.kind, "name": scope.name, "private": scope.user_id is not None} for scope in scopes],
    }
    after: str | None = None
    count = 0
    while page := await exporting.records(tenant, scope_ids, ids, after=after, limit=PAGE):
        for row in page:
            yield {name: value for name, value in row.record.items() if value not in (None, [], {})}
        count += len(page)
        after = page[-1].id
    yield {"weft": "end", "memories": count}
