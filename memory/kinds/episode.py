"""Episodes: who did what, to what, in which circumstances, and how it came out."""

from __future__ import annotations

from typing import Any

from memory.items import NewMemory
from memory.kinds import Given, Moment, Outcome, Short, Text
from memory.kinds import entity as entity_kind
from memory.writing import Desk
from store import entities
from store.memories import Memory

ROWS = ("episode",)


class Item(Given):
    actor: Short
    action: Short
    object: Short | None = None
    context: Text | None = None
    outcome: Text | None = None
    at: Moment | None = None
    involves: tuple[Short, ...] = ()


async def keep(desk: Desk, item: Item, *, literal: bool = True) -> Outcome:
    async with desk.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(memory(desk, item))
        people = dict.fromkeys((item.actor, *item.involves))
        found = [await entity_kind.ensure(desk, sheet, entity_kind.Item(name=name), literal=literal) for name in people]
        await entities.mention(sheet.transaction, [(row.id, one.id) for one in found])
    return Outcome(created=[row.id]) if row.created else Outcome(known=[row.id])


def memory(desk: Desk, item: Item) -> NewMemory:
    data = {"action": item.action, "object": item.object, "context": item.context, "outcome": item.outcome, "involves": list(item.involves)}
    what = " ".join(part for part in (item.actor, item.action, item.object) if part)
    body = what + (f" ({item.context})" if item.context else "") + (f". Outcome: {item.outcome}" if item.outcome else "")
    return desk.memory("episode", body, speaker=item.actor, title=item.action, occurred_at=item.at, data=data, **item.common())


def show(memory: Memory) -> dict[str, Any]:
    return {"actor": memory.speaker, **(memory.data or {}), "at": memory.occurred_at.isoformat() if memory.occurred_at else None}
