"""Loops: edges that lead back say so and how often, a loop has one way in, and nothing else goes round in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphs.checks.diagnostic import Diagnostic, Operation, add, quoted, remove, replace
from graphs.checks.edges import branches_of
from graphs.checks.view import EdgeView, GroupView, NodeView, View
from graphs.expressions.syntax import MAX_EXPRESSION
from graphs.loops import Region, regions

MAX_TRIED = 10  # cycles for which it is worked out whether they could be loops
MAX_LOOPS = 10  # what a patch offers


def check_loops(view: View) -> Iterator[Diagnostic]:
    """Body by body."""
    for group in view.groups:
        cycles = list(_cycles(group))
        for number, (path, edge) in enumerate(cycles):
            yield _cycle(path, edge, tried=number < MAX_TRIED)
        own = [edge for edge in group.edges if edge.source is not None and edge.source == edge.target and not edge.marked]
        for edge in own:
            yield _self_loop(edge)
        if cycles:
            continue  # what leads back cannot be told until they are gone
        marked = [edge for edge in group.edges if edge.marked and edge.source in group.by_id and edge.target in group.by_id]
        following = _following(group) if marked else {}
        for edge in marked:
            yield from _check_marked(edge, following)
        yield from _check_entries(group)
        yield from _check_asides(group)
        for region in group.loops:
            yield from _check_join(group, region)


# -- circles without a bound ---------------------------------------------------------------------------------------------------------


def _cycles(group: GroupView) -> Iterator[tuple[list[str], EdgeView]]:
    """Each edge that, walked in the author's order, leads back to a node on the way there; and that way."""
    leaving: dict[str, list[EdgeView]] = {}
    for edge in group.links:
        if not edge.marked:
            leaving.setdefault(str(edge.source), []).append(edge)
    state: dict[str, int] = {}  # 1 on the way, 2 done
    entered = {edge.target for edges in leaving.values() for edge in edges}
    for start in [*(id for id in group.by_id if id not in entered), *group.by_id]:
        if start in state:
            continue
        state[start] = 1
        stack = [(start, iter(leaving.get(start, [])))]
        while stack:
            id, edges = stack[-1]
            edge = next(edges, None)
            if edge is None:
                state[id] = 2
                stack.pop()
                continue
            target = str(edge.target)
            if state.get(target) == 1:
                yield [step for step, _ in stack], edge
            elif target not in state:
                state[target] = 1
                stack.append((target, iter(leaving.get(target, []))))


def _cycle(path: list[str], edge: EdgeView, *, tried: bool) -> Diagnostic:
    round_trip = [*path[path.index(str(edge.target)) :], str(edge.target)]
    shown = " -> ".join(round_trip if len(round_trip) <= 8 else [*round_trip[:4], "…", *round_trip[-3:]])
    patch = _bound(edge) if tried else (remove(edge.pointer),)
    message = (
        f"this edge closes a cycle: {shown}; to repeat these steps, give the edge that leads back a condition and `max_loops`, "
        "or put them into the body of a `while` group"
    )
    return Diagnostic(code="cycle", pointer=edge.pointer, message=message, patch=patch)


def _self_loop(edge: EdgeView) -> Diagnostic:
    message = (
        f"the edge leads from {edge.source!r} to itself; to repeat a step, give the edge `when` and `max_loops`; "
        "to try again after a failure, use `retry`"
    )
    return Diagnostic(code="self_loop", pointer=edge.pointer, message=message, patch=_bound(edge))


def _bound(edge: EdgeView) -> tuple[Operation, ...]:
    """The patch that makes a loop of a circle, where that would be a sound one; else the edge goes."""
    group = edge.group
    found = regions(list(group.by_id), [(one.source or "", one.target or "", one.marked or one is edge) for one in group.edges])
    own = next((region for region in found if any(group.edges[index] is edge for index in region.back)), None)
    sound = (
        own is not None
        and not _is_boundary(edge)
        and not any(_entries(group, found))
        and not any(_early_join(group, region) for region in found)
    )
    if own is None or not sound:
        return (remove(edge.pointer),)
    bound = add(f"{edge.pointer}/max_loops", MAX_LOOPS)
    if not _always(edge, own, _following(group, edge)):
        return (bound,)
    condition = _contrary(edge, own)
    return (*condition, bound) if condition else (remove(edge.pointer),)


def _contrary(edge: EdgeView, region: Region) -> tuple[Operation, ...]:
    """The patch that takes an edge back whenever the way out of the loop is not taken; () where nothing tells it."""
    out = [one for one in edge.group.links if one.source == edge.source and one.target not in region.members]
    conditions = [one.raw.get("when") for one in out]
    said = [condition for condition in conditions if isinstance(condition, str) and len(condition) <= MAX_EXPRESSION - 10]
    if len(out) == len(said) == 1 and out[0].branch is None:
        return (add(f"{edge.pointer}/when", f"not ({said[0]})"),)
    source = edge.group.by_id[edge.source or ""]
    free = [name for name in branches_of(source) or () if name not in edge.group.branches_used.get(source.id or "", set())]
    return (add(f"{edge.pointer}/branch", free[0]),) if len(free) == 1 and not source.bodies else ()


# -- edges that lead back ------------------------------------------------------------------------------------------------------------


def _check_marked(edge: EdgeView, following: dict[str, list[str]]) -> Iterator[Diagnostic]:
    region = edge.group.returning.get(edge)
    if region is None:
        message = (
            f"no edges lead from {edge.target!r} to {edge.source!r}, so this edge does not lead back and `max_loops` has no meaning; "
            "it belongs on the edge that begins the loop again"
        )
        pointer = f"{edge.pointer}/max_loops"
        yield Diagnostic(code="bad_loop", pointer=pointer, message=message, patch=(remove(pointer),))
    elif _is_boundary(edge):
        message = (
            f"{quoted(edge.branch)} is a boundary of {edge.source!r}; what it leads to begins beside the loop and cannot be its next pass. "
            "Lead it to a node of the loop, and from there back"
        )
        yield Diagnostic(code="bad_loop", pointer=f"{edge.pointer}/branch", message=message, patch=(remove(edge.pointer),))
    elif _always(edge, region, following):
        message = (
            f"every pass would end with this edge, so the loop would run until `max_loops` fails it; say in `when` under what condition "
            f"it begins again at {edge.target!r}"
        )
        patch = _contrary(edge, region) or (remove(edge.pointer),)
        yield Diagnostic(code="bad_loop", pointer=edge.pointer, message=message, expected="when or branch", patch=patch)


def _is_boundary(edge: EdgeView) -> bool:
    source = edge.group.by_id.get(edge.source or "")
    return source is not None and edge.branch is not None and edge.branch in source.boundaries


def _always(edge: EdgeView, region: Region, following: dict[str, list[str]]) -> bool:
    """Whether nothing decides that the edge is taken: neither its own condition nor one on the way to its source."""
    if _decides(edge):
        return False
    certain, waiting = {region.header}, [region.header]
    while waiting:
        for target in following.get(waiting.pop(), ()):
            if target in region.members and target not in certain:
                certain.add(target)
                waiting.append(target)
    return edge.source in certain


def _decides(edge: EdgeView) -> bool:
    source = edge.group.by_id.get(edge.source or "")
    return bool(
        edge.raw.get("when") is not None
        or edge.raw.get("branch") is not None
        or (source and (source.raw.get("on_error") == "route" or source.boundaries))
    )


def _following(group: GroupView, back: EdgeView | None = None) -> dict[str, list[str]]:
    """Node -> nodes that run whenever it has."""
    found: dict[str, list[str]] = {}
    for edge in group.edges:
        if not edge.marked and edge is not back and not _decides(edge):
            found.setdefault(str(edge.source), []).append(str(edge.target))
    return found


# -- regions -------------------------------------------------------------------------------------------------------------------------


def _check_entries(group: GroupView) -> Iterator[Diagnostic]:
    for edge, region in _entries(group, group.loops):
        message = (
            f"the edge leads from {edge.source!r} into the middle of a loop ({_shown(group, region)}); a loop is entered only at "
            f"{region.header!r}, where its passes begin"
        )
        same = any(
            (one.source, one.target, one.branch, one.raw.get("when")) == (edge.source, region.header, edge.branch, edge.raw.get("when"))
            for one in group.edges
        )
        patch = (remove(edge.pointer),) if same else (replace(f"{edge.pointer}/to", region.header),)
        yield Diagnostic(code="loop_entry", pointer=edge.pointer, message=message, suggestions=(region.header,), patch=patch)


def _entries(group: GroupView, loops: Sequence[Region]) -> Iterator[tuple[EdgeView, Region]]:
    """Edges that lead into a loop elsewhere than at its beginning, and the outermost such loop."""
    inside = dict.fromkeys(group.by_id, 0)  # bit sets of the loops a node belongs to
    headed = dict.fromkeys(group.by_id, 0)
    for number, region in enumerate(loops):
        headed[region.header] = 1 << number
        for id in region.members:
            inside[id] |= 1 << number
    for edge in group.edges if loops else ():
        if edge.source in inside and edge.target in inside:
            entered = inside[edge.target] & ~inside[edge.source] & ~headed[edge.target]
            if entered:
                yield edge, loops[entered.bit_length() - 1]


def _check_asides(group: GroupView) -> Iterator[Diagnostic]:
    """A boundary that does not interrupt is to be followed at once; out of a loop nothing is followed before it is over."""
    for edge in group.edges if group.loops else ():
        source = group.by_id.get(edge.source or "")
        number = source.boundaries.get(edge.branch or "") if source else None
        if source is None or number is None or source.raw["boundary"][number].get("interrupting") is not False:
            continue
        region = next((one for one in group.loops if edge.source in one.members and edge.target not in one.members), None)
        if region is not None:
            message = (
                f"{source.label} is in a loop ({_shown(group, region)}) and {edge.target!r} is not, so this edge is followed only when "
                f"the loop is over, not when {edge.branch!r} fires; lead an edge from {edge.target!r} on to a later node of the loop"
            )
            yield Diagnostic(
                code="no_effect", severity="warning", pointer=edge.pointer, message=message, patch=_taken_in(group, edge, region)
            )


def _taken_in(group: GroupView, edge: EdgeView, region: Region) -> tuple[Operation, ...]:
    """The edge that makes the target part of the loop: to where its source leads on inside."""
    onward = next((one.target for one in group.links if one.source == edge.source and one.target in region.members), None)
    if onward is None or any(one.source == edge.target for one in group.edges):
        return ()
    return (add(f"{group.pointer}/edges/-", {"from": edge.target, "to": onward}),)


def _check_join(group: GroupView, region: Region) -> Iterator[Diagnostic]:
    join = _early_join(group, region)
    if join is None:
        return
    message = (
        f"join {join.label} begins a loop ({_shown(group, region)}) and does not wait for all its edges: what arrives late would arrive in "
        'the middle of a pass. Use mode "all", or put the join before the loop'
    )
    pointer = f"{join.pointer}/config"
    patch = tuple(remove(f"{pointer}/{name}") for name in ("mode", "count") if name in join.raw_config)
    yield Diagnostic(code="loop_join", pointer=f"{pointer}/mode", message=message, patch=patch)


def _early_join(group: GroupView, region: Region) -> NodeView | None:
    """The beginning of a loop, where it is a join that may start before all its edges are decided."""
    header = group.by_id[region.header]
    return header if header.type == "join" and header.raw_config.get("mode") in ("any", "count") else None


def _shown(group: GroupView, region: Region) -> str:
    ids = [id for id in group.by_id if id in region.members]
    return ", ".join(ids if len(ids) <= 6 else [*ids[:5], f"and {len(ids) - 5} more"])
