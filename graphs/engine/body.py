"""A body being run: every node starts when all edges into it are resolved and at least one was taken; what nothing reaches is skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphs.definition import Json
from graphs.engine.plan import BodyPlan, EdgePlan, NodePlan
from graphs.engine.record import Record
from graphs.engine.step import Step

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
        self.unresolved = {node.id: node.incoming for node in plan}
        self.arrived = dict.fromkeys(plan.nodes, 0)
        self.begun: set[str] = set()
        self.ready = [node for node in plan if node.incoming == 0]

    @property
    def parked(self) -> bool:
        """Whether everything that has begun here waits, so that nothing moves without news from outside."""
        return not self.failing and bool(self.steps) and all(step.parked for step in self.steps)

    async def run(self, allowed: frozenset[str] | None = None) -> None:
        """Runs until every node (of `allowed`) is resolved. The first failure cancels what else is under way here, and is raised."""
        live: set[asyncio.Task[None]] = set()
        try:
            while True:
                chosen = [node for node in self.ready if allowed is None or node.id in allowed]
                self.ready = [node for node in self.ready if node not in chosen]
                if not live and len(chosen) == 1:
                    await self._perform(chosen[0])  # a straight run of steps needs no task each
                    continue
                live |= {asyncio.create_task(self._perform(node)) for node in chosen}
                if not live:
                    return
                done, live = await asyncio.wait(live, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except BaseException:
            self.failing = True  # the others are being cancelled: that they wait does not mean that nothing moves
            raise
        finally:
            for task in live:
                task.cancel()
            if live:
                await asyncio.wait(live)
            for task in live:
                if not task.cancelled():
                    task.exception()  # the first failure speaks for all

    async def _perform(self, node: NodePlan) -> None:
        self.begun.add(node.id)
        step = Step(self, node)
        self.steps.add(step)
        try:
            record = await step.perform()
        finally:
            self.steps.discard(step)
        self._resolve(node, record)

    def _resolve(self, node: NodePlan, record: Record) -> None:
        self.scope["nodes"][node.id] = record.output if record.state == "succeeded" else None
        self.scope["errors"][node.id] = record.error
        taken = set(record.taken or ())
        for edge in node.outgoing:
            self._arrive(edge, edge.index in taken)

    def _arrive(self, edge: EdgePlan, taken: bool) -> None:
        target = self.plan.nodes[edge.target]
        self.unresolved[target.id] -= 1
        self.arrived[target.id] += taken
        if target.id in self.begun:
            return  # a join that has fired lets the rest pass by
        enough = (
            self.arrived[target.id] >= target.arrivals
            if target.arrivals
            else self.unresolved[target.id] == 0 and self.arrived[target.id] > 0
        )
        if enough:
            self.begun.add(target.id)
            self.ready.append(target)
        elif self.unresolved[target.id] == 0:
            self._unreached(target)

    def _unreached(self, node: NodePlan) -> None:
        self.begun.add(node.id)
        if self.arrived[node.id]:  # a counting join that can no longer be satisfied: started, so that it fails and does not vanish
            self.ready.append(node)
            return
        self.drive.skip(self.prefix + node.id, node)
        for edge in node.outgoing:
            self._arrive(edge, taken=False)

    @property
    def output(self) -> Json:
        """Output of the last node; where a body ends in several, an object of those that ran."""
        nodes = self.scope["nodes"]
        if len(self.plan.sinks) == 1:
            return nodes[self.plan.sinks[0]]
        states = self.drive.records
        ran = (id for id in self.plan.sinks if (record := states.get(self.prefix + id)) and record.state == "succeeded")
        return {id: nodes[id] for id in ran}
