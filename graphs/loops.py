"""Loops of edges: which nodes lie between an edge that leads back and the node it leads back to. Arithmetic on names, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Link = tuple[str, str, bool]  # source, target, whether it is marked as leading back (max_loops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The nodes that one loop repeats. Regions of a sound body lie inside one another or have nothing in common."""

    header: str  # where its edges lead back to: the only way in
    members: frozenset[str]  # the header included
    back: tuple[int, ...]  # edges that lead back to the header, by their place in the list
    depth: int  # 0: inside no other region
    parent: str | None  # header of the region next around it


def regions(nodes: Sequence[str], edges: Sequence[Link]) -> tuple[Region, ...]:
    """The loops of a body, inner ones before those around them, else in the order of their headers.

    A region is every node on a way from the header to the source of an edge that leads back to it, over the other edges; a loop that
    begins in there belongs to it whole. An edge that is marked but does not lead back is in no region. Raises nothing: names that do
    not exist are passed over, and so are cycles of unmarked edges."""
    if not any(marked for _, _, marked in edges):
        return ()
    order = _topological(nodes, edges)
    place = {id: number for number, id in enumerate(order)}
    after = _after(order, place, edges)
    before = _before(order, place, edges)
    back: dict[int, list[int]] = {}
    inside: dict[int, int] = {}  # place of a header -> its members as a bit set
    for index, (source, target, marked) in enumerate(edges):
        if marked and source in place and target in place:
            members = after[place[target]] & before[place[source]]
            if members:  # the target comes before the source, or is it
                back.setdefault(place[target], []).append(index)
                inside[place[target]] = inside.get(place[target], 0) | members
    headers = sorted(inside, reverse=True)  # a loop that begins later is not around one that begins earlier
    for number, header in enumerate(headers):
        for other in headers[:number]:
            if inside[header] >> other & 1:
                inside[header] |= inside[other]
    return _regions(order, back, inside)


def _regions(order: list[str], back: dict[int, list[int]], inside: dict[int, int]) -> tuple[Region, ...]:
    around = {header: [other for other in inside if other != header and inside[other] >> header & 1] for header in inside}
    size = {header: members.bit_count() for header, members in inside.items()}
    found: list[Region] = []
    for header in sorted(inside, key=lambda header: (-len(around[header]), header)):
        parent = min(around[header], key=size.__getitem__, default=None)
        found.append(
            Region(
                header=order[header],
                members=frozenset(_names(order, inside[header])),
                back=tuple(back[header]),
                depth=len(around[header]),
                parent=None if parent is None else order[parent],
            )
        )
    return tuple(found)


def _names(order: list[str], bits: int) -> list[str]:
    return [order[number] for number, digit in enumerate(reversed(f"{bits:b}")) if digit == "1"]


def _topological(nodes: Sequence[str], edges: Sequence[Link]) -> list[str]:
    """Nodes so that every unmarked edge points forward; those in or behind a cycle are left out."""
    entering = dict.fromkeys(nodes, 0)
    leaving: dict[str, list[str]] = {id: [] for id in entering}
    for source, target, marked in edges:
        if not marked and source in entering and target in entering:
            leaving[source].append(target)
            entering[target] += 1
    order = [id for id, count in entering.items() if count == 0]
    for id in order:  # grows while it is walked
        for target in leaving[id]:
            entering[target] -= 1
            if entering[target] == 0:
                order.append(target)
    return order


def _before(order: list[str], place: dict[str, int], edges: Sequence[Link]) -> list[int]:
    """Place -> bit set of the node and all that lead to it."""
    found = [1 << number for number in range(len(order))]
    for source, target in _forward(place, edges, by_target=True):
        found[target] |= found[source]
    return found


def _after(order: list[str], place: dict[str, int], edges: Sequence[Link]) -> list[int]:
    """Place -> bit set of the node and all that it leads to."""
    found = [1 << number for number in range(len(order))]
    for source, target in reversed(_forward(place, edges, by_target=False)):
        found[source] |= found[target]
    return found


def _forward(place: dict[str, int], edges: Sequence[Link], *, by_target: bool) -> list[tuple[int, int]]:
    """Unmarked edges as places, in an order in which what they pass on is already known."""
    known = [(place[source], place[target]) for source, target, marked in edges if not marked and source in place and target in place]
    return sorted(known, key=lambda pair: pair[by_target])
