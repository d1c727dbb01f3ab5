"""Vectors that a vendor makes are paid for like answers: set aside before, recorded after, and refused by a budget that is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphs.models._known import known
from graphs.models._messages import Endpoint, Usage
from graphs.models._routes import Route
from graphs.models._spending import BYTES, Till, patiently
from graphs.nodetype import Failure
from memory.embedding import Counting, EmbeddingFailed
from store import models
from store.postgres import Tenant

if TYPE_CHECKING:
    from graphs.models import Vendor

PATIENCE = 5.0  # seconds to wait for calls under way that hold the rest of a budget: words find memories meanwhile
SECONDS = 600.0  # after which a call counts as lost: five attempts and their pauses
AROUND = 4  # tokens around each text


class Paid:
    """An embedder on somebody's behalf. What it may not ask for fails as EmbeddingFailed, whose cause is the Failure."""

    def __init__(self, made: Counting, full: str, vendor: Vendor, tenant: Tenant, till: Till, *, elsewhere: bool) -> None:
        self._made, self._full, self._vendor, self._tenant, self._till, self._elsewhere = made, full, vendor, tenant, till, elsewhere
        self.provider, self.model, self.dimensions, self.max_batch = made.provider, made.model, made.dimensions, made.max_batch

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if not texts:
            return []
        try:
            bill = await self._till.reserve(await self._route(), _estimate(texts), 0, SECONDS, PATIENCE)
        except Failure as failure:
            raise EmbeddingFailed(failure.message, transient=failure.retryable) from failure
        try:
            vectors, tokens = await self._made.count(texts, query=query)
        except EmbeddingFailed as failed:
            await bill.failed("model_timeout" if failed.counted else "model_unavailable")
            raise
        except asyncio.CancelledError:
            await bill.failed("cancelled")
            raise
        await bill.paid(Usage(input_tokens=tokens))
        return vectors

    async def _route(self) -> Route:
        listed = (await patiently(lambda: models.known(self._tenant))).models.get(self._full)
        if listed is not None and not listed.enabled:
            raise Failure(
                "model_not_allowed", f"{self._full} is switched off here; an owner can list it: weft models set {self._full} --enabled"
            )
        return Route(
            full=self._full,
            vendor=self._vendor,
            name=self._full.partition(":")[0],
            model=self.model,
            known=known(self._full, listed, elsewhere=self._elsewhere),
            endpoint=Endpoint(),
            script=None,
            embeds=True,
        )


def _estimate(texts: Sequence[str]) -> int:
    """Tokens, rather too many than too few."""
    return sum(-(-len(text.encode()) // BYTES) + AROUND for text in texts)
