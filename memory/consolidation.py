"""Consolidation: conversations are summed up, entities that are surely the same become one, what says the same as something before it is
linked to it, and what is no longer kept is forgotten. Each pass does a bounded part of what is left, and what is left is read from the
memories themselves: one that was cut off is just gone on with, and two at once do no harm.

What is trusted and what comes from outside is summed up apart, so that nothing from outside gets into a summary of what people said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memory import forget, likeness, names, spaces
from memory.kinds import Outcome, data_of, summary
from memory.summarizing import Length, Sum, Summed, Told, sum_up
from memory.writing import Desk
from store import consolidations, entities, looks, memories, summaries
from store.memories import Memory, Scope
from store.postgres import Tenant
from store.summaries import Stretch

LEAST_TURNS = 4  # that are worth a summary
SEGMENT = 100  # turns that one summary of level 1 covers; the next begins where it ends
SESSIONS = 8  # that a pass sums up
COMPARED = 500  # memories that a pass compares with those before them,
WINDOW = 1_000  # at most so many
MOST_PAIRS = 20_000  # that lie close; the closest are looked at
MOST_NAMES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a pass did. `more`: there is more to do."""

    forgotten: int = 0
    merged: int = 0
    linked: int = 0
    summed_up: int = 0
    embedded: int = 0
    more: bool = False

    def __add__(self, other: Done) -> Done:
        return Done(
            forgotten=self.forgotten + other.forgotten, merged=self.merged + other.merged, linked=self.linked + other.linked,
            summed_up=self.summed_up + other.summed_up, embedded=self.embedded + other.embedded, more=self.more or other.more,
        )  # fmt: skip


async def sweep(tenant: Tenant, scopes: Sequence[Scope]) -> Done:
    """Forgets what the policies of the scopes no longer keep."""
    gone = 0
    for scope in await consolidations.aging(tenant, [scope.id for scope in scopes]):
        gone += sum(receipt.size for receipt in await forget.sweep(tenant, scope))
    return Done(forgotten=gone)


async def merge(tenant: Tenant, scopes: Sequence[Scope]) -> Done:
    """Two entities are surely the same when one bears a name that is the other's alias, and nobody else has it; no other type, and no less
    trusted. Once only: who parts them is not overruled."""
    shared = await consolidations.shared_names(tenant, [scope.id for scope in scopes], MOST_NAMES)
    known = {row.id: row for row in await memories.get(tenant, sorted({one for row in shared for one in row.ids}))}
    before = await looks.finished(tenant, "merge", [*known])
    merged = 0
    for row in shared:
        pair = [known[one] for one in row.ids if one in known and one not in before]
        if len(pair) == 2 and (same := _same(row.name, pair)) is not None:
            alias, of = same
            await entities.merge(tenant, row.scope_id, alias.id, of.id, method="similar")
            await looks.finish(tenant, "merge", [alias.id])
            before.add(alias.id)
            merged += 1
    return Done(merged=merged)


def _same(name: str, pair: Sequence[Memory]) -> tuple[Memory, Memory] | None:
    """The one that is called so, and the one that is also called so."""
    called = [one for one in pair if names.compared(one.title or "") == name]
    others = [one for one in pair if one not in called]
    if len(called) != 1 or len(others) != 1:
        return None
    types = {data_of(one).get("type") for one in pair} - {None}
    trusted = {one.trust >= 2 for one in pair}
    return (called[0], others[0]) if len(types) < 2 and len(trusted) == 1 else None


async def link(tenant: Tenant, scopes: Sequence[Scope]) -> Done:
    """Notes in `data.duplicate_of` of what says the same as something before it, by the same speaker, which memory that is."""
    ids = await consolidations.uncompared(tenant, [scope.id for scope in scopes], COMPARED)
    if not ids:
        return Done()
    around = await consolidations.around(tenant, ids, WINDOW)
    found = await asyncio.to_thread(likeness.by_words, around, frozenset(ids))
    left = [one for one in ids if one not in found]
    active = await spaces.active(tenant)
    if active is not None and left:
        close = await consolidations.close(tenant, active.id, left, [row.id for row in around], least=likeness.CLOSE, limit=MOST_PAIRS)
        cosines = {(pair.id, pair.other_id): pair.cosine for pair in close}
        found |= await asyncio.to_thread(likeness.by_vectors, around, cosines)
    known = {row.id: row.duplicate_of for row in around}
    for memory_id in sorted(found):
        original, seen = found[memory_id], {memory_id}
        while (before := found.get(original) or known.get(original)) is not None and before not in seen:
            seen.add(original)
            original = before
        await consolidations.link(tenant, memory_id, original)
    await looks.finish(tenant, "compare", ids)
    return Done(linked=len(found), more=len(ids) == COMPARED)


async def sum_up_sessions(desk: Desk, scopes: Mapping[int, Scope], by: Sum, length: Length, *, series: str | None = None) -> Done:
    """Sums up what was said since the last time, in some of the conversations; and where a conversation has several summaries, those.

    `series`: of this conversation alone, however little is new in it.
    """
    least = LEAST_TURNS if series is None else 1
    fresh = await summaries.fresh(desk.tenant, [*scopes], least=least, limit=SESSIONS, series=series)
    made = 0
    for stretch in fresh:
        made += len((await _turns(replace(desk, scope=scopes[stretch.scope_id]), stretch, by, length)).created)
    stacked: list[Stretch] = []
    if not fresh or series is not None:
        stacked = [one for one in await summaries.stacked(desk.tenant, [*scopes], SESSIONS) if series in (None, one.series)]
    for stretch in stacked:
        made += len((await _summaries(replace(desk, scope=scopes[stretch.scope_id]), stretch, by, length)).created)
    return Done(summed_up=made, more=made > 0)


async def _turns(desk: Desk, stretch: Stretch, by: Sum, length: Length) -> Outcome:
    """The summary of a segment, gone on with while the segment is not full."""
    standing = await summaries.standing(desk.tenant, stretch, 1)
    rests = await summaries.parents(desk.tenant, standing[-1].id) if standing else []
    earlier = standing[-1] if standing and len(rests) < SEGMENT else None
    rests = rests if earlier else []
    turns = await summaries.turns(desk.tenant, stretch, SEGMENT - len(rests))
    if not turns:
        return Outcome()
    told = [Told(text=turn.body, speaker=turn.speaker or turn.role) for turn in turns]
    summed, _ = await sum_up(told, length, by, read(earlier) if earlier else None)
    first = data_of(earlier).get("from_seq") if earlier else turns[0].seq
    of = [*rests, *(turn.id for turn in turns)]
    return await _keep(desk, _item(stretch, summed, 1, first or turns[0].seq or 1, turns[-1].seq or 1, of, turns[0].body))


async def _summaries(desk: Desk, stretch: Stretch, by: Sum, length: Length) -> Outcome:
    lower = await summaries.standing(desk.tenant, stretch, 1)
    if len(lower) < 2:
        return Outcome()
    summed, _ = await sum_up([Told(text=read(one).text) for one in lower], length, by)
    first, last = (int(data_of(one)[name]) for one, name in ((lower[0], "from_seq"), (lower[-1], "to_seq")))
    return await _keep(desk, _item(stretch, summed, 2, first, last, [one.id for one in lower], lower[0].body))


def read(memory: Memory) -> Summed:
    """A summary as it was made."""
    data = data_of(memory)
    return Summed(text=str(data.get("text") or memory.body), key_points=tuple(data.get("key_points") or ()))


async def _keep(desk: Desk, item: summary.Item) -> Outcome:
    return await summary.keep(desk.derived(item.of), item)


def _item(stretch: Stretch, summed: Summed, level: int, first: int, last: int, of: Sequence[str], said: str) -> summary.Item:
    """`said`: what stands for the summary of what has no words in it."""
    return summary.Item(
        text=summed.text.strip() or said[:200], session=stretch.series, level=level,
        key_points=tuple(one[:500] for one in summed.key_points), from_seq=min(first, last), to_seq=last, of=tuple(of[:10_000]),
    )  # fmt: skip
