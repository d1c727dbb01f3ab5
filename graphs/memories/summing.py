"""Summing up: texts, or a conversation that is remembered, by a model or by rules."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from graphs.memories.consulting import Asking
from graphs.memories.reach import Access, noted, parse_scope
from graphs.memories.writing import desk_of
from graphs.models import Models, Usage
from graphs.nodetype import Failure
from memory import consolidation, items, scopes, summarizing
from memory.embedding import EmbeddingFailed
from memory.summarizing import Length, Summed, Told
from store import summaries
from store.errors import NotFound
from store.memories import Memory, Scope
from store.summaries import Stretch

log = logging.getLogger(__name__)

RULES = "rules"
PASSES = 200  # over one conversation; each sums up a segment
SEGMENTS = 10_000  # turns that are read at most when nothing is kept


@dataclass(slots=True, kw_only=True)
class Sums:
    """By whom: `asking` a model, or (None) by rules. `lenient`: where the model gives none the rules do, and it is not asked again."""

    asking: Asking | None = None
    lenient: bool = False
    parts: int = 0
    failed: str | None = field(default=None)

    @property
    def model(self) -> str:
        return self.asking.model if self.asking else RULES

    @property
    def usage(self) -> Usage:
        return self.asking.usage if self.asking else Usage()

    async def by(self, texts: Sequence[Told], earlier: Summed | None, length: Length) -> Summed:
        """A summary (memory/summarizing.py Sum). Raises Failure."""
        self.parts += 1
        if self.asking is not None and self.failed is None:
            try:
                return await self.asking.sum(texts, earlier, length)
            except Failure as failed:
                if not self.lenient:
                    raise
                self.failed = failed.message
                log.warning("a summary is made by rules: %s", failed.message)
        return await summarizing.by_rules(texts, earlier, length)


def sums(models: Models, model: str | None, *, timeout: float | None = None) -> Sums:
    """By the model that is named ("rules" for none), else the default one where it is a model. Raises Failure."""
    chosen = models.real() if model is None else None if model == RULES else model
    return Sums(asking=Asking(models=models, model=chosen, timeout=timeout) if chosen else None)


async def sum_up_texts(texts: Sequence[str], by: Sums, length: Length, earlier: str | None = None) -> Summed:
    """Raises Failure when a model was to do it and does not."""
    told = [Told(text=text) for text in texts]
    found, _ = await summarizing.sum_up(told, length, by.by, Summed(text=earlier) if earlier else None)
    return found


async def sum_up_conversation(
    access: Access, scope: str, session: str, by: Sums, length: Length, *, keep: bool
) -> tuple[Summed, list[Memory]]:
    """What a conversation comes to. `keep`: as memories, going on from those that are kept; they are in the answer. Raises NotFound."""
    kind, name, private = parse_scope(scope)
    if keep:
        where = await scopes.make(access.tenant, access.principal, kind, name, private=private)
        desk = await desk_of(access, where)
        for _ in range(PASSES):
            done = await consolidation.sum_up_sessions(desk, {where.id: where}, by.by, length, series=session)
            if not done.more:
                break
    else:
        where = await scopes.find(access.tenant, access.principal, kind, name, private=private)
    standing, turns = await _known(access, where, session)
    there = await noted(access, [one.id for one in (*standing, *turns)])
    if keep and access.embedder is not None:  # a summary that was kept when the process died has no vector yet
        with suppress(EmbeddingFailed):
            await items.give_vectors(access.tenant, {}, {one.id for one in standing}, access.embedder)
    standing, turns = [one for one in standing if one.id in there], [one for one in turns if one.id in there]
    if not (standing or turns):
        raise NotFound(f"Nothing is remembered of a conversation {session!r} in {scope}.")
    if keep and standing and not turns:
        read = [consolidation.read(one) for one in standing]
        points = [point for one in read for point in one.key_points][: length.points]
        return Summed(text="\n\n".join(one.text for one in read), key_points=tuple(points)), standing
    told = [*(Told(text=consolidation.read(one).text) for one in standing), *(_told(turn) for turn in turns)]
    found, _ = await summarizing.sum_up(told, length, by.by)
    return found, standing


async def _known(access: Access, scope: Scope, session: str) -> tuple[list[Memory], list[Memory]]:
    """The summaries that stand, the highest that there are, and the turns after them: what is trusted first, then what is from outside."""
    standing: list[Memory] = []
    turns: list[Memory] = []
    for trusted in (True, False):
        stretch = Stretch(scope_id=scope.id, series=session, trusted=trusted, after=0)
        first = await summaries.standing(access.tenant, stretch, 1)
        second = await summaries.standing(access.tenant, stretch, 2)
        covered = max((one.seq or 0 for one in second), default=0)
        standing += [*second[-1:], *(one for one in first if (one.seq or 0) > covered)]
        after = max((one.seq or 0 for one in first), default=0)
        turns += await summaries.turns(access.tenant, Stretch(scope_id=scope.id, series=session, trusted=trusted, after=after), SEGMENTS)
    return standing, turns


def _told(turn: Memory) -> Told:
    return Told(text=turn.body, speaker=turn.speaker or turn.role)
