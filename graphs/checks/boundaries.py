"""Boundaries: what may happen while a node runs has a name of its own, and an edge that says what follows."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.checks.diagnostic import Diagnostic, Operation, quoted, remove, replace
from graphs.checks.edges import add_edges, branches_of
from graphs.checks.repairs import unused
from graphs.checks.view import NodeView
from graphs.definition import Json
from graphs.documents import is_array, is_object


def check_boundaries(node: NodeView) -> Iterator[Diagnostic]:
    """The boundaries of one node, in its order."""
    found = node.raw["boundary"]
    if not is_array(found) or not found:
        return
    if node.kind and node.kind.ends:
        message = f"node {node.label} ({node.type}) ends the run at once: nothing can happen while it runs, so it may have no boundary"
        pointer = f"{node.pointer}/boundary"
        yield Diagnostic(code="bad_boundary", pointer=pointer, message=message, patch=(remove(pointer),))
        return
    for number, boundary in enumerate(found):
        if is_object(boundary) and isinstance(boundary.get("name"), str):
            pointer = f"{node.pointer}/boundary/{number}"
            yield from _check_name(node, boundary["name"], number, f"{pointer}/name")
            yield from _check_codes(boundary, f"{pointer}/error")
            yield from _check_used(node, boundary, number, pointer)


def _check_name(node: NodeView, name: str, number: int, pointer: str) -> Iterator[Diagnostic]:
    """A name tells the edges of a boundary from those of the others, and from those of branches."""
    branches = branches_of(node) or ()
    if node.boundaries[name] != number:
        known = ("error", *node.boundaries, *branches)
        wanted = (edge.branch for edge in node.group.edges if edge.source == node.id and edge.branch is not None)
        new = next((branch for branch in wanted if branch not in known), unused(name, known))
        message = f"node {node.label} has another boundary {name!r}; edges could not tell them apart"
    elif name == "error" or name in branches:
        new = unused(f"{name[:39]}_boundary", [*node.boundaries, *branches])
        meaning = "the edges taken when the node fails" if name == "error" else f"a branch of node {node.label}"
        message = f"a boundary cannot be called {name!r}: that means {meaning}"
    else:
        return
    patch = [replace(pointer, new)]
    if name == "error" and node.raw.get("on_error") != "route":
        leaving = [edge for edge in node.group.edges if edge.source == node.id and edge.branch == name]
        patch += [replace(f"{edge.pointer}/branch", new) for edge in leaving]
    yield Diagnostic(code="bad_boundary", pointer=pointer, message=message, suggestions=(new,), patch=tuple(patch))


def _check_codes(boundary: dict[str, Json], pointer: str) -> Iterator[Diagnostic]:
    codes = boundary.get("error")
    if not is_array(codes):
        return
    for number, code in enumerate(codes):
        if isinstance(code, str) and (not code.strip() or any(letter.isspace() for letter in code)):
            place = f"{pointer}/{number}"
            message = f'{quoted(code)} is no code of an error; write for example "timeout", "http_4*", or "*" for any'
            rest = (remove(place),) if len(codes) > 1 else (replace(place, "*"),)
            yield Diagnostic(code="bad_boundary", pointer=place, message=message, patch=rest)


def _check_used(node: NodeView, boundary: dict[str, Json], number: int, pointer: str) -> Iterator[Diagnostic]:
    """A boundary without an edge: the step would be cancelled, and nothing would follow."""
    name = boundary["name"]
    leaving = [edge.branch for edge in node.group.edges if edge.source == node.id]
    known = (None, "error", *node.boundaries, *(branches_of(node) or ()))
    if name in leaving or any(branch not in known for branch in leaving):  # a misspelt one is reported at the edge
        return
    effect = "does nothing" if boundary.get("interrupting") is False else "only cancels the step"
    message = f"no edge from node {node.label} has the branch {name!r}, so this boundary {effect}; add an edge that says what follows"
    patch = _lead_on(node, name) or (remove(pointer),)
    yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=patch)


def _lead_on(node: NodeView, name: str) -> tuple[Operation, ...]:
    """The edge that was probably forgotten: to a later node that no edge leads to."""
    group = node.group
    entered = {edge.target for edge in group.edges}
    lone = next((other for other in group.nodes[node.index + 1 :] if other.id and other.id not in entered), None)
    return () if lone is None else add_edges(group, [{"from": node.id, "to": lone.id, "branch": name}])
