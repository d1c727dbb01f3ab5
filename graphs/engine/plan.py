"""A definition made ready to run: types, templates and edges resolved once, shared by every run of the same digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from graphs.catalogue import node_types
from graphs.definition import Body, Definition, Node, Retry, seconds
from graphs.expressions import Template, raw_fields
from graphs.nodes import join
from graphs.nodetype import NodeType


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePlan:
    index: int  # in the body's list of edges; recorded when taken
    source: str
    target: str
    when: str | None
    branch: str | None


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

    @property
    def compound(self) -> bool:
        """Its `run` starts again from the first line after a crash, so its rendered config is recorded when it begins."""
        return bool(self.bodies) or self.kind.waits


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPlan:
    nodes: dict[str, NodePlan]  # in the author's order
    sinks: tuple[str, ...]  # nodes that nothing but error edges leaves

    def __iter__(self) -> Iterator[NodePlan]:
        return iter(self.nodes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    definition: Definition
    body: BodyPlan
    output: Template | None
    variables: Template
    timeout: float | None


def plan(definition: Definition) -> Plan:
    """Resolves a checked definition."""
    return Plan(
        definition=definition,
        body=plan_body(definition),
        output=None if definition.output is None else Template.compile(definition.output),
        variables=Template.compile(definition.vars),
        timeout=seconds(definition.settings.timeout) if definition.settings.timeout else None,
    )


def plan_body(body: Body) -> BodyPlan:
    edges = [
        EdgePlan(index=number, source=edge.source, target=edge.target, when=edge.when, branch=edge.branch)
        for number, edge in enumerate(body.edges)
    ]
    leaving: dict[str, list[EdgePlan]] = {node.id: [] for node in body.nodes}
    entering = dict.fromkeys(leaving, 0)
    for edge in edges:
        leaving[edge.source].append(edge)
        entering[edge.target] += 1
    nodes = {node.id: _plan_node(node, entering[node.id], leaving[node.id]) for node in body.nodes}
    sinks = tuple(id for id, out in leaving.items() if all(edge.branch == "error" for edge in out))
    return BodyPlan(nodes=nodes, sinks=sinks)


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
        waits=kind.waits or any(inner.waits for body in bodies.values() for inner in body),
        bodies=bodies,
    )


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
        for edge in body.nodes[id].outgoing:
            before[place[edge.target]] |= before[place[id]] | 1 << place[id]
    after = [0] * len(order)
    for id in reversed(order):
        for edge in body.nodes[id].outgoing:
            after[place[id]] |= after[place[edge.target]] | 1 << place[edge.target]
    everything = (1 << len(order)) - 1
    parts: list[list[str]] = []
    region_open = early = False
    for number, id in enumerate(order):
        node = body.nodes[id]
        early = early or (node.arrivals is not None and node.arrivals < node.incoming)  # from an early join on, nothing waits for all
        cut = not early and before[number] | after[number] | 1 << number == everything
        if cut or not region_open:
            parts.append([id])
        else:
            parts[-1].append(id)
        region_open = not cut
    return tuple(tuple(part) for part in (_fused(parts, body) if fused else parts))


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
        for edge in body.nodes[id].outgoing:
            missing[edge.target] -= 1
            if missing[edge.target] == 0:
                ready.append(edge.target)
    return order
