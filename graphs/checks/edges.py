"""Edges: both ends in the same body, branches that exist, nothing left unconnected by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from graphs.checks.diagnostic import Diagnostic, Operation, add, quoted, remove, replace
from graphs.checks.repairs import meant
from graphs.checks.view import EdgeView, GroupView, NodeView, View
from graphs.definition import Json


def check_edges(view: View) -> Iterator[Diagnostic]:
    """Body by body."""
    for group in view.groups:
        seen: dict[tuple[Json, ...], EdgeView] = {}
        for edge in group.edges:
            yield from _check_ends(view, edge)
            yield from _check_branch(edge)
            key = (edge.source, edge.target, edge.branch, str(edge.raw.get("when")))
            if key in seen and edge.source is not None:
                message = f"the edge from {edge.source!r} to {edge.target!r} is there twice"
                yield Diagnostic(code="duplicate_edge", pointer=edge.pointer, message=message, patch=(remove(edge.pointer),))
            seen[key] = edge


def _check_ends(view: View, edge: EdgeView) -> Iterator[Diagnostic]:
    for field, id in (("from", edge.source), ("to", edge.target)):
        if id is None or id in edge.group.by_id:
            continue
        other = edge.target if field == "from" else edge.source
        taken = [other] if other else []
        close = [name for name in meant(id, edge.group.by_id, taken) if not _closes_cycle(edge, field, name)]
        pointer = f"{edge.pointer}/{field}"
        if id in view.by_id:
            owner = view.by_id[id].group.owner
            where = f"inside {owner.label}" if owner else "at the top level"
            message = f"node {id!r} is {where}; an edge may only join nodes of the same body"
            patch: tuple[Operation, ...] = (remove(edge.pointer),)
            yield Diagnostic(code="crossing_edge", pointer=pointer, message=message, patch=patch)
            continue
        hint = f"did you mean {close[0]!r}?" if close else f"the nodes here are {', '.join(list(edge.group.by_id)[:12])}"
        yield Diagnostic(
            code="unknown_node",
            pointer=pointer,
            message=f"there is no node {quoted(id)}; {hint}",
            suggestions=tuple(close),
            patch=(replace(pointer, close[0]),) if close else (remove(edge.pointer),),
        )


def _closes_cycle(edge: EdgeView, field: str, id: str) -> bool:
    source, target = (id, edge.target) if field == "from" else (edge.source, id)
    return edge.group.leads(target, source)


def _check_branch(edge: EdgeView) -> Iterator[Diagnostic]:
    source = edge.group.by_id.get(edge.source or "")
    if source is None or edge.branch is None or edge.branch in source.boundaries:
        return
    pointer = f"{edge.pointer}/branch"
    if edge.branch == "error":
        if source.raw.get("on_error", "stop") in ("stop", "continue"):
            message = f'the edge is taken when {source.label} fails, but that stops the run: it needs on_error "route"'
            patch = (add(f"{source.pointer}/on_error", "route"),)
            yield Diagnostic(code="bad_branch", pointer=pointer, message=message, patch=patch)
        return
    if source.kind is None or (source.config is None and source.kind.name == "switch"):
        return
    names = branches_of(source)
    if names is None or edge.branch in names:
        return
    names = (*names, *source.boundaries)
    allowed = (*names, "error")
    close = meant(edge.branch, allowed) or _same_answer(edge.branch, names)
    listed = ", ".join(map(repr, allowed))
    message = f"a {source.type} node has no branch {edge.branch!r}; an edge from {source.label} may carry {listed}"
    if not names:
        message = f"{source.label} ({source.type}) has no branches and no boundary of that name; use `when` for a condition"
    yield Diagnostic(
        code="bad_branch",
        pointer=pointer,
        message=message,
        expected="one of " + ", ".join(allowed),
        suggestions=tuple(close),
        patch=(replace(pointer, close[0]),) if close and names else (remove(pointer),),
    )


def branches_of(node: NodeView) -> tuple[str, ...] | None:
    """Names of the branches that leave a node; None when its config is broken."""
    if node.kind is None or node.config is None:
        return None
    return node.kind.branches(node.config)


def _same_answer(branch: str, names: tuple[str, ...]) -> list[str]:
    answers = {"yes": "true", "then": "true", "ok": "true", "no": "false", "else": "false", "otherwise": "default"}
    found = answers.get(branch.lower())
    if found in names:
        return [str(found)]
    return ["default"] if branch.lower() in ("else", "other") and "default" in names else []


def check_connections(view: View) -> Iterator[Diagnostic]:
    """Warnings: a node that nothing leads to, although the body has edges."""
    for group in view.groups:
        if not group.links:
            continue
        entered = {edge.target for edge in group.links}
        starts = [node for node in group.nodes if node.id and node.id not in entered]
        for node in starts[1:]:
            patch = _lead_to(node)
            message = f"no edge leads to node {node.label}, so it starts at once, beside {starts[0].label}; is an edge missing?"
            yield Diagnostic(code="unconnected", severity="warning", pointer=node.pointer, message=message, patch=patch)


def _lead_to(node: NodeView) -> tuple[Operation, ...]:
    """The edge that was probably forgotten: from a branch that leads nowhere, or from the node before this in the list."""
    group = node.group
    before = [other for other in group.nodes[: node.index] if other.id and not group.leads(node.id, other.id)]
    if not before:
        return ()
    for other in reversed(before):
        open_branches = _open_branches(other)
        if open_branches:
            return add_edges(group, [{"from": other.id, "to": node.id, "branch": open_branches[0]}])
    return add_edges(group, [{"from": before[-1].id, "to": node.id}])


def _open_branches(node: NodeView) -> list[str]:
    """Branches of a deciding node that no edge carries, where others do."""
    names = branches_of(node) or ()
    used = node.group.branches_used.get(node.id or "", set()).intersection(names)
    return [name for name in names if name not in used] if used and not node.bodies else []


def missing_edge(before: NodeView, after: NodeView) -> tuple[Operation, ...]:
    """The patch that makes one node come before another, at the gap in the chain where there is one. () where it would close a cycle."""
    group = before.group
    if before.id is None or after.id is None or group.leads(after.id, before.id):
        return ()
    ids = [node.id for node in group.nodes if node.id]
    if not group.edges and before.index < after.index and len(set(ids)) == len(ids):
        return add_edges(group, [{"from": source, "to": target} for source, target in pairwise(ids)])
    entered = {edge.target for edge in group.links}
    gap = next(
        (node for node in group.nodes[before.index + 1 :] if node.id not in entered and (node is after or group.leads(node.id, after.id))),
        None,
    )
    if gap is None:
        return add_edges(group, [{"from": before.id, "to": after.id}])
    last = next(
        node
        for node in reversed(group.nodes[: gap.index])
        if node is before or (group.leads(before.id, node.id) and not group.leads(gap.id, node.id))
    )
    open_branches = _open_branches(last)
    branch = {"branch": open_branches[0]} if open_branches else {}
    return add_edges(group, [{"from": last.id, "to": gap.id, **branch}])


def add_edges(group: GroupView, edges: list[dict[str, Json]]) -> tuple[Operation, ...]:
    """The patch that puts edges into a body, also into one that has none."""
    if isinstance(group.raw.get("edges"), list):
        return tuple(add(f"{group.pointer}/edges/-", edge) for edge in edges)
    return (add(f"{group.pointer}/edges", edges),)
