"""Graphs: typed nodes and weighted, typed edges. A node is named like an entity, and a name that an entity has already means that one."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from memory.kinds import Given, Outcome, Short, Text, data_of
from memory.kinds import entity as entity_kind
from memory.writing import Desk
from store import entities
from store.memories import Memory

ROWS = ("node", "edge")


class Node(Given):
    name: Short
    type: Short | None = None
    description: Text | None = None
    properties: dict[str, Any] = Field(default_factory=dict)


class Edge(Given):
    """`from` and `to`: names of nodes, of this graph or known already; those that are new are made."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)

    source: Short = Field(alias="from")
    to: Short
    type: Short = "related_to"
    weight: float = Field(default=1.0, ge=0, le=1_000_000)


class Item(Given):
    nodes: tuple[Node, ...] = Field(default=(), max_length=1000)
    edges: tuple[Edge, ...] = Field(default=(), max_length=5000)


async def keep(desk: Desk, item: Item) -> Outcome:
    outcome = Outcome()
    async with desk.sheet() as sheet:
        await entities.lock(sheet.transaction, desk.scope.id)
        ids: dict[str, str] = {}
        given = {node.name: node for node in item.nodes}
        for name in dict.fromkeys((*given, *(end for edge in item.edges for end in (edge.source, edge.to)))):
            node = given.get(name, Node(name=name))
            made = entity_kind.Item(name=name, type=node.type, description=node.description, attributes=node.properties, **node.common())
            found = await entity_kind.ensure(desk, sheet, made, literal=True, row="node")
            ids[name] = found.id
            outcome.add(Outcome(created=[found.id]) if found.created else Outcome(known=[found.id]))
        edges = [
            entity_kind.Between(
                from_id=ids[edge.source],
                from_name=edge.source,
                to_id=ids[edge.to],
                to_name=edge.to,
                relation=entity_kind.Relation(type=edge.type, to=edge.to, weight=edge.weight, **edge.common()),
            )
            for edge in item.edges
        ]
        if edges:
            outcome.add(await entity_kind.relate(desk, sheet, edges))
    return outcome


def show(memory: Memory) -> dict[str, Any]:
    if memory.kind == "edge":
        return dict(memory.data or {})
    data = data_of(memory)
    return {"name": memory.title, "type": data.get("type"), "description": data.get("description"), "properties": data.get("attributes")}
