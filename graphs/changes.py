"""What differs between two definitions, node by node: where runs of them may part for a reason of its own, and in words for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.cassette import Cassette, ordered
from graphs.engine.plan import BodyPlan, NodePlan
from store import jsontext

APPEARANCE = frozenset({"name", "description", "notes", "position"})  # changes nothing of what happens
VARS = re.compile(r"\bvars\b")


def changed(then: Cassette, now: Cassette) -> frozenset[str]:
    """Ids of the nodes that are not the same in both: by themselves, by where they stand, by their edges, or because they are mocked now.
    What is inside a group does not change the group. Where variables begin otherwise, every node that speaks of variables is changed."""
    before, after = dict(_nodes(then.plan.body)), dict(_nodes(now.plan.body))
    found = {id for id in before.keys() | after.keys() if before.get(id) != after.get(id)}
    if then.plan.definition.vars != now.plan.definition.vars:
        found |= {id for id, text in (before | after).items() if VARS.search(text)}
    mocked: dict[str, Json] = now.recording.head.mocks or {}
    known: dict[str, Json] = then.recording.head.mocks or {}
    return frozenset(found | {id for id, value in mocked.items() if id not in known or known[id] != value})


def _nodes(body: BodyPlan, where: str = "") -> Iterator[tuple[str, str]]:
    """(id, all that the node itself says) of every node; ids are unique in a definition."""
    sources: dict[str, list[list[Json]]] = {node.id: [] for node in body}
    for node in body:
        for edge in node.outgoing:
            sources[edge.target].append([edge.source, edge.branch, edge.max_loops is None])
    for node in body:
        yield node.id, _text(node, where, sources[node.id])
        for key, inner in node.bodies.items():
            yield from _nodes(inner, f"{node.id}{key}")


def _text(node: NodePlan, where: str, sources: list[list[Json]]) -> str:
    own = node.node.model_dump(mode="json", by_alias=True, exclude=set(APPEARANCE | {"config"}))
    leaving = sorted(jsontext.text([edge.target, edge.branch, edge.when, edge.max_loops]) for edge in node.outgoing)
    entering = sorted(jsontext.text(source) for source in sources)
    return jsontext.text(ordered([where, own, _hollow(node.node.config, frozenset(node.bodies)), leaving, entering]))


def _hollow(value: Json, bodies: frozenset[str], pointer: str = "") -> Json:
    """A config with its bodies left out."""
    if pointer in bodies:
        return True
    if is_object(value):
        return {name: _hollow(inner, bodies, f"{pointer}/{name}") for name, inner in value.items()}
    return [_hollow(inner, bodies, f"{pointer}/{number}") for number, inner in enumerate(value)] if is_array(value) else value
