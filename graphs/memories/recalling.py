"""Recall: what answers a question best, of all that may be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from graphs.memories.reach import Access, check_lengths, noted, readable, spelled
from graphs.nodetype import Failure
from memory import kinds as kinds_of_memory
from memory import recall as hybrid
from memory.embedding import Embedder, EmbeddingFailed
from memory.recall import Recalled
from store.memories import Scope
from store.recall import Filters

WORDS_ONLY = "words only: no embedder is configured (WEFT_EMBEDDER), so other words for the same thing are not found"
NO_SPACE = "words only: the memories have no vectors of the configured embedder yet (weft memory reembed makes them)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A question to all that is remembered, with what the answers must be."""

    query: str
    scope: str | None = None
    kinds: Sequence[str] | None = None
    collection: str | None = None
    speaker: str | None = None
    source: str | None = None
    labels: Sequence[str] = ()
    least_trust: int = 1
    as_of: datetime | None = None
    known_at: datetime | None = None
    k: int = 10
    token_budget: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`how`: by what the hits were found, in words."""

    recalled: Recalled
    scopes: Mapping[int, str]
    how: str


async def recall(access: Access, wanted: Wanted) -> Found:
    """What answers best, of all that may be read. Raises Invalid, NotFound for a kind there is not."""
    check_lengths(wanted.scope, wanted.source, wanted.collection, wanted.speaker, *wanted.labels, *(wanted.kinds or ()))
    filters = Filters(
        kinds=rows(wanted.kinds),
        collection=wanted.collection,
        speaker=wanted.speaker,
        source=wanted.source,
        labels=wanted.labels or None,
        least_trust=max(1, wanted.least_trust),
        as_of=wanted.as_of,
        known_at=wanted.known_at,
    )
    within = await readable(access, wanted.scope)
    found, how = await _recall(access, within, wanted, filters)
    if access.run_id:
        there = await noted(access, [hit.memory.id for hit in found.hits], recalled=True)
        found = replace(found, hits=[hit for hit in found.hits if hit.memory.id in there])
    return Found(recalled=found, scopes={scope.id: spelled(scope) for scope in within}, how=how)


async def _recall(access: Access, within: Sequence[Scope], wanted: Wanted, filters: Filters) -> tuple[Recalled, str]:
    """What is found, and how; by words alone when the embedder does not answer."""

    async def search(embedder: Embedder | None) -> Recalled:
        return await hybrid.recall(
            access.tenant, access.principal, within, wanted.query, filters=filters, k=wanted.k, token_budget=wanted.token_budget,
            embedder=embedder, after=wanted.cursor,
        )  # fmt: skip

    try:
        found = await search(access.embedder)
    except EmbeddingFailed as failed:
        why = "may not be asked" if isinstance(failed.__cause__, Failure) else "did not answer"
        return await search(None), f"words only: the embedder {why} ({str(failed)[:300]})"
    return found, found.by if found.by != "words" else NO_SPACE if access.embedder else WORDS_ONLY


def rows(kinds: Sequence[str] | None) -> list[str] | None:
    return None if not kinds else kinds_of_memory.rows(*kinds)
