"""Which embedding space an organization's memories are in, and the move to another: beside the old one, in batches, while recall goes on.

The move needs no note of where it was: each batch is kept as it is made and what has no vector is what is left, so one that was cut off, by
kill -9 too, goes on with the next memory when it is started again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from memory.embedding import Embedder
from memory.items import NewMemory, contextual, embed
from store import spaces
from store.postgres import Tenant
from store.spaces import Progress, Space, Unembedded

BATCH = 256  # memories per commit, unless the embedder takes fewer at once
STRETCH = 8  # batches
VERSION = 1  # of the text that is embedded (memory/items.py contextual); a new one is a new space


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """How far a move has come: `done` of `total`; `after`: where it goes on, which it also finds without; `more`: it is not over."""

    done: int
    total: int
    after: str | None
    more: bool


async def active(tenant: Tenant) -> Space | None:
    """The space that recall uses; None: recall goes by words alone."""
    return next((space for space in await spaces.of_organization(tenant) if space.state == "active" and space.collection is None), None)


async def register(tenant: Tenant, embedder: Embedder) -> Space:
    """The embedder's space, opened when there is none. It is active at once in an organization that has no active one and no memories."""
    number = await spaces.open_space(
        tenant, provider=embedder.provider, model=embedder.model, dimensions=embedder.dimensions, version=VERSION
    )
    if await active(tenant) is None and (await spaces.progress(tenant, number)).total == 0:
        await spaces.activate(tenant, number)
    return await spaces.get(tenant, number)


async def fill(tenant: Tenant, embedder: Embedder, space: Space) -> AsyncGenerator[Progress]:
    """Embeds what has no vector in the space, oldest first; says after each batch how far it is. Ends when nothing is left."""
    progress = await spaces.progress(tenant, space.id)
    yield progress
    after: str | None = None
    while batch := await spaces.missing(tenant, space.id, after=after, size=min(BATCH, embedder.max_batch)):
        vectors = await embed(embedder, [contextual(_as_kept(memory)) for memory in batch])
        done = progress.done + await spaces.put(tenant, space.id, [memory.id for memory in batch], vectors)
        progress = Progress(done=done, total=max(done, progress.total))
        after = batch[-1].id
        yield progress


async def move(tenant: Tenant, embedder: Embedder) -> AsyncGenerator[Progress]:
    """To the embedder's space: fills it, makes it active, and embeds what was remembered in between."""
    space = await register(tenant, embedder)
    async for progress in fill(tenant, embedder, space):
        yield progress
    await spaces.activate(tenant, space.id)
    async for progress in fill(tenant, embedder, space):
        yield progress


async def advance(tenant: Tenant, embedder: Embedder, *, after: str | None = None) -> Stretch:
    """A part of the move that `move` makes whole: some batches from `after` on. At the end of the memories the space becomes the active
    one, and what was remembered in between comes last."""
    space = await register(tenant, embedder)
    for _ in range(STRETCH):
        batch = await spaces.missing(tenant, space.id, after=after, size=min(BATCH, embedder.max_batch))
        if batch:
            vectors = await embed(embedder, [contextual(_as_kept(memory)) for memory in batch])
            await spaces.put(tenant, space.id, [memory.id for memory in batch], vectors)
            after = batch[-1].id
        elif after is None and space.state == "active":
            break
        elif space.state != "active" and after is None:
            await spaces.activate(tenant, space.id)
            space = await spaces.get(tenant, space.id)
        else:  # from the beginning: something may have been remembered out of order
            after = None
    else:
        progress = await spaces.progress(tenant, space.id)
        return Stretch(done=progress.done, total=max(progress.done, progress.total), after=after, more=True)
    progress = await spaces.progress(tenant, space.id)
    return Stretch(done=progress.done, total=max(progress.done, progress.total), after=None, more=False)


async def heal(tenant: Tenant, embedder: Embedder) -> int:
    """Makes vectors that are missing in the embedder's space while that is the active one, as where the embedder did not answer when
    something was remembered; how many, some batches at most."""
    space = await active(tenant)
    if space is None or (space.provider, space.model, space.dimensions) != (embedder.provider, embedder.model, embedder.dimensions):
        return 0
    made, after = 0, None
    for _ in range(STRETCH):
        batch = await spaces.missing(tenant, space.id, after=after, size=min(BATCH, embedder.max_batch))
        if not batch:
            break
        vectors = await embed(embedder, [contextual(_as_kept(memory)) for memory in batch])
        made += await spaces.put(tenant, space.id, [memory.id for memory in batch], vectors)
        after = batch[-1].id
    return made


def _as_kept(memory: Unembedded) -> NewMemory:
    return NewMemory(
        kind="turn", body=memory.body, title=memory.title, speaker=memory.speaker, occurred_at=memory.occurred_at, id=memory.id
    )
