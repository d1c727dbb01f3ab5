"""A desk to write memories at: whose they are, where they are from, and what embeds them. What is written together is one transaction."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from memory import items
from memory.embedding import Embedder, EmbeddingFailed
from memory.items import NewMemory
from memory.names import Choose
from store import lineage, memories
from store.memories import Kept, Scope
from store.postgres import Tenant, Transaction

log = logging.getLogger(__name__)

TRUSTED = 2
"""From this trust on something is said by a person or by ourselves; what has less is never a rule and never ends what a person said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """`trust` None: as far as the origin is believed. `parents`: ids of the memories it was made of; it is trusted no more."""

    origin: str = "user"
    source: str | None = None
    author: str | None = None
    trust: int | None = None
    labels: tuple[str, ...] = ()
    run_id: str | None = None
    created_by: str | None = None
    parents: tuple[str, ...] = ()

    def derived(self, parents: Sequence[str]) -> Provenance:
        """Of what is concluded from memories of this one: no person said it."""
        return replace(self, origin="inference" if self.origin in ("user", "operator") else self.origin, parents=tuple(parents))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    tenant: Tenant
    scope: Scope
    provenance: Provenance = Provenance()
    embedder: Embedder | None = None
    choose: Choose | None = None

    def derived(self, parents: Sequence[str]) -> Desk:
        return replace(self, provenance=self.provenance.derived(parents))

    def unembedded(self) -> Desk:
        return replace(self, embedder=None)

    def memory(self, kind: str, body: str, **more: Any) -> NewMemory:
        """A memory of this desk's provenance; labels and parents of its own join the desk's."""
        own = self.provenance
        labels = tuple(dict.fromkeys((*own.labels, *more.pop("labels", ()))))
        parents = tuple(dict.fromkeys((*own.parents, *more.pop("parents", ()))))
        more = {"source": own.source, "author": own.author, **more}
        return NewMemory(
            kind=kind, body=body, origin=own.origin, trust=own.trust, labels=labels, run_id=own.run_id, created_by=own.created_by,
            parents=parents, **more,
        )  # fmt: skip

    @asynccontextmanager
    async def sheet(self) -> AsyncGenerator[Sheet]:
        """A transaction to write in. Vectors are made when it has been committed: no lock waits for a model, no memory is lost with it."""
        async with self.tenant.transaction() as transaction:
            sheet = Sheet(transaction=transaction, scope=self.scope)
            yield sheet
        if self.embedder is not None and sheet.new:
            await _embed(self.tenant, self.scope, sheet.new, self.embedder)

    async def trust(self, session: Tenant | Transaction) -> int:
        """That of what is written here: the origin's, or the least of the parents'."""
        own = items.TRUST[self.provenance.origin]
        own = own if self.provenance.trust is None else min(own, self.provenance.trust)
        parents = await memories.least_trust(session, self.provenance.parents)
        return min([own, *parents.values()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    transaction: Transaction
    scope: Scope
    new: list[tuple[str, NewMemory]] = field(default_factory=list[tuple[str, NewMemory]])

    async def keep(self, made: Sequence[NewMemory]) -> list[Kept]:
        kept = await items.keep(self.transaction, self.scope, made)
        derived = [row.id for row, item in zip(kept, made, strict=True) if item.parents]
        if derived:
            await lineage.inherit(self.transaction, derived)
        self.new.extend((row.id, item) for row, item in zip(kept, made, strict=True) if row.created)
        return kept

    async def keep_one(self, made: NewMemory) -> Kept:
        return (await self.keep([made]))[0]


async def _embed(tenant: Tenant, scope: Scope, new: Sequence[tuple[str, NewMemory]], embedder: Embedder) -> None:
    space = await memories.active_space(tenant, provider=embedder.provider, model=embedder.model, dimensions=embedder.dimensions)
    if space is not None:
        try:
            vectors = await items.embed(embedder, [items.contextual(item) for _, item in new])
        except EmbeddingFailed as failed:  # what is written is written; the next move or fill of the space embeds it
            log.warning("%s memories have no vector yet: %s", len(new), failed)
            return
        await memories.put_vectors(tenant, space.id, scope.id, [memory_id for memory_id, _ in new], vectors)
