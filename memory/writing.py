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
from store import memories
from store.memories import Kept, Scope, Space
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

    def believed(self, most: int) -> Desk:
        """The same, believed no more than so far."""
        return replace(self, provenance=replace(self.provenance, trust=min(self.own_trust, most)))

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
            known = sheet.known - sheet.new.keys()
            bare = await memories.promised_vectorless(transaction, sheet.space.id, list(known)) if sheet.space else None
        if self.embedder is not None and (sheet.new or known):
            try:
                await items.give_vectors(
                    self.tenant, sheet.new, known, self.embedder, space=sheet.space, bare=await bare() if bare else None
                )  # fmt: skip
            except EmbeddingFailed as failed:  # what is written is written
                log.warning("up to %s memories have no vector yet: %s", len(sheet.new) + len(known), failed)

    @property
    def space(self) -> dict[str, Any]:
        """What the space of its embedder is known by; without an embedder no space is."""
        made = self.embedder
        return {
            "provider": made.provider if made else "",
            "model": made.model if made else "",
            "dimensions": made.dimensions if made else 0,
        }

    @property
    def own_trust(self) -> int:
        """How far what its origin says is believed."""
        own, given = items.TRUST[self.provenance.origin], self.provenance.trust
        return own if given is None else min(own, given)

    async def trust(self, session: Tenant | Transaction) -> int:
        """That of what is written here: the origin's, or the least of the parents'."""
        parents = await memories.least_trust(session, self.provenance.parents)
        return min([self.own_trust, *parents.values()])


@dataclass(slots=True, kw_only=True)
class Sheet:
    """`new`: what gets a vector, `known`: what gets one if it has none; `space`: where, as far as is known."""

    transaction: Transaction
    scope: Scope
    new: dict[str, NewMemory] = field(default_factory=dict[str, NewMemory])
    known: set[str] = field(default_factory=set[str])
    space: Space | None = None

    async def keep(self, made: Sequence[NewMemory]) -> list[Kept]:
        kept = await items.write(self.transaction, self.scope, made)
        for row, item in zip(kept, made, strict=True):
            if row.created:
                self.new[row.id] = item
            else:
                self.known.add(row.id)
        return kept

    async def keep_one(self, made: NewMemory) -> Kept:
        return (await self.keep([made]))[0]
