"""A body being run: every node starts when all edges into it are resolved and at least one was taken; what nothing reaches is skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphs.definition import Json
from graphs.engine.looping import Loops, Sent
from graphs.engine.plan import BodyPlan, EdgePlan, NodePlan, RegionPlan
from graphs.engine.record import Record, gravest
from graphs.engine.step import Step
from graphs.quiet import settle_down

if TYPE_CHECKING:
    from graphs.engine.drive import Drive

Scope = dict[str, Json]


class BodyRun:
    """One pass over a body. The same rules hold at the top level, in a branch and in an iteration."""

    def __init__(
        self, drive: Drive, plan: BodyPlan, prefix: str, scope: Mapping[str, Json], local: Mapping[str, Json] | None = None
    ) -> None:
        self.drive = drive
        self.plan = plan
        self.prefix = prefix  # "each[3]/" of the positions inside
        names = dict.fromkeys(plan.nodes)
        self.scope: Scope = {**scope, **(local or {}), "nodes": {**scope["nodes"], **names}, "errors": {**scope["errors"], **names}}
        self.steps: set[Step] = set()  # begun and not done
        self.failing = False
        self.cleaning = False  # it tidies up after what was cancelled: a `finally`, or inside one
        self.allowed: frozenset[str] | None = None
        self.unresolved = {node.id: node.incoming for node in plan}
        self.arrived = dict.fromkeys(plan.nodes, 0)
        self.begun: set[str] = set()
        self.changed = asyncio.Event()  # a boundary has led on
        self.sent: set[int] = set()  # edges followed before their source was done: a boundary's
        self.visits: dict[str, int] = {}  # of nodes in loops of edges, where there was more than one
        self.loops = Loops(plan) if plan.regions else None
        self.ready = [node for node in plan if node.incoming == 0]

    @property
    def parked(self) -> bool:
        """Whether everything that has begun here waits, so that nothing moves without news from outside."""
        startable = any(self.allowed is None or node.id in self.allowed for node in self.ready)
        return not (self.failing or startable) and bool(self.steps) and all(step.parked for step in self.steps)

    def position(self, id: str) -> str:
        """Where a step is in the run: the path to it, and which visit of it this is."""
        visits = self.visits.get(id)
        return f"{self.prefix}{id}:{visits}" if visits else self.prefix + id

    async def run(self, allowed: frozenset[str] | None = None) -> None:
        """Runs until every node (of `allowed`) is resolved. The first failure cancels what else is under way here, and is raised."""
        self.allowed = allowed
        live: set[asyncio.Task[None]] = set()
        try:
            while True:
                chosen = [Step(self, node) for node in self.ready if allowed is None or node.id in allowed]
                self.ready = [] if allowed is None else [node for node in self.ready if node.id not in allowed]
                self.steps.update(chosen)  # before anything else happens: what is about to start is not parked
                if not live and len(chosen) == 1 and not self.plan.watched:
                    await self._perform(chosen[0])  # a straight run of steps needs no task each
                    continue
                live |= {asyncio.create_task(self._perform(step)) for step in chosen}
                if not live:
                    return
                done, live = await self._news(live)
                if errors := [error for task in done if (error := task.exception())]:
                    raise gravest(sorted(errors, key=self.drive.noted))
        except BaseException:
            self.failing = True  # the others are being cancelled: that they wait does not mean that nothing moves
            raise
        finally:
            await settle_down(live)  # the first failure speaks for all

    async def _news(self, live: set[asyncio.Task[None]]) -> tuple[set[asyncio.Task[None]], set[asyncio.Task[None]]]:
        """Waits until a step is done, or a boundary has led on beside its step: the tasks that are done, and the others."""
        if not self.plan.watched:
            return await asyncio.wait(live, return_when=asyncio.FIRST_COMPLETED)
        turn: asyncio.Task[Any] = asyncio.create_task(self.changed.wait())
        try:
            done, rest = await asyncio.wait({*live, turn}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            turn.cancel()
        self.changed.clear()
        return {task for task in done if task in live}, {task for task in rest if task in live}

    async def _perform(self, step: Step) -> None:
        self.begun.add(step.plan.id)
        record = await step.perform()  # one that fails stays in `steps`: until `run` has heard of it, nothing here counts as parked
        self.steps.discard(step)
        self._resolve(step.plan, record)
        self.drive.look()  # what is left may be waiting only

    def _resolve(self, node: NodePlan, record: Record) -> None:
        self.scope["nodes"][node.id] = record.output if record.state == "succeeded" else None
        self.scope["errors"][node.id] = record.error
        self._follow(self._leaving(node, frozenset(record.taken or ())))

    def follow_early(self, node: NodePlan, edges: list[int]) -> None:
        """Follows edges of a step that is still under way: one of its boundaries has fired."""
        chosen = [edge for edge in node.outgoing if edge.index in edges and edge.index not in self.sent]
        self.sent.update(edge.index for edge in chosen)
        self._follow([(edge, True) for edge in chosen if not (self.loops and self.loops.defer(edge, True))])
        self.changed.set()

    def _follow(self, sent: list[Sent]) -> None:
        while sent:  # a list and not recursion: an untaken chain may be long
            edge, taken = sent.pop()
            if self._arrive(edge, taken):
                sent += self._leaving(self.plan.nodes[edge.target], frozenset())

    def _leaving(self, node: NodePlan, taken: frozenset[int]) -> list[Sent]:
        """The edges that a node's being resolved leads to: its own, and those out of the loops that are over by it."""
        own = [(edge, edge.index in taken) for edge in reversed(node.outgoing) if edge.index not in self.sent]
        if self.loops is None:
            return own
        own = [(edge, taken) for edge, taken in own if not self.loops.defer(edge, taken)]
        repeated, exits = self.loops.over(node.id)
        if repeated:
            self._repeat(repeated)
        return [*own, *exits]

    def _repeat(self, region: RegionPlan) -> None:
        """Another pass: the loop's nodes are as if they had never run, but for their outputs, which the new pass may read."""
        for id, entering in region.members.items():
            self.visits[id] = self.visits.get(id, 1) + 1
            self.unresolved[id], self.arrived[id] = entering, 0
            self.begun.discard(id)
            self.sent.difference_update(edge.index for edge in self.plan.nodes[id].outgoing)
        header = self.plan.nodes[region.header]
        self.arrived[header.id] = header.arrivals or 1
        self.begun.add(header.id)
        self.ready.append(header)

    def _arrive(self, edge: EdgePlan, taken: bool) -> bool:
        """Counts an edge. Whether that leaves its target unreached for good."""
        target = self.plan.nodes[edge.target]
        self.unresolved[target.id] -= 1
        self.arrived[target.id] += taken
        if target.id in self.begun:
            return False  # a join that has fired lets the rest pass by
        last = self.unresolved[target.id] == 0
        enough = self.arrived[target.id] >= target.arrivals if target.arrivals else last and self.arrived[target.id] > 0
        if enough or (last and self.arrived[target.id]):  # a counting join that cannot be satisfied starts too, so that it fails
            self.begun.add(target.id)
            self.ready.append(target)
        elif last:
            self.begun.add(target.id)
            self.scope["nodes"][target.id] = None  # of this pass of a loop, too
            self.drive.skip(self.position(target.id), target)
            return True
        return False

    @property
    def output(self) -> Json:
        """Output of the last node; where a body ends in several, an object of those that ran."""
        nodes = self.scope["nodes"]
        if len(self.plan.sinks) == 1:
            return nodes[self.plan.sinks[0]]
        states = self.drive.records
        ran = (id for id in self.plan.sinks if (record := states.get(self.position(id))) and record.state == "succeeded")
        return {id: nodes[id] for id in ran}
