"""Entities: people, places, things under all their names, with attributes, and relations to others. Whoever is trusted less than an entity
may mention it, but neither describes nor names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from memory import items, names, words
from memory.items import NewMemory
from memory.kinds import Given, Outcome, Short, Text, data_of
from memory.writing import Desk, Sheet
from store import entities, graph, lineage, memories
from store.memories import Memory

ROWS = ("entity",)


class Relation(Given):
    """An edge to another entity, which is made when it is new."""

    type: Short
    to: Short
    weight: float = Field(default=1.0, ge=0, le=1_000_000)
    to_type: Short | None = None


class Item(Given):
    name: Short
    type: Short | None = None
    aliases: tuple[Short, ...] = Field(default=(), max_length=50)
    description: Text | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)
    relations: tuple[Relation, ...] = Field(default=(), max_length=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`name`: its own, as it is compared."""

    id: str
    name: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    from_id: str
    from_name: str
    to_id: str
    to_name: str
    relation: Relation


async def keep(desk: Desk, item: Item) -> Outcome:
    outcome = Outcome()
    async with desk.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        found = await ensure(desk, sheet, item, literal=True)
        (outcome.created if found.created else outcome.known).append(found.id)
        edges: list[Between] = []
        for relation in item.relations:
            other = await ensure(desk, sheet, Item(name=relation.to, type=relation.to_type), literal=True)
            outcome.add(Outcome(created=[other.id] if other.created else [], known=[] if other.created else [other.id]))
            edges.append(Between(from_id=found.id, from_name=item.name, to_id=other.id, to_name=relation.to, relation=relation))
        if edges:
            outcome.add(await relate(desk, sheet, edges))
    return outcome


async def ensure(desk: Desk, sheet: Sheet, item: Item, *, literal: bool, row: str = "entity") -> Found:
    """The entity that a name means, made when it is new. The caller has the lock of entities."""
    session = sheet.transaction
    known = await names.meant(session, desk.scope.id, item.name, item.type, literal=literal, choose=desk.choose)
    if known is None:
        made = memory(desk, item, row)
        kept = await sheet.keep_one(made)
        await entities.name(session, desk.scope.id, kept.id, named((item.name, *item.aliases)))
        return Found(id=kept.id, name=names.compared(item.name), created=kept.created)
    sheet.known.add(known.id)
    if desk.provenance.parents:
        await lineage.support(session, known.id, desk.provenance.parents)
    elif literal:
        await lineage.free(session, known.id)
    await _describe(desk, sheet, known.id, item)
    return Found(id=known.id, name=names.compared(known.title or item.name), created=False)


async def relate(desk: Desk, sheet: Sheet, edges: Sequence[Between]) -> Outcome:
    """Edges between entities; one of the same type that stands has its weight set, unless it is trusted more."""
    session = sheet.transaction
    kept = await sheet.keep([_edge(desk, edge) for edge in edges])
    trust = await desk.trust(session)
    known = await memories.least_trust(session, [row.id for row in kept])
    for row, edge in zip(kept, edges, strict=True):
        if trust >= known[row.id]:
            await graph.connect(session, row.id, edge.from_id, edge.to_id, edge.relation.type, edge.relation.weight)
    pairs = [(row.id, end) for row, edge in zip(kept, edges, strict=True) for end in (edge.from_id, edge.to_id)]
    await entities.mention(session, pairs)
    return Outcome(created=[row.id for row in kept if row.created], known=[row.id for row in kept if not row.created])


def _edge(desk: Desk, edge: Between) -> NewMemory:
    relation = edge.relation
    return desk.memory(
        "edge", f"{edge.from_name} {relation.type.replace('_', ' ')} {edge.to_name}", speaker=edge.from_name, title=relation.type,
        data={"from": edge.from_name, "type": relation.type, "to": edge.to_name, "weight": relation.weight},
        identity=f"{edge.from_id}\x1f{relation.type}\x1f{edge.to_id}", **relation.common(),
    )  # fmt: skip


def show(memory: Memory) -> dict[str, Any]:
    data = data_of(memory)
    return {"name": memory.title, **{key: data.get(key) for key in ("type", "aliases", "description", "attributes")}}


def memory(desk: Desk, item: Item, row: str) -> NewMemory:
    data = {"type": item.type, "aliases": list(item.aliases), "description": item.description, "attributes": item.attributes}
    return desk.memory(
        row, _body(item.name, data), title=item.name, data=data, identity=f"{names.compared(item.name)}\x1f{item.type}", **item.common()
    )


def _body(name: str, data: dict[str, Any]) -> str:
    kind = f" ({data['type']})" if data.get("type") else ""
    also = f", also called {', '.join(data['aliases'])}" if data.get("aliases") else ""
    told = [data["description"]] if data.get("description") else []
    told += [f"{key}: {value}" for key, value in data.get("attributes", {}).items()]
    return f"{name}{kind}{also}{': ' + '; '.join(told) if told else ''}"


def named(found: Sequence[str]) -> dict[str, list[str]]:
    return {name: names.trigrams(name) for name in dict.fromkeys(names.compared(one) for one in found) if name}


async def _describe(desk: Desk, sheet: Sheet, entity_id: str, item: Item) -> None:
    """What is newly said of a known entity joins what was; said by somebody trusted more, it takes its place."""
    if not (item.type or item.aliases or item.description or item.attributes):
        return
    session = sheet.transaction
    (known,) = await memories.get(session, [entity_id])
    trust = await desk.trust(session)
    if known.trust == 0 or trust < known.trust:  # what is in quarantine is shown again by an owner, and not by being spoken of
        return
    old: dict[str, Any] = data_of(known) if trust == known.trust else {}
    data: dict[str, Any] = {
        "type": item.type or data_of(known).get("type"),
        "aliases": list(dict.fromkeys((*old.get("aliases", ()), *item.aliases))),
        "description": item.description or old.get("description"),
        "attributes": {**old.get("attributes", {}), **item.attributes},
    }
    await entities.name(session, desk.scope.id, entity_id, named((item.name, *item.aliases)))
    if trust == known.trust and data == known.data:
        return
    made = replace(memory(desk, item, known.kind), body=_body(known.title or item.name, data), title=known.title, id=entity_id)
    found = items.found_by(made)
    await entities.describe(
        session, entity_id, data, made.body, terms=words.vector(desk.scope.id, found), length=len(found), tokens=items.tokens(made.body),
        trust=trust,
    )  # fmt: skip
    sheet.new[entity_id] = made
