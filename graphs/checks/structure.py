"""Fields and their kinds: each piece of the document against its own model, so that one broken piece hides no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from graphs.catalogue import node_types
from graphs.checks import repairs
from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, move, remove, replace
from graphs.checks.fitting import Piece, fit, given
from graphs.checks.models import aliases, field_names
from graphs.checks.view import GroupView, NodeView, View
from graphs.definition import Body, Compensate, Definition, Edge, Json, Node
from graphs.documents import is_array, is_object
from graphs.nodetype import NodeType

MAX_NODES = 2000
STUB = {"nodes": [{"id": "stub", "type": "stub"}]}


def check_structure(view: View) -> Iterator[Diagnostic]:
    """All pieces in the document's order. Configs that are valid are kept in the view, and the definition if all of it is."""
    wrapped = [(key, inner) for key, inner in view.document.items() if is_object(inner) and "nodes" in inner]
    if "nodes" not in view.document and len(wrapped) == 1:
        (key, inner) = wrapped[0]
        message = f"the workflow stands inside {key!r}; it must be the document itself"
        yield Diagnostic(code="unknown_field", pointer=joined("", key), message=message, patch=(replace("", inner),))
        return
    try:
        view.definition = Definition.model_validate(view.document)
    except ValidationError:
        root = {**view.document, **STUB, "edges": []}
        yield from fit(Piece(model=Definition, value=root, pointer="", name="the workflow"))
    if len(view.nodes) > MAX_NODES:
        message = f"the workflow has {len(view.nodes)} nodes, counting those in groups; {MAX_NODES} are allowed"
        yield Diagnostic(code="too_large", pointer="/nodes", message=message)
    for group in view.groups:
        if not (_fits(Body, group.raw) if group.owner else view.definition):
            yield from _check_group(group)
        edges = [(edge.raw, edge.pointer) for edge in group.edges]
        yield from _inner_names(Edge, edges, "the edge")
        for node in group.nodes:
            if node.kind:
                name = f"the config of node {node.label} ({node.type})"
                yield from _inner_names(node.kind.config, [(node.raw_config, f"{node.pointer}/config")], name)
            if node.kind and (is_object(node.raw.get("config")) or "config" not in node.raw):
                yield from _check_config(node, node.kind)
            if node.compensation is not None:
                yield from _check_compensate_config(node, node.compensation)


def _inner_names(model: type[BaseModel], values: list[tuple[dict[str, Json], str]], name: str) -> Iterator[Diagnostic]:
    """Models let their Python names pass (`source` for `from`); a document has one spelling. The first patch repairs them all."""
    wrong = {inner: alias for inner, alias in aliases(model).items() if inner not in field_names(model)}
    found = [(value, pointer, inner) for value, pointer in values for inner in wrong if inner in value]
    patch: list[Operation] = []
    for value, pointer, inner in found:
        place, target = joined(pointer, inner), joined(pointer, wrong[inner])
        patch.append(remove(place) if wrong[inner] in value else move(place, target))
    for number, (_, pointer, inner) in enumerate(found):
        yield Diagnostic(
            code="unknown_field",
            pointer=joined(pointer, inner),
            message=f"{name} has no field {inner!r}; did you mean {wrong[inner]!r}?",
            suggestions=(wrong[inner],),
            patch=() if number else tuple(patch),
        )


def _fits(model: type[BaseModel], value: dict[str, Json]) -> bool:
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def _check_group(group: GroupView) -> Iterator[Diagnostic]:
    """A body in which something is wrong, piece by piece."""
    if group.owner:
        if "nodes" not in group.raw and "type" in group.raw:
            message = "a body is an object with `nodes`; this is a single node"
            patch = (replace(group.pointer, {"nodes": [group.raw]}),)
            yield Diagnostic(code="wrong_type", pointer=group.pointer, message=message, patch=patch)
            return
        value = {**group.raw, **STUB, "edges": []}
        name = f"the body in node {group.owner.label}"
        yield from fit(Piece(model=Body, value=value, pointer=group.pointer, name=name))
    yield from _check_list(group, "nodes")
    yield from _check_list(group, "edges")
    for node in group.nodes:
        yield from _check_node(node)
    for edge in group.edges:
        yield from fit(Piece(model=Edge, value=edge.raw, pointer=edge.pointer, name="the edge"))


def _check_list(group: GroupView, name: str) -> Iterator[Diagnostic]:
    """`nodes` must be a list of objects with something in it, `edges` may be missing."""
    pointer, found = f"{group.pointer}/{name}", group.raw.get(name)
    if name not in group.raw:
        known = field_names(Definition)
        others = [other for other in group.raw if other not in known and repairs.meant(other, ["nodes"])]
        if name == "nodes" and not others:
            message = "`nodes` is missing: a workflow, and a body, is an object with a list of nodes and a list of edges"
            patch = (add(pointer, [{"id": "first", "type": "set", "config": {"values": {}}}]),)
            yield Diagnostic(code="missing_field", pointer=group.pointer, message=message, expected="nodes", patch=patch)
    elif not is_array(found):
        patch: tuple[Operation, ...] = ()
        if is_object(found) and name == "nodes":
            named = all(is_object(inner) and "id" not in inner for inner in found.values())
            listed = [{"id": id, **inner} for id, inner in found.items()] if named else [found]
            patch = (replace(pointer, listed),)
        elif is_object(found) or found is None:
            patch = (replace(pointer, [found] if found else []),)
        yield Diagnostic(code="wrong_type", pointer=pointer, message=f"`{name}` must be a list", expected="a list", patch=patch)
    elif name == "nodes" and not found:
        patch = (add(f"{pointer}/-", {"id": "first", "type": "set", "config": {"values": {}}}),)
        yield Diagnostic(code="missing_field", pointer=pointer, message="there must be at least one node", patch=patch)
    else:
        for number, inner in enumerate(found):
            if not is_object(inner):
                message = f"this must be an object, not {given(inner)}"
                patch = (remove(f"{pointer}/{number}"),)
                yield Diagnostic(code="wrong_type", pointer=f"{pointer}/{number}", message=message, patch=patch)


def _check_node(node: NodeView) -> Iterator[Diagnostic]:
    piece = Piece(
        model=Node,
        value=node.raw if node.compensation is None else {name: value for name, value in node.raw.items() if name != "compensate"},
        pointer=node.pointer,
        name=f"node {node.label}",
        elsewhere=_misplaced_in_node(node),
        before=() if "config" in node.raw else (add(f"{node.pointer}/config", {}),),
    )
    elsewhere = (f"{node.pointer}/id", f"{node.pointer}/compensate")  # checks/nodes.py, checks/undoing.py
    for diagnostic in fit(piece):
        text = diagnostic.pointer == elsewhere[1] and isinstance(node.raw["compensate"], str)
        if diagnostic.pointer != elsewhere[0] and diagnostic.expected not in ("id", "type") and not text:
            yield diagnostic
    if node.compensation is not None:
        yield from _check_compensate(node, node.compensation)


def _check_compensate(node: NodeView, undo: dict[str, Json]) -> Iterator[Diagnostic]:
    """The fields of a compensation beside its config."""
    kind = node_types().get(str(undo.get("type")))
    inner = undo.get("config", {})
    fields = set(field_names(kind.config) if kind else ()) - set(field_names(Compensate)) - set(inner if is_object(inner) else ())
    pointer = f"{node.pointer}/compensate"
    yield from fit(
        Piece(
            model=Compensate,
            value=undo,
            pointer=pointer,
            name=f"the compensation of node {node.label}",
            elsewhere={name: f"{pointer}/config/{name}" for name in fields},
            before=() if "config" in undo else (add(f"{pointer}/config", {}),),
        )
    )


def _check_compensate_config(node: NodeView, undo: dict[str, Json]) -> Iterator[Diagnostic]:
    kind = node_types().get(str(undo.get("type")))
    config = undo.get("config", {})
    if kind is None or not is_object(config):
        return
    pointer = f"{node.pointer}/compensate"
    up = set(field_names(Compensate)) - set(undo) - set(field_names(kind.config))
    yield from fit(
        Piece(
            model=kind.config,
            value=config,
            pointer=f"{pointer}/config" if "config" in undo else pointer,
            name=f"the config of the compensation of node {node.label} ({kind.name})",
            elsewhere={name: f"{pointer}/{name}" for name in up},
            coming=frozenset(name for name in field_names(kind.config) if name in undo and name not in field_names(Compensate)),
        )
    )


def _misplaced_in_node(node: NodeView) -> dict[str, str]:
    """Fields of the config that may stand beside it by mistake -> where they belong."""
    if node.kind is None:
        return {}
    fields = set(field_names(node.kind.config)) - set(field_names(Node)) - set(node.raw_config)
    return {name: f"{node.pointer}/config/{name}" for name in fields}


def _check_config(node: NodeView, kind: NodeType) -> Iterator[Diagnostic]:
    try:
        node.config = kind.config.model_validate(node.raw_config)
        return
    except (ValidationError, TypeError):  # TypeError: pydantic's, for a template in a field whose limits stand outside Templated
        pass
    coming = frozenset(name for name in node.raw if name in _misplaced_in_node(node))
    up = set(field_names(Node)) - set(node.raw) - set(field_names(kind.config))
    piece = Piece(
        model=kind.config,
        value=_stubbed(node.raw_config, [*node.bodies]),
        pointer=f"{node.pointer}/config" if "config" in node.raw else node.pointer,
        name=f"the config of node {node.label} ({node.type})",
        elsewhere={name: f"{node.pointer}/{name}" for name in up},
        coming=coming,
    )
    yield from fit(piece)


def _stubbed(config: dict[str, Json], pointers: list[str]) -> dict[str, Json]:
    result: Any = dict(config)
    for pointer in pointers:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        place = result
        for step in path:
            key: Any = int(step) if is_array(place) else step
            place[key] = place[key].copy()
            place = place[key]
        place[int(last) if is_array(place) else last] = STUB
    return result
