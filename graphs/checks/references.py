"""What code refers to: names in scope, nodes that come before."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.checks.diagnostic import Diagnostic, quoted
from graphs.checks.edges import missing_edge
from graphs.checks.models import holds_bodies
from graphs.checks.reading import check_fields, check_input, check_variable
from graphs.checks.repairs import ROOTS, meant
from graphs.checks.sites import Site
from graphs.checks.swaps import swapped
from graphs.checks.view import GroupView, NodeView, View
from graphs.definition import Schema
from graphs.documents import is_object
from graphs.expressions.paths import FOREIGN, nearest
from graphs.expressions.syntax import BUILTINS, MODULES, Code, Reference

RUN: Schema = {
    "type": "object",
    "properties": {name: {} for name in ("id", "workflow", "version", "mode", "started_at")},
    "additionalProperties": False,
}
ERROR: Schema = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "position": {"type": "string"}, "details": {}},
    "additionalProperties": False,
}
ALIASES = {
    **dict.fromkeys(("node", "steps", "step", "outputs", "tasks", "results"), "nodes"),
    **dict.fromkeys(("inputs", "params", "parameters", "args", "payload", "trigger", "data", "ctx"), "input"),
    **dict.fromkeys(("variables", "var", "state", "context"), "vars"),
    **dict.fromkeys(("environment", "secrets", "process"), "env"),
    **dict.fromkeys(("workflow", "execution"), "run"),
}


def check_references(view: View, good: list[tuple[Site, Code]]) -> Iterator[Diagnostic]:
    """Every chain of every piece of code, in the document's order."""
    scopes: dict[int, dict[str, Schema] | None] = {id(group): group.locals() for group in view.groups}
    for site, code in good:
        local = _with_own(site, scopes[id(site.group)])
        seen: set[tuple[str, tuple[str | int, ...]]] = set()
        for reference in code.references:
            key = (reference.root, reference.steps)
            if key not in seen:
                seen.add(key)
                yield from _check(view, site, reference, local)


def _with_own(site: Site, local: dict[str, Schema] | None) -> dict[str, Schema] | None:
    """The names around a piece of code, and those that its node gives to its own expressions."""
    node = site.node
    if local is None or node is None or node.kind is None or site.kind != "expression" or site.config is not node.raw.get("config"):
        return local
    if node.config is None:
        return None if holds_bodies(node.kind.config) else local
    return {**local, **own} if (own := node.kind.sees(node.config)) else local


def _check(view: View, site: Site, reference: Reference, local: dict[str, Schema] | None) -> Iterator[Diagnostic]:
    root, steps = reference.root, reference.steps
    first = steps[0] if steps else None
    if site.early and root in site.early.hidden:
        message = f"{quoted(site.text.strip())}: {site.early.message}"
        yield Diagnostic(code="not_upstream", pointer=site.pointer, message=message)
    elif local and root in local:
        yield from check_fields(site, reference, root, local[root], steps)
    elif root in ("nodes", "errors"):
        if first is not None:
            yield from _node(view, site, reference, str(first))
    elif root == "input":
        yield from check_input(view, site, reference)
    elif root == "vars":
        yield from check_variable(view, site, reference)
    elif root == "run":
        yield from check_fields(site, reference, "run", RUN, steps)
    elif root not in ROOTS and root not in BUILTINS and root not in MODULES and local is not None:
        yield from _unknown_name(view, site, reference, local)


def _is_own_name(site: Site, root: str) -> bool:
    """A script node may hand its code values by name; they are in its config."""
    config = site.config or {}
    return root in config or any(is_object(value) and root in value for value in config.values())


# -- names ---------------------------------------------------------------------------------------------------------------------------


def _unknown_name(view: View, site: Site, reference: Reference, local: dict[str, Schema]) -> Iterator[Diagnostic]:
    root = reference.root
    if site.kind == "code" and _is_own_name(site, root):
        return
    known = [*ROOTS, *local]
    properties = view.input_schema.get("properties") if is_object(view.input_schema) else None
    message = f"there is no name {root!r} here"
    better: str | None = None
    if root in FOREIGN:
        better = FOREIGN[root]
    elif root in view.by_id and _visible(view.by_id[root], site.group):
        better = f"nodes.{root}"
    elif is_object(properties) and root in properties:
        better = f"input.{root}"
    elif root in view.variables:
        better = f"vars.{root}"
    elif owner := _local_elsewhere(view, root):
        message = f"{root!r} exists only inside the body of node {owner!r}"
    else:
        close = nearest(root, known) or [name for name in (ALIASES.get(root.lower()),) if name]
        close = close or nearest(root, BUILTINS, limit=1)
        better = close[0] if close else None
    hint = f"; did you mean {better}?" if better else f"; the names here are {', '.join(known)}"
    yield Diagnostic(
        code="unknown_name",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: {message}{hint}",
        suggestions=(better,) if better else tuple(known[:8]),
        patch=swapped(site, root, (), better) if better else (),
    )


def _local_elsewhere(view: View, name: str) -> str | None:
    for group in view.groups:
        owner = group.owner
        if owner and owner.kind and owner.config is not None and name in owner.kind.scope(owner.config, group.key):
            return owner.id
    return None


# -- nodes ---------------------------------------------------------------------------------------------------------------------------


def _node(view: View, site: Site, reference: Reference, id: str) -> Iterator[Diagnostic]:
    target = view.by_id.get(id)
    if target is None:
        yield _unknown_node(view, site, reference, id)
    elif not _visible(target, site.group):
        yield _hidden(site, reference, target)
    elif not _is_before(target, site):
        if not _has_loose_ends(target.group):  # an edge that leads nowhere is the cause, and reported
            yield _not_before(site, target)
    elif reference.root == "errors":
        yield from check_fields(site, reference, f"errors.{id}", ERROR, reference.steps[1:], skip=1)
    elif len(reference.steps) > 1:
        yield from check_fields(site, reference, f"nodes.{id}", target.output, reference.steps[1:], skip=1)


def _visible(target: NodeView, group: GroupView) -> bool:
    return target.group is group or any(owner.group is target.group for owner in group.around())


def _anchor(target: NodeView, site: Site) -> NodeView | None:
    """The node of the target's body that the code is in."""
    if target.group is site.group:
        return site.node
    return next(owner for owner in site.group.around() if owner.group is target.group)


def _is_before(target: NodeView, site: Site) -> bool:
    anchor = _anchor(target, site)
    if anchor is None or anchor.id is None or target.id is None:
        return True  # the output of the workflow, or a node that is broken anyway
    if anchor.id not in target.group.by_id or target.group.leads(target.id, anchor.id):
        return True
    return anchor is target and (site.edge is not None or site.after) and target.group is site.group


def _has_loose_ends(group: GroupView) -> bool:
    return any(edge.source not in group.by_id or edge.target not in group.by_id for edge in group.edges)


def _unknown_node(view: View, site: Site, reference: Reference, id: str) -> Diagnostic:
    visible = [node for node in view.nodes if node.id and _visible(node, site.group)]
    before = [node.id for node in visible if node.id and _is_before(node, site)]
    close = meant(id, before) or meant(id, [node.id for node in visible if node.id])
    if not close and len(before) == 1 and not site.edge:
        close = before
    hint = f"did you mean {close[0]!r}?" if close else f"nodes before this are {', '.join(before[:12]) or 'none'}"
    prefix = reference.steps[:1]
    return Diagnostic(
        code="unknown_node",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: there is no node {id!r}; {hint}",
        suggestions=tuple(close),
        patch=swapped(site, reference.root, prefix, f"{reference.root}.{close[0]}") if close else (),
    )


def _hidden(site: Site, reference: Reference, target: NodeView) -> Diagnostic:
    owners = list(target.group.around())
    if reference.root == "nodes" and (better := _last_pass(site, target)) is not None:
        message = f"node {target.label} is inside; its output of the pass before is `last`, which is null before the first pass"
        patch = swapped(site, "nodes", reference.steps[:1], better)
        return Diagnostic(
            code="not_visible", pointer=site.pointer, message=f"{quoted(site.text.strip())}: {message}", suggestions=(better,), patch=patch
        )
    outer = next((owner for owner in owners if _visible(owner, site.group)), owners[-1])
    names = list(outer.output.get("properties", {}))
    outputs = ", ".join(f"nodes.{outer.id}.{name}" for name in names) or f"nodes.{outer.id}"
    message = f"node {target.label} is inside {outer.label}; out here only the output of that is to be seen: {outputs}"
    return Diagnostic(
        code="not_visible",
        pointer=site.pointer,
        message=f"{quoted(site.text.strip())}: {message}",
        suggestions=tuple(f"nodes.{outer.id}.{name}" for name in names),
        patch=swapped(site, reference.root, reference.steps, f"nodes.{outer.id}.{names[0]}") if names else (),
    )


def _last_pass(site: Site, target: NodeView) -> str | None:
    """What the condition of a loop calls the output of the last node in its body, where that is the node meant."""
    owner = target.group.owner
    if owner is None or owner is not site.node or owner.kind is None or owner.config is None or "last" not in owner.kind.sees(owner.config):
        return None
    left = {edge.source for edge in target.group.links if edge.branch != "error"}
    return "last" if [node for node in target.group.nodes if node.id not in left] == [target] else None


def _not_before(site: Site, target: NodeView) -> Diagnostic:
    anchor = _anchor(target, site)
    text = quoted(site.text.strip())
    if anchor is target and target.group is site.group:
        message = f"{text}: node {target.label} reads its own output, which is not there yet"
        return Diagnostic(code="not_upstream", pointer=site.pointer, message=message)
    if anchor is target:
        message = f"{text}: node {target.label} is the group around this and has no output yet"
        return Diagnostic(code="not_upstream", pointer=site.pointer, message=message)
    patch = missing_edge(target, anchor) if anchor else ()
    name = anchor.label if anchor else "this"
    hint = "; add an edge" if patch else "; it comes later"
    message = f"{text}: node {target.label} does not come before {name}: no edges lead from one to the other{hint}"
    return Diagnostic(code="not_upstream", pointer=site.pointer, message=message, patch=patch)
