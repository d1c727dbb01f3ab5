"""Consolidation on somebody's behalf: one pass over the memories that are theirs to write."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from graphs.memories.reach import Access
from graphs.memories.summing import Sums
from graphs.memories.writing import asked_for_memory, desk_of
from memory import consolidation, scopes, spaces
from memory.consolidation import Done
from memory.embedding import Embedder, EmbeddingFailed
from memory.summarizing import Length
from store import consolidations
from store.memories import Scope

log = logging.getLogger(__name__)

Work = Literal["forget", "embed", "merge", "link", "sum_up"]
Whose = Literal["own", "shared", "all"]
LENGTH = Length(words=150, points=5)


async def consolidate(access: Access, work: Sequence[Work], whose: Whose) -> Done:
    """A bounded part of what is to be done; `more` in the answer: there is more. `whose`: one's own, everybody's as far as the role may
    write them, or both. A model sums up only where the operator chose one for memories (WEFT_MEMORY_MODEL)."""
    within = await _theirs(access, whose)
    if not within:
        return Done()
    done = Done()
    if "forget" in work:
        done += await consolidation.sweep(access.tenant, within)
    if "embed" in work and access.embedder is not None:
        done += await _embed(access, access.embedder)
    if "merge" in work:
        done += await consolidation.merge(access.tenant, within)
    if "link" in work:
        done += await consolidation.link(access.tenant, within)
    if "sum_up" in work:
        by = Sums(asking=asked_for_memory(access), lenient=True)
        desk = await desk_of(access, within[0])
        done += await consolidation.sum_up_sessions(desk, {scope.id: scope for scope in within}, by.by, LENGTH)
    return done


async def _embed(access: Access, embedder: Embedder) -> Done:
    try:
        return Done(embedded=await spaces.heal(access.tenant, embedder))
    except EmbeddingFailed as failed:  # words find them meanwhile
        log.warning("memories are still without vectors: %s", failed)
        return Done()


async def _theirs(access: Access, whose: Whose) -> list[Scope]:
    """Never another user's: a private scope is consolidated on behalf of whose it is."""
    own = await consolidations.own_scopes(access.tenant, access.principal.user_id) if access.principal.user_id and whose != "shared" else []
    shared = await consolidations.own_scopes(access.tenant, None) if whose != "own" else []
    return [scope for scope in (*own, *shared) if scopes.writable(scope, access.principal)]
