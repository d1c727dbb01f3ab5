"""The regions of loops, against two slow definitions: ways over the forward edges, and the natural loops of a compiler's textbook."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from graphs.loops import Link, Region, regions

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[str], list[Link]]:
    """Any nodes in any order, edges among them and to nowhere, marked at random."""
    nodes = draw(NAMES)
    end = st.sampled_from([*nodes, "nowhere"])
    return nodes, draw(st.lists(st.tuples(end, end, st.booleans()), max_size=16))


def reached(start: str, edges: Sequence[Link], *, backward: bool = False, stop: str | None = None) -> set[str]:
    """All nodes that a walk over the edges finds, the start included; it does not go on from `stop`."""
    found, waiting = {start}, [start]
    while waiting:
        id = waiting.pop()
        if id == stop:
            continue
        for source, target, _ in edges:
            here, there = (target, source) if backward else (source, target)
            if here == id and there not in found:
                found.add(there)
                waiting.append(there)
    return found


def in_cycle(id: str, forward: Sequence[Link]) -> bool:
    return any(id in reached(target, forward) for source, target, _ in forward if source == id)


def naive(nodes: list[str], edges: list[Link]) -> dict[str, tuple[set[str], list[int]]]:
    """Header -> members and edges that lead back, as the definition says it."""
    known = [(*edge[:2], edge[2]) for edge in edges if edge[0] in nodes and edge[1] in nodes]
    forward = [edge for edge in known if not edge[2]]
    cyclic = [id for id in nodes if in_cycle(id, forward)]
    lost = {id for start in cyclic for id in reached(start, forward)}  # in or behind a cycle
    found: dict[str, tuple[set[str], list[int]]] = {}
    for index, (source, target, marked) in enumerate(edges):
        if not marked or not {source, target} <= set(nodes) - lost or source not in reached(target, forward):
            continue
        members, back = found.setdefault(target, (set(), []))
        members |= {id for id in reached(target, forward) if source in reached(id, forward)}
        back.append(index)
    for _ in found:  # as often as regions can lie in one another
        for header, (members, _) in found.items():
            for other, (inner, _) in found.items():
                if other in members and other != header:
                    members |= inner
    return found


def enters_elsewhere(region: Region, edges: Sequence[Link]) -> bool:
    return any(target in region.members and target != region.header and source not in region.members for source, target, _ in edges)


@given(bodies())
def test_a_region_is_what_lies_on_the_ways_from_its_header_back_to_it(body: tuple[list[str], list[Link]]) -> None:
    nodes, edges = body
    found = regions(nodes, edges)
    assert {region.header: (set(region.members), list(region.back)) for region in found} == naive(nodes, edges)
    assert len({region.header for region in found}) == len(found)


@given(bodies())
def test_inner_regions_come_first_and_know_what_is_around_them(body: tuple[list[str], list[Link]]) -> None:
    found = regions(*body)
    by_header = {region.header: region for region in found}
    for number, region in enumerate(found):
        around = [other for other in found if other is not region and region.header in other.members]
        assert region.depth == len(around)
        assert all(other in found[number + 1 :] for other in around)
        if region.parent is None:
            assert not around
        else:
            assert by_header[region.parent] in around
            assert all(len(by_header[region.parent].members) <= len(other.members) for other in around)


def test_regions_with_one_way_in_are_natural_loops_and_nest_or_are_disjoint() -> None:
    chance = random.Random(7)
    sound = nested = 0
    for _ in range(6000):
        nodes = list("abcdefg")
        forward = [(a, b, False) for a in nodes for b in nodes if a < b and chance.random() < 0.3]
        back = [(b, a, True) for a in nodes for b in nodes if a <= b and chance.random() < 0.12]
        edges = [*forward, *back]
        found = regions(nodes, edges)
        really = [edges[index] for region in found for index in region.back]
        if not found or any(enters_elsewhere(region, [*forward, *really]) for region in found):
            continue
        sound += 1
        for region in found:
            sources = [edges[index][0] for index in region.back]
            natural = {id for source in sources for id in reached(source, [*forward, *really], backward=True, stop=region.header)}
            assert region.members == natural
            for other in found:
                assert region.members <= other.members or other.members <= region.members or not region.members & other.members
        nested += any(region.depth for region in found)
    assert sound > 500
    assert nested > 50


def test_an_edge_that_is_marked_but_leads_forward_is_in_no_region() -> None:
    assert regions(["a", "b"], [("a", "b", True)]) == ()
    assert regions(["a", "b"], [("a", "b", False)]) == ()


def test_a_node_may_be_a_loop_by_itself() -> None:
    assert regions(["a"], [("a", "a", True)]) == (Region(header="a", members=frozenset("a"), back=(0,), depth=0, parent=None),)


def test_two_edges_back_to_the_same_node_are_one_loop() -> None:
    (region,) = regions(list("abcd"), [("a", "b", False), ("b", "c", False), ("c", "d", False), ("b", "a", True), ("d", "a", True)])
    assert region == Region(header="a", members=frozenset("abcd"), back=(3, 4), depth=0, parent=None)
