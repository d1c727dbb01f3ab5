"""A definition made ready to run: types, templates and edges resolved once, shared by every run of the same digest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from graphs.catalogue import node_types
from graphs.definition import Body, Definition, Node, Retry, seconds
from graphs.engine.configs import fitted
from graphs.expressions import Template, raw_fields
from graphs.loops import Region, regions
from graphs.nodes import join
from graphs.nodetype import NodeType

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ENV = re.compile(r"\benv\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePlan:
    index: int  # in the body's list of edges; recorded when taken
    source: str
    target: str
    when: str | None
    branch: str | None
    max_loops: int | None = None  # it leads back


STOPPING = frozenset({"in_doubt", "budget_exceeded", "wait_cancelled", "internal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """What is special about a step that another one runs by context.step."""

    recorded: Mapping[str, Any] | None = None  # kept in the journal instead of the config
    digest: str | None = None  # what the answer it waits for is bound to
    limits: tuple[Mapping[str, Any], ...] = ()  # on spending, that steps around it have set
    stopping: frozenset[str] = STOPPING  # codes of failures that `on_error: continue` does not pass over


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    id: str
    node: Node
    kind: NodeType
    template: Template  # the config without what must stay raw (bodies, expressions, code)
    raw: dict[str, Any]
    fixed: BaseModel | None  # the config itself where nothing in it is computed
    incoming: int
    outgoing: tuple[EdgePlan, ...]
    arrivals: int | None  # a join that starts at its n-th arrival; None: at the last
    retry: Retry | None
    timeout: float | None
    waits: bool  # it or something inside it may wait
    bodies: dict[str, BodyPlan]
    compensate: Template | None = None  # config of what undoes it
    milestone: Template | None = None
    correlations: dict[str, Template] = field(default_factory=dict[str, Template])  # of its event boundaries, by name
    undoes: tuple[str, int] | None = None  # it is the compensation of this attempt of a step
    inner: Inner | None = None  # another step runs it as one of its own

    @property
    def onward(self) -> Iterator[EdgePlan]:
        """Outgoing edges but for those that lead back."""
        return (edge for edge in self.outgoing if edge.max_loops is None)

    @property
    def leads_early(self) -> bool:
        """What follows may begin before everything before it is done: an early join, or a boundary that does not interrupt."""
        early_join = self.arrivals is not None and self.arrivals < self.incoming
        return early_join or any(not boundary.interrupting for boundary in self.node.boundary)

    @property
    def compound(self) -> bool:
        """Its `run` starts again from the first line after a crash, so its rendered config is recorded when it begins."""
        return bool(self.bodies) or self.kind.waits or bool(self.node.boundary)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPlan:
    """A loop of edges: its nodes run again, in a new pass, when an edge back to its header was taken."""

    header: str
    parent: str | None  # header of the loop next around it
    members: dict[str, int]  # node -> edges into it from inside, those that lead back not counted
    inner: tuple[str, ...]  # headers of the loops inside, at any depth
    parts: int  # what must be resolved for a pass to be over: nodes of its own and loops directly inside


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPlan:
    nodes: dict[str, NodePlan]  # in the author's order
    sinks: tuple[str, ...]  # nodes that no edge leaves but for errors, boundaries and another pass of a loop
    watched: bool = False  # a boundary of a step in it may lead on while the step is under way
    regions: dict[str, RegionPlan] = field(default_factory=dict[str, "RegionPlan"])  # loops of edges, by header; inner ones first
    region_of: dict[str, str] = field(default_factory=dict[str, str])  # node -> header of the innermost loop it is in
    leaves: dict[int, str] = field(default_factory=dict[int, str])  # edge -> header of the outermost loop that it leaves

    def __iter__(self) -> Iterator[NodePlan]:
        return iter(self.nodes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    definition: Definition
    body: BodyPlan
    output: Template | None
    variables: Template
    timeout: float | None
    variables_named: frozenset[str] = frozenset()  # of `env`: those that its text mentions


def plan(definition: Definition) -> Plan:
    """Resolves a checked definition."""
    return Plan(
        definition=definition,
        body=plan_body(definition),
        output=None if definition.output is None else Template.compile(definition.output),
        variables=Template.compile(definition.vars),
        timeout=seconds(definition.settings.timeout) if definition.settings.timeout else None,
        variables_named=_named(definition),
    )


def _named(definition: Definition) -> frozenset[str]:
    """Words of a definition that could name a variable, where it mentions `env` at all."""
    text = json.dumps(definition.model_dump(by_alias=True), default=str)  # which also writes half a surrogate pair
    return frozenset(WORD.findall(text)) if ENV.search(text) else frozenset()


def plan_body(body: Body) -> BodyPlan:
    edges = [
        EdgePlan(index=number, source=edge.source, target=edge.target, when=edge.when, branch=edge.branch, max_loops=edge.max_loops)
        for number, edge in enumerate(body.edges)
    ]
    leaving: dict[str, list[EdgePlan]] = {node.id: [] for node in body.nodes}
    entering = dict.fromkeys(leaving, 0)
    for edge in edges:
        leaving[edge.source].append(edge)
        entering[edge.target] += edge.max_loops is None
    nodes = {node.id: _plan_node(node, entering[node.id], leaving[node.id]) for node in body.nodes}
    sinks = tuple(node.id for node in nodes.values() if all(_aside(node, edge) for edge in node.outgoing))
    watched = any(not boundary.interrupting for node in body.nodes for boundary in node.boundary)
    return BodyPlan(nodes=nodes, sinks=sinks, watched=watched, **_loops(nodes, edges))


def _aside(node: NodePlan, edge: EdgePlan) -> bool:
    """Whether an edge is not part of the ordinary way through a body."""
    return edge.branch == "error" or edge.max_loops is not None or any(edge.branch == boundary.name for boundary in node.node.boundary)


def _loops(nodes: dict[str, NodePlan], edges: list[EdgePlan]) -> dict[str, Any]:
    found = regions(list(nodes), [(edge.source, edge.target, edge.max_loops is not None) for edge in edges])
    if not found:
        return {}
    region_of: dict[str, str] = {}
    for region in found:  # inner ones first
        for member in region.members:
            region_of.setdefault(member, region.header)
    leaves: dict[int, str] = {}
    for region in found:  # outer ones last: the outermost stays
        for edge in edges:
            if edge.source in region.members and edge.target not in region.members:
                leaves[edge.index] = region.header
    return {
        "regions": {region.header: _region(region, found, region_of, edges) for region in found},
        "region_of": region_of,
        "leaves": leaves,
    }


def _region(region: Region, found: tuple[Region, ...], region_of: dict[str, str], edges: list[EdgePlan]) -> RegionPlan:
    members = dict.fromkeys(region.members, 0)
    for edge in edges:
        if edge.max_loops is None and edge.source in members and edge.target in members:
            members[edge.target] += 1
    own = sum(region_of[member] == region.header for member in members)
    inner = tuple(other.header for other in found if other is not region and other.header in members)
    directly = sum(other.parent == region.header for other in found)
    return RegionPlan(header=region.header, parent=region.parent, members=members, inner=inner, parts=own + directly)


def _plan_node(node: Node, incoming: int, outgoing: list[EdgePlan]) -> NodePlan:
    kind = node_types()[node.type]
    parsed = kind.config.model_validate(node.config)
    raw_names = raw_fields(kind.config)
    raw = {alias: getattr(parsed, name) for name, alias in _aliases(kind.config).items() if name in raw_names and alias in node.config}
    template = Template.compile({name: value for name, value in node.config.items() if name not in raw})
    bodies = {key: plan_body(body) for key, body in kind.bodies(parsed).items()}
    return NodePlan(
        id=node.id,
        node=node,
        kind=kind,
        template=template,
        raw=raw,
        fixed=kind.config.model_validate({**node.config, **raw}, context={"rendered": True}) if template.constant else None,
        incoming=incoming,
        outgoing=tuple(outgoing),
        arrivals=join.arrivals(parsed) if isinstance(parsed, join.Config) else None,
        retry=node.retry or kind.retry,
        timeout=seconds(node.timeout) if node.timeout else None,
        waits=kind.waits or bool(node.boundary) or any(inner.waits for body in bodies.values() for inner in body),
        bodies=bodies,
        compensate=_undo_template(node) if node.compensate else None,
        milestone=Template.compile(node.milestone) if node.milestone else None,
        correlations={one.name: Template.compile(one.correlation) for one in node.boundary if one.correlation is not None},
    )


def _undo_template(node: Node) -> Template:
    """The config of what undoes a node, but for what must stay raw."""
    assert node.compensate is not None  # noqa: S101 the caller has looked
    model = node_types()[node.compensate.type].config
    raw = {alias for name, alias in _aliases(model).items() if name in raw_fields(model)}
    return Template.compile({name: value for name, value in node.compensate.config.items() if name not in raw})


def plan_undo(id: str, undo: dict[str, Any], attempt: tuple[str, int]) -> BodyPlan:
    """The one-step body that undoes an attempt of a step; `undo` is what was recorded with its receipt."""
    kind = node_types()[undo["type"]]
    node = Node(id="undo", type=kind.name, config=undo["config"])
    step = NodePlan(
        id=id,
        node=node,
        kind=kind,
        template=Template.compile({}),
        raw={},
        fixed=fitted(kind.config, undo["config"]),
        incoming=0,
        outgoing=(),
        arrivals=None,
        retry=Retry.model_validate(undo["retry"]) if undo.get("retry") else kind.retry,
        timeout=undo.get("timeout"),
        waits=False,
        bodies={},
        undoes=attempt,
    )
    return BodyPlan(nodes={id: step}, sinks=(id,))


def plan_inner(key: str, given: Mapping[str, Any], inner: Inner) -> BodyPlan:
    """The one-step body of a step that another one runs. Its config is taken as it is: braces in it may be anybody's words."""
    kind = node_types()[given["type"]]
    common = {name: value for name, value in given.items() if name not in ("type", "config")}
    node = Node(id="inner", type=kind.name, **common)
    step = NodePlan(
        id=key,
        node=node,
        kind=kind,
        template=Template(value=dict(given["config"]), codes=()),
        raw={},
        fixed=None,
        incoming=0,
        outgoing=(),
        arrivals=None,
        retry=node.retry or kind.retry,
        timeout=seconds(node.timeout) if node.timeout else None,
        waits=kind.waits,
        bodies={},
        inner=inner,
    )
    return BodyPlan(nodes={key: step}, sinks=(key,))


@lru_cache(maxsize=256)
def _aliases(model: type[BaseModel]) -> Mapping[str, str]:
    return {name: field.alias or name for name, field in model.model_fields.items()}


def segments(body: BodyPlan, *, fused: bool = True) -> tuple[tuple[str, ...], ...]:
    """Cuts the top level into what LangGraph walks one after another: at every step that all others come before or after.
    Between two cuts lies a region of branches; neighbours that wait for nothing are fused into one segment."""
    order = topological(body)
    place = {id: number for number, id in enumerate(order)}
    before = [0] * len(order)  # bit sets of ancestors, by place
    for id in order:
        for edge in body.nodes[id].onward:
            before[place[edge.target]] |= before[place[id]] | 1 << place[id]
    after = [0] * len(order)
    for id in reversed(order):
        for edge in body.nodes[id].onward:
            after[place[id]] |= after[place[edge.target]] | 1 << place[edge.target]
    everything = (1 << len(order)) - 1
    parts: list[list[str]] = []
    region_open = early = False
    for number, id in enumerate(order):
        node = body.nodes[id]
        early = early or node.leads_early  # from there on, nothing waits for all
        cut = not early and before[number] | after[number] | 1 << number == everything
        if cut or not region_open:
            parts.append([id])
        else:
            parts[-1].append(id)
        region_open = not cut
    parts = _whole(parts, body)
    return tuple(tuple(part) for part in (_fused(parts, body) if fused else parts))


def _whole(parts: list[list[str]], body: BodyPlan) -> list[list[str]]:
    """A loop of edges is never cut."""
    for region in body.regions.values():
        places = [number for number, part in enumerate(parts) if not region.members.keys().isdisjoint(part)]
        first, last = places[0], places[-1]
        parts = [*parts[:first], [id for part in parts[first : last + 1] for id in part], *parts[last + 1 :]]
    return parts


def _fused(parts: list[list[str]], body: BodyPlan) -> list[list[str]]:
    result: list[list[str]] = []
    straight = False
    for part in parts:
        waits = any(body.nodes[id].waits for id in part)
        if straight and not waits:
            result[-1].extend(part)
        else:
            result.append(list(part))
        straight = not waits
    return result


def topological(body: BodyPlan) -> list[str]:
    """Node ids so that every edge points forward; the author's order where it is free."""
    missing = {node.id: node.incoming for node in body}
    ready = [id for id, count in missing.items() if count == 0]
    order: list[str] = []
    while ready:
        id = ready.pop(0)
        order.append(id)
        for edge in body.nodes[id].onward:
            missing[edge.target] -= 1
            if missing[edge.target] == 0:
                ready.append(edge.target)
    return order
