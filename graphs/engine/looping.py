"""Loops of edges in a body being run: when a pass is over, whether another begins, and which edges then lead out."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphs.engine.plan import BodyPlan, EdgePlan, RegionPlan

Sent = tuple[EdgePlan, bool]  # an edge, and whether it was taken


@dataclass(slots=True)
class Pass:
    """One pass of a loop."""

    open: int  # parts that are not resolved yet
    times: int = 0  # passes before it, since the loop was entered
    again: bool = False  # an edge back was taken
    exits: dict[int, Sent] = field(default_factory=dict[int, Sent])  # edges out of it, by index; they count when the last pass is over


class Loops:
    """The loops of one body. Nodes are named; `over` tells what their being resolved means."""

    def __init__(self, plan: BodyPlan) -> None:
        self._plan = plan
        self._passes = {header: Pass(region.parts) for header, region in plan.regions.items()}

    def exhausted(self, edge: EdgePlan) -> bool:
        """Whether this edge has led back as often as it may."""
        return edge.max_loops is not None and self._passes[edge.target].times >= edge.max_loops

    def defer(self, edge: EdgePlan, taken: bool) -> bool:
        """Notes an edge that leads back, or out of a loop; False for any other, which is to be followed now."""
        if edge.max_loops is not None:
            self._passes[edge.target].again |= taken
            return True
        header = self._plan.leaves.get(edge.index)
        if header is None:
            return False
        self._passes[header].exits[edge.index] = (edge, taken)
        return True

    def over(self, id: str) -> tuple[RegionPlan | None, list[Sent]]:
        """A node is resolved: the loop that begins another pass by that, and the edges out of loops that are over by it."""
        exits: list[Sent] = []
        header = self._plan.region_of.get(id)
        while header is not None:
            now = self._passes[header]
            now.open -= 1
            if now.open:
                return None, exits
            region = self._plan.regions[header]
            if now.again:
                self._passes[header] = Pass(region.parts, now.times + 1)
                for inner in region.inner:
                    self._passes[inner] = Pass(self._plan.regions[inner].parts)
                return region, exits
            exits += now.exits.values()
            header = region.parent
        return None, exits
