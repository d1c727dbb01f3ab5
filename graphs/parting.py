"""Where a fork parts from the run it comes from: which rows of the journal stay, which steps run anew, which groups are entered again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphs.definition import Json
from graphs.engine.plan import BodyPlan, NodePlan, Plan
from graphs.positions import Place, locate
from store.forks import Kept, Outline

UNDO = re.compile(r"(.+)~undo\d*")
PASSES = "while"  # the group whose iterations follow one another
TURNS = "try"  # the group whose bodies do
FORGOTTEN = ("#caught", "#winner", "#retries", "#boundary")
"""Decisions of a group that do not hold any more once something inside it runs anew."""


class Parting:
    """Reads a journal (`rows`, the last attempts) of a run of `source` for a fork that runs `target`, which may be the same.

    `cut` and `edit` say where they part. What follows a step by the edges of `target` runs anew with it, and so does what follows the
    groups around it; iterations and branches beside it stay."""

    def __init__(self, rows: Sequence[Outline], source: Plan, target: Plan) -> None:
        self._rows = {row.position: row for row in rows}
        self._source, self._same = source, source is target
        self._places: dict[str, Place] = {}
        self._beside: dict[str, list[Place]] = {}
        self._gone: set[str] = set()  # positions, and prefixes of iterations
        self._entered: dict[str, bool] = {}  # groups, and whether what they caught still holds
        self._edited: dict[str, Json] = {}
        for row in rows:
            place = locate(target, row.position, row.node_type)
            if place and (self._same or self._alike(row, place)):
                self._places[row.position] = place
                self._beside.setdefault(place.prefix, []).append(place)

    def _alike(self, row: Outline, place: Place) -> bool:
        before = locate(self._source, row.position, row.node_type)
        return before is not None and before.shape() == place.shape()

    # -- where they part -------------------------------------------------------------------------------------------------------------

    def cut(self, place: Place) -> None:
        """This step runs anew, and all that follows it."""
        self._gone.add(place.position)
        self._follow(place)

    def edit(self, place: Place, output: Json) -> None:
        """This step stays, with another output; all that follows it runs anew."""
        self._edited[place.position] = output
        self._follow(place)

    def redo_undone(self) -> None:
        """Steps that were undone run anew with what follows them, unless the group around them had asked for that and then gone on."""
        undone_at: dict[str, int] = {}
        for row in self._rows.values():
            if found := UNDO.fullmatch(row.position):
                undone_at[found[1]] = max(row.seq, undone_at.get(found[1], 0))
        for position, place in list(self._places.items()):
            row = self._rows[position]
            if row.state == "compensated":
                moment = undone_at.get(position, row.seq)
                if not any(self._rows[group.position].final and self._rows[group.position].seq > moment for group in self._known(place)):
                    self.cut(place)

    def _known(self, place: Place) -> Iterator[Place]:
        return (group for group in place.around() if group.position in self._rows)

    def _follow(self, place: Place) -> None:
        outside, loop = _later(place.body, place.node.id)
        end = self._rows[place.position].finished_at if place.position in self._rows else None
        for other in self._beside.get(place.prefix, ()):
            later_pass = other.node.id in loop and other is not place and end is not None and self._rows[other.position].started_at >= end
            later_inner = (
                place.node.inner is not None and other is not place and end is not None and self._rows[other.position].started_at >= end
            )
            if other.node.id in outside or later_pass or later_inner:
                self._gone.add(other.position)
        if place.parent is not None:
            self._enter(place.parent, place)
            self._follow(place.parent)

    def _enter(self, group: Place, child: Place) -> None:
        order = list(group.node.bodies)
        turns = group.node.kind.name == TURNS
        keeps = turns and order.index(child.key) > 0
        self._entered[group.position] = keeps and self._entered.get(group.position, True)
        if not turns and group.node.kind.name != PASSES:
            return
        for prefix, places in self._beside.items():
            if places[0].parent is None or places[0].parent.position != group.position:
                continue
            if group.node.kind.name == PASSES and (places[0].index or 0) > (child.index or 0):
                self._gone.add(prefix)
            elif turns:
                self._gone |= {other.position for other in places if order.index(other.key) > order.index(child.key)}

    # -- what stays ------------------------------------------------------------------------------------------------------------------

    def lost_edits(self) -> list[str]:
        """Edited steps that would run anew all the same."""
        return [position for position in self._edited if position in self._entered or self._is_gone(self._places[position])]

    def kept(self) -> list[Kept]:
        """The rows of the fork's journal, in the order in which they settled."""
        fates: dict[str, Kept | None] = {}
        for row in sorted(self._rows.values(), key=lambda row: row.position.count("/")):  # groups before what is inside them
            fates[row.position] = self._fate(row, fates)
        return [fate for position in self._rows if (fate := fates[position]) is not None]

    def entered(self, position: str) -> bool:
        """Whether this group is entered again because something inside it runs anew."""
        return position in self._entered

    def keeps_caught(self, position: str) -> bool:
        """Whether what this group caught still holds."""
        return self._entered.get(position, False)

    def _fate(self, row: Outline, fates: Mapping[str, Kept | None]) -> Kept | None:
        whole = Kept(position=row.position, attempt=row.attempt, how="kept", taken=row.taken)
        if row.position.startswith("#"):
            return whole  # variables that an earlier fork changed
        group = _group(row.position)
        if group:
            around = fates.get(group)
            if around is None:
                return None
            if around.how != "entered":
                return whole  # nobody looks inside a group that is done
        place = self._places.get(row.position)
        if place is None or self._is_gone(place):
            return None
        if place.position in self._edited:
            return Kept(position=row.position, attempt=row.attempt, how="edited", output=self._edited[place.position])
        entered = Kept(position=row.position, attempt=row.attempt, how="entered")
        if place.position in self._entered:
            return entered
        if row.final and place.node.kind.ends:
            return None  # it ends the fork, too, when that comes to it
        if row.final:
            return whole if self._same else self._moved(row, place.node)
        return entered if (place.node.bodies or place.node.kind.inner) and row.state != "compensated" else None

    def _moved(self, row: Outline, node: NodePlan) -> Kept | None:
        """A row whose edges lie in another definition. They are decided again where they can be; a failure that led on leads on the same
        way, if that way is still there."""
        if row.state == "succeeded":
            return Kept(position=row.position, attempt=row.attempt, how="kept")
        before = locate(self._source, row.position, row.node_type)
        if row.state == "skipped" or before is None:
            return None
        old = {edge.index: _way(edge) for edge in before.node.outgoing}
        new = {_way(edge): edge.index for edge in node.outgoing}
        if sorted(old.values(), key=str) != sorted(new, key=str):
            return None
        return Kept(position=row.position, attempt=row.attempt, how="kept", taken=[new[old[index]] for index in row.taken])

    def _is_gone(self, place: Place) -> bool:
        return any(step.position in self._gone or step.prefix in self._gone for step in (place, *place.around()))


def _group(position: str) -> str:
    """The group's step around a position: each of each[3]/ship."""
    return re.sub(r"\[\d+\]$", "", position.rpartition("/")[0])


def _way(edge: Any) -> tuple[Any, ...]:
    return (edge.target, edge.when, edge.branch, edge.max_loops)


def _later(body: BodyPlan, id: str) -> tuple[set[str], set[str]]:
    """What follows a node by the edges: the nodes behind it, and those it shares a loop with, of which only later passes follow."""
    header = body.region_of.get(id)
    while header is not None and (parent := body.regions[header].parent) is not None:
        header = parent
    loop = set(body.regions[header].members) if header is not None else set[str]()
    found: set[str] = set()
    open = [*(loop or {id})]
    while open:
        for edge in body.nodes[open.pop()].onward:
            if edge.target not in found and edge.target not in loop:
                found.add(edge.target)
                open.append(edge.target)
    return found, loop
