"""One parsed view of a document that survives broken input: whatever looks like a node, an edge or a body is there with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import BaseModel

from graphs.catalogue import node_types
from graphs.checks.models import holds_bodies, parts
from graphs.definition import Definition, Json, Schema
from graphs.documents import is_array, is_object
from graphs.loops import Region, regions
from graphs.nodetype import NodeType

MAX_GROUPS = 20  # in one another


@dataclass(slots=True, kw_only=True, eq=False)
class EdgeView:
    """An edge as written. `source` and `target` are None where they are no text."""

    pointer: str
    index: int
    raw: dict[str, Json]
    group: GroupView
    source: str | None
    target: str | None
    branch: str | None
    marked: bool = False  # it has `max_loops`, so it is meant to lead back


@dataclass(slots=True, kw_only=True, eq=False)
class NodeView:
    """A node as written, with what could be made of it."""

    pointer: str
    index: int
    raw: dict[str, Json]
    group: GroupView
    id: str | None
    type: str | None
    kind: NodeType | None
    config: BaseModel | None = None  # filled in when it is valid
    bodies: dict[str, GroupView] = field(default_factory=dict[str, "GroupView"])  # by pointer inside config
    _output: Schema | None = None

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return repr(self.id) if self.id else f"number {self.index + 1}"

    @property
    def output(self) -> Schema:
        """Schema of its output; {} where that cannot be told."""
        if self._output is None:
            self._output = self.kind.output(self.config) if self.kind and self.config is not None else {}
        return self._output

    @property
    def raw_config(self) -> dict[str, Json]:
        config = self.raw.get("config")
        return config if is_object(config) else {}

    @property
    def boundaries(self) -> dict[str, int]:
        """Name of a boundary -> its place in the list, the first where there are several."""
        found = self.raw.get("boundary")
        if not is_array(found):
            return {}
        named = [(one.get("name"), number) for number, one in enumerate(found) if is_object(one)]
        return {name: number for name, number in reversed(named) if isinstance(name, str)}

    @property
    def compensation(self) -> dict[str, Json] | None:
        """What undoes it, as written."""
        found = self.raw.get("compensate")
        return found if is_object(found) else None


@dataclass(kw_only=True, eq=False)
class GroupView:
    """A body: the top level, or the inside of a group node. Its ancestors are worked out when first asked for."""

    pointer: str
    raw: dict[str, Json]
    owner: NodeView | None = None
    key: str = ""  # pointer inside the owner's config
    depth: int = 0
    nodes: list[NodeView] = field(default_factory=list[NodeView])
    edges: list[EdgeView] = field(default_factory=list[EdgeView])

    @cached_property
    def by_id(self) -> dict[str, NodeView]:
        """The first node of each id, in the author's order."""
        return _first_of_each(self.nodes)

    @cached_property
    def links(self) -> list[EdgeView]:
        """Edges between two different nodes that exist here, without those that lead back."""
        known, returning = self.by_id, self.returning
        return [
            edge
            for edge in self.edges
            if edge.source in known and edge.target in known and edge.source != edge.target and edge not in returning
        ]

    @cached_property
    def loops(self) -> tuple[Region, ...]:
        """What edges that lead back repeat, inner loops first."""
        if not any(edge.marked for edge in self.edges):
            return ()
        return regions(list(self.by_id), [(edge.source or "", edge.target or "", edge.marked) for edge in self.edges])

    @cached_property
    def returning(self) -> dict[EdgeView, Region]:
        """Edges with `max_loops` that do lead back, and what they repeat."""
        return {self.edges[index]: region for region in self.loops for index in region.back}

    @cached_property
    def _ancestors(self) -> dict[str, int]:
        """Node id -> bit set of the nodes before it, by place. In and behind a cycle everything counts that can lead there; in and behind
        a loop all of the loop."""
        place = self._place
        before = dict.fromkeys(place, 0)
        entering = dict.fromkeys(place, 0)
        leaving: dict[str, list[str]] = {id: [] for id in place}
        for edge in self.links:
            source, target = str(edge.source), str(edge.target)
            leaving[source].append(target)
            entering[target] += 1
        ready = [id for id, count in entering.items() if count == 0]
        while ready:
            id = ready.pop()
            for target in leaving[id]:
                before[target] |= before[id] | place[id]
                entering[target] -= 1
                if entering[target] == 0:
                    ready.append(target)
        everything = (1 << len(place)) - 1
        for id in (id for id, count in entering.items() if count > 0):
            before[id] = everything
        for region in self.loops:
            header, members = place[region.header], sum(place[id] for id in region.members)
            for id in before:
                if before[id] & header or id in region.members:
                    before[id] |= members
        return before

    @cached_property
    def _place(self) -> dict[str, int]:
        return {id: 1 << number for number, id in enumerate(self.by_id)}

    @cached_property
    def branches_used(self) -> dict[str, set[str]]:
        """Node id -> branches that edges leaving it carry."""
        found: dict[str, set[str]] = {}
        for edge in self.links:
            if edge.branch:
                found.setdefault(str(edge.source), set()).add(edge.branch)
        return found

    def leads(self, source: str | None, target: str | None) -> bool:
        """Whether edges lead from one node of this body to another, by whatever way, also by going back."""
        return bool(self._ancestors.get(target or "", 0) & self._place.get(source or "", 0))

    def locals(self) -> dict[str, Schema] | None:
        """Names that the groups around this body give to it; None when a group's config is broken and nobody can tell."""
        found: dict[str, Schema] = {}
        group: GroupView | None = self
        while group and group.owner:
            owner = group.owner
            if owner.kind is None or owner.config is None:
                return None
            found = {**owner.kind.scope(owner.config, group.key), **found}
            group = owner.group
        return found

    def around(self) -> Iterator[NodeView]:
        """The group nodes this body is inside of, innermost first."""
        group: GroupView | None = self
        while group and group.owner:
            yield group.owner
            group = group.owner.group


@dataclass(kw_only=True, eq=False)
class View:
    """The whole document, flat."""

    document: dict[str, Json]
    root: GroupView
    groups: list[GroupView]
    definition: Definition | None = None  # filled in when its structure is right

    @cached_property
    def nodes(self) -> list[NodeView]:
        return [node for group in self.groups for node in group.nodes]

    @cached_property
    def by_id(self) -> dict[str, NodeView]:
        """The first node of each id, anywhere."""
        return _first_of_each(self.nodes)

    @property
    def input_schema(self) -> Json:
        return self.document.get("input", {"type": "object"})

    @property
    def variables(self) -> dict[str, Json]:
        found = self.document.get("vars")
        return found if is_object(found) else {}


def view(document: dict[str, Json]) -> View:
    """Finds every body, node and edge. Groups nested deeper than allowed are left out; counting them is for the caller."""
    root = GroupView(pointer="", raw=document)
    groups = [root]
    for group in groups:  # grows while it is walked
        _fill(group)
        for node in group.nodes:
            groups.extend(node.bodies.values())
    return View(document=document, root=root, groups=groups)


def _fill(group: GroupView) -> None:
    nodes, edges, types = group.raw.get("nodes"), group.raw.get("edges"), node_types()
    for number, raw in enumerate(nodes if is_array(nodes) else []):
        if not is_object(raw):
            continue
        type = _text(raw.get("type"))
        node = NodeView(
            pointer=f"{group.pointer}/nodes/{number}",
            index=number,
            raw=raw,
            group=group,
            id=_text(raw.get("id")),
            type=type,
            kind=types.get(type or ""),
        )
        kind = node.kind
        group.nodes.append(node)
        if kind and group.depth < MAX_GROUPS:
            _add_bodies(node, kind)
    for number, raw in enumerate(edges if is_array(edges) else []):
        if is_object(raw):
            source = _text(raw.get("from", raw.get("source")))
            target = _text(raw.get("to", raw.get("target")))
            branch = _text(raw.get("branch"))
            pointer = f"{group.pointer}/edges/{number}"
            edge = EdgeView(pointer=pointer, index=number, raw=raw, group=group, source=source, target=target, branch=branch)
            edge.marked = raw.get("max_loops") is not None
            group.edges.append(edge)


def _add_bodies(node: NodeView, kind: NodeType) -> None:
    if not holds_bodies(kind.config):
        return
    for part in parts(kind.config, node.raw_config):
        if part.kind == "body" and is_object(part.value):
            pointer = f"{node.pointer}/config{part.pointer}"
            depth = node.group.depth + 1
            node.bodies[part.pointer] = GroupView(pointer=pointer, raw=part.value, owner=node, key=part.pointer, depth=depth)


def _first_of_each(nodes: list[NodeView]) -> dict[str, NodeView]:
    found: dict[str, NodeView] = {}
    for node in nodes:
        if node.id:
            found.setdefault(node.id, node)
    return found


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
