"""Nodes: types that exist, ids that are valid and unique, and what one node type promises that its model cannot say."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping

from graphs.checks.boundaries import check_boundaries
from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, move, quoted, remove, replace
from graphs.checks.edges import add_edges
from graphs.checks.repairs import ROOTS, meant, slug, unused
from graphs.checks.schemas import check_schema
from graphs.checks.sites import Site, templated
from graphs.checks.swaps import declared
from graphs.checks.types import check_type
from graphs.checks.undoing import check_undoing
from graphs.checks.view import NodeView, View
from graphs.definition import Schema
from graphs.documents import is_object
from graphs.inputs import problems
from graphs.nodetype import Effect

ID = re.compile(r"[a-z][a-z0-9_]{0,47}")


def check_nodes(view: View, sites: list[Site], workflows: Mapping[str, Schema | None] | None) -> Iterator[Diagnostic]:
    """Node by node, in the document's order."""
    known = [node.id for node in view.nodes if node.id]
    first: dict[str, NodeView] = {}
    for node in view.nodes:
        yield from check_type(node)
        yield from _check_id(view, node, known, sites)
        if node.id and node.id in first:
            new = unused(node.id, known)
            message = f"the id {node.id!r} is taken by another node; ids are unique in the whole workflow, groups included"
            pointer = f"{node.pointer}/id"
            yield Diagnostic(code="duplicate_id", pointer=pointer, message=message, suggestions=(new,), patch=(replace(pointer, new),))
        elif node.id:
            first[node.id] = node
        yield from _check_routes(node)
        yield from _check_names(node)
        if "boundary" in node.raw:
            yield from check_boundaries(node)
        if "compensate" in node.raw:
            yield from check_undoing(view, node)
        if "on_ambiguous" in node.raw:
            yield from _check_ambiguous(node)
        if node.kind and node.config is not None:
            yield from _check_kind(view, node, workflows)


def check_schemas(view: View) -> Iterator[Diagnostic]:
    """The schema of the run's input, and those in configs."""
    if "input" in view.document and is_object(view.document["input"]):
        yield from check_schema(view.document["input"], "/input")
    for node in view.nodes:
        if node.kind is None:
            continue
        for name, value in node.raw_config.items():
            if is_object(value) and (name in ("form", "schema") or name.endswith("_schema")):
                yield from check_schema(value, joined(f"{node.pointer}/config", name))


def _check_id(view: View, node: NodeView, known: list[str], sites: list[Site]) -> Iterator[Diagnostic]:
    if node.id is None:
        given = [name for name in node.raw if meant(name, ["id"])]
        if "id" in node.raw:
            new = unused(slug(str(node.raw["id"])[:40]), known)
            message = f"the id of a node must be text, not {quoted(node.raw['id'])}"
            yield Diagnostic(code="bad_id", pointer=f"{node.pointer}/id", message=message, patch=(replace(f"{node.pointer}/id", new),))
        elif not given:
            ends = (end for edge in node.group.edges for end in (edge.source, edge.target))
            called = next((end for end in ends if end and end not in known and ID.fullmatch(end)), None)
            new = called or unused(slug(str(node.raw.get("name") or node.type or "node")[:40]), known)
            message = f"node {node.label} needs an `id`"
            yield Diagnostic(
                code="missing_field", pointer=node.pointer, message=message, expected="id", patch=(add(f"{node.pointer}/id", new),)
            )
        return
    if ID.fullmatch(node.id):
        return
    new = unused(slug(node.id), known)
    yield Diagnostic(
        code="bad_id",
        pointer=f"{node.pointer}/id",
        message=f"the id {quoted(node.id)} must start with a small letter and go on with small letters, digits and _ (48 at most)",
        expected="^[a-z][a-z0-9_]{0,47}$",
        suggestions=(new,),
        patch=tuple(_renamed(node, node.id, new, sites)),
    )


def _renamed(node: NodeView, old: str, new: str, sites: list[Site]) -> Iterator[Operation]:
    """A new id, and everything that calls the node by the old one."""
    yield replace(f"{node.pointer}/id", new)
    for edge in node.group.edges:
        for field in ("from", "to"):
            if edge.raw.get(field) == old:
                yield replace(f"{edge.pointer}/{field}", new)
    name = re.escape(old)
    called = re.compile(rf"\b(nodes|errors)(?:\.{name}(?!\w)|\[\s*(?:'{name}'|\"{name}\")\s*\])")
    wholes = {site.pointer: site.whole for site in sites}
    for pointer, whole in wholes.items():
        fixed = called.sub(lambda found: f"{found[1]}.{new}", whole)
        if fixed != whole:
            yield replace(pointer, fixed)


def _check_routes(node: NodeView) -> Iterator[Diagnostic]:
    """`on_error: route` without an edge to take loses the failure."""
    if node.raw.get("on_error") != "route" or node.id is None:
        return
    if not any(edge.source == node.id and edge.branch == "error" for edge in node.group.edges):
        message = f'node {node.label} has on_error "route" but no edge with branch "error"; its failure would end there in silence'
        pointer = f"{node.pointer}/on_error"
        yield Diagnostic(code="bad_branch", severity="warning", pointer=pointer, message=message, patch=(replace(pointer, "stop"),))


def _check_ambiguous(node: NodeView) -> Iterator[Diagnostic]:
    """`on_ambiguous` is for calls that must not be repeated; the others are repeated without asking."""
    if node.kind is None or node.config is None or node.raw["on_ambiguous"] == "ask":
        return
    effect = node.kind.effect(node.config)
    if effect is not Effect.WRITE_ONCE:
        pointer = f"{node.pointer}/on_ambiguous"
        message = (
            f"node {node.label} is {effect}, so a call that was cut off is simply repeated; `on_ambiguous` is only for write-once nodes"
        )
        yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=(remove(pointer),))


def _check_names(node: NodeView) -> Iterator[Diagnostic]:
    """Names that a group gives to its body must be usable in code."""
    name = node.raw_config.get("as")
    if isinstance(name, str) and (keyword.iskeyword(name) or name in ROOTS):
        pointer = f"{node.pointer}/config/as"
        reason = "means something else in expressions" if name in ROOTS else "is a word of the language"
        message = f"`as` cannot be {name!r}: it {reason}"
        yield Diagnostic(code="bad_value", pointer=pointer, message=message, patch=(replace(pointer, f"{name}_item"),))


def _check_kind(view: View, node: NodeView, workflows: Mapping[str, Schema | None] | None) -> Iterator[Diagnostic]:
    match node.type:
        case "join":
            yield from _check_join(node)
        case "set":
            yield from _check_assigned(view, node)
        case "subflow" if workflows is not None:
            yield from _check_child(node, workflows)
        case _:
            pass


def _check_join(node: NodeView) -> Iterator[Diagnostic]:
    config, pointer = node.raw_config, f"{node.pointer}/config"
    entering = [edge for edge in node.group.links if edge.target == node.id]
    count, mode = config.get("count"), config.get("mode", "all")
    if mode == "count" and count is None:
        message = f'join {node.label} with mode "count" needs `count`: how many branches must arrive'
        patch = (add(f"{pointer}/count", max(1, len(entering) - 1)),)
        yield Diagnostic(code="join_count", pointer=pointer, message=message, patch=patch)
    elif mode == "count" and isinstance(count, int) and count > len(entering):
        message = f"join {node.label} waits for {count} branches, but {len(entering)} edges lead to it: it could never start"
        patch = (replace(f"{pointer}/count", len(entering)),) if entering else ()
        yield Diagnostic(code="join_count", pointer=f"{pointer}/count", message=message, patch=patch)
    elif count is not None and mode != "count":
        message = f'join {node.label} has a `count`, which only mode "count" looks at'
        patch = (add(f"{pointer}/mode", "count"),)
        yield Diagnostic(code="join_count", severity="warning", pointer=f"{pointer}/count", message=message, patch=patch)


def _check_assigned(view: View, node: NodeView) -> Iterator[Diagnostic]:
    """`set` may only assign variables that the workflow declares."""
    assigned = node.raw_config.get("vars")
    for name in assigned if is_object(assigned) else {}:
        if name in view.variables:
            continue
        pointer = joined(f"{node.pointer}/config/vars", name)
        close = meant(name, view.variables, assigned or ())
        hint = f"did you mean {close[0]!r}?" if close else "declare it in `vars` of the workflow"
        patch = (move(pointer, joined(f"{node.pointer}/config/vars", close[0])),) if close else declared(view, name)
        message = f"there is no variable {name!r}; {hint}"
        yield Diagnostic(code="undeclared_variable", pointer=pointer, message=message, suggestions=tuple(close), patch=patch)


def _check_child(node: NodeView, workflows: Mapping[str, Schema | None]) -> Iterator[Diagnostic]:
    name = node.raw_config.get("workflow")
    pointer = f"{node.pointer}/config/workflow"
    if not isinstance(name, str) or "{{" in name:
        return
    if name not in workflows:
        close = meant(name, workflows)
        hint = f"did you mean {close[0]!r}?" if close else f"published are {', '.join(list(workflows)[:12]) or 'none yet'}"
        message = f"there is no published workflow {name!r}; {hint}"
        patch = (replace(pointer, close[0]),) if close else ()
        yield Diagnostic(code="unknown_workflow", pointer=pointer, message=message, suggestions=tuple(close), patch=patch)
        return
    schema, given = workflows[name], node.raw_config.get("input", {})
    if schema and not templated(given):
        place = f"{node.pointer}/config" + ("/input" if "input" in node.raw_config else "")
        for problem in problems(schema, given):
            message = f"the input of {name!r} does not fit: {problem['message']}"
            yield Diagnostic(code="bad_input", pointer=place + (problem["pointer"] if "input" in node.raw_config else ""), message=message)


__all__ = ["add_edges", "check_nodes", "check_schemas"]
