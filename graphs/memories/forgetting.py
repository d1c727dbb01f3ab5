"""Forgetting: memories chosen by ids, words, source or subject, with all that was derived from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphs.memories.reach import Access, check_lengths, readable
from memory import forget as forgetting
from memory import scopes
from memory.forget import Asking, Choice
from memory.recall import MOST_QUESTION
from store.errors import Conflict, Invalid

MOST_IDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is to be forgotten, in exactly one way; without a `scope` in all that may be written to."""

    ids: Sequence[str] = ()
    query: str | None = None
    source: str | None = None
    subject: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """`receipt_id` None: they were only counted. `kinds`: how many rows of each; `runs`: whose records had the words, or may have them;
    `redacted`: rows of their tables from which words are gone."""

    count: int
    kinds: Mapping[str, int]
    runs: Sequence[str]
    receipt_id: str | None
    redacted: Mapping[str, int]


async def count_forgotten(access: Access, selection: Selection) -> Forgotten:
    """What forgetting them would remove, derived memories included. Raises Invalid."""
    return await _forget(access, selection, reason="", dry_run=True)


async def forget(
    access: Access, selection: Selection, *, expect: int | None = None, reason: str = "asked for", key: str | None = None
) -> Forgotten:
    """Removes them with all that was derived from them, also from the records of runs. With `expect` only if there are so many, or none any
    more; with the `key` of a step at most once. Raises Invalid, Conflict."""
    if expect is not None and (counted := await count_forgotten(access, selection)).count not in (expect, 0):
        raise Conflict(f"there are {counted.count} to forget now and not {expect}; nothing was removed", count=counted.count)
    return await _forget(access, selection, reason=reason, dry_run=False, key=key)


async def _forget(access: Access, selection: Selection, *, reason: str, dry_run: bool, key: str | None = None) -> Forgotten:
    check_lengths(selection.scope, selection.source, selection.subject)
    if len(selection.ids) > MOST_IDS or len(selection.query or "") > MOST_QUESTION:
        raise Invalid(f"at most {MOST_IDS:,} ids, or a query of {MOST_QUESTION:,} characters, are forgotten at a time")
    choice = Choice(ids=selection.ids, query=selection.query, source=selection.source, subject=selection.subject)
    within = [scope for scope in await readable(access, selection.scope) if scopes.writable(scope, access.principal)]
    asking = Asking(by=access.principal.user_id, everywhere=access.principal.role in ("owner", "builder"), run_id=access.run_id, key=key)
    found = await forgetting.forget(access.tenant, within, choice, reason=reason, asking=asking, dry_run=dry_run)
    receipt, count = found.receipt, len(found.ids)
    if receipt is None:
        return Forgotten(count=count, kinds=found.counts, runs=found.runs, receipt_id=None, redacted={})
    return Forgotten(count=receipt.size, kinds=found.counts, runs=found.runs, receipt_id=receipt.id, redacted=receipt.redacted)
