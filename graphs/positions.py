"""Positions, the paths under which the journal keeps the steps of a run, read against its definition; and where in that nodes stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from graphs.catalogue import node_types
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.plan import BodyPlan, Inner, NodePlan, Plan, plan_inner

PART = re.compile(r"([a-z][a-z0-9_]*)(?::(\d+))?(?:\[(\d+)\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A step as a position names it: its node, the body that holds the node, and the step of the group around it."""

    position: str
    node: NodePlan
    body: BodyPlan
    key: str  # pointer of the body inside its group's config; "" at the top level
    prefix: str  # what the positions beside it begin with, "each[3]/"
    index: int | None  # of the iteration it is in
    parent: Place | None

    def around(self) -> Iterator[Place]:
        """The steps of the groups around it, the next first."""
        place = self.parent
        while place is not None:
            yield place
            place = place.parent

    def shape(self) -> tuple[tuple[str, str, str], ...]:
        """What must be alike in two definitions for a step to be the same one: ids, types and bodies from the top down to it."""
        return tuple((place.key, place.node.id, place.node.kind.name) for place in (self, *self.around()))


def locate(plan: Plan, position: str, type: str | None = None) -> Place | None:
    """The step a position names, or None where this definition has none there. Compensations (`ship~undo`) are no steps of it. A step that
    another one ran (`agent/turn_1`) is in no definition: of what type it is, its row says."""
    body, key, prefix, index = plan.body, "", "", None
    place: Place | None = None
    parts = position.split("/")
    for number, part in enumerate(parts):
        found = PART.fullmatch(part)
        node = body.nodes.get(found[1]) if found else None
        if found is None or node is None:
            return None
        own = prefix + part.partition("[")[0]
        place = Place(position=own, node=node, body=body, key=key, prefix=prefix, index=index, parent=place)
        if number + 1 == len(parts):
            return None if found[3] else place
        entered = _inner(node, parts[number + 1], type if number + 2 == len(parts) else node.kind.name) or _body_with(
            node, parts[number + 1]
        )
        if entered is None:
            return None
        (key, body), prefix, index = entered, f"{prefix}{part}/", int(found[3]) if found[3] else None
    return None


def _inner(outer: NodePlan, key: str, type: str | None) -> tuple[str, BodyPlan] | None:
    """The body that a step of its own making runs in; one that holds steps in turn is of the same type."""
    if not outer.kind.inner or type not in node_types():
        return None
    return "", plan_inner(key, {"type": type, "config": {}}, Inner())


def _body_with(group: NodePlan, part: str) -> tuple[str, BodyPlan] | None:
    """The body of a group that holds the step the next part of a position names; ids are unique in a definition."""
    found = PART.match(part)
    return next(((key, body) for key, body in group.bodies.items() if found and found[1] in body.nodes), None)


def inside(position: str, group: str) -> bool:
    """Whether a position lies inside a group's step."""
    return position.startswith((f"{group}/", f"{group}["))


def positions_of(plan: Plan) -> list[str]:
    """Every step of a definition, iterations left open: for telling which there are."""

    def walk(body: BodyPlan, prefix: str) -> Iterator[str]:
        for node in body:
            yield prefix + node.id
            for inner in node.bodies.values():
                yield from walk(inner, f"{prefix}{node.id}/")

    return list(walk(plan.body, ""))


def pointer_of(definition: Json, id: str) -> str | None:
    """The JSON pointer of a node in a definition; ids are unique in it."""
    return next((pointer for pointer, found in nodes_of(definition) if found == id), None)


def nodes_of(part: Json, pointer: str = "") -> Iterator[tuple[str, str]]:
    """(pointer, id) of every node, groups before what is in them."""
    if is_object(part):
        if is_array(part.get("nodes")):
            for number, node in enumerate(part["nodes"]):
                if is_object(node) and isinstance(node.get("id"), str):
                    yield f"{pointer}/nodes/{number}", node["id"]
                    yield from nodes_of(node.get("config"), f"{pointer}/nodes/{number}/config")
        else:
            for name, inner in part.items():
                yield from nodes_of(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif is_array(part):
        for number, inner in enumerate(part):
            yield from nodes_of(inner, f"{pointer}/{number}")
