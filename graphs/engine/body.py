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
        self.allowed: frozenset[str] | None = None
        self.unresolved = {node.id: node.incoming for node in plan}
        self.arrived = dict.fromkeys(plan.nodes, 0)
        self.begun: set[str] = set()
        self.ready = [node for node in plan if node.incoming == 0]

    @property
    def parked(self) -> bool:
        """Whether everything that has begun here waits, so that nothing moves without news from outside."""
        startable = any(self.allowed is None or node.id in self.allowed for node in self.ready)
        return not (self.failing or startable) and bool(self.steps) and all(step.parked for step in self.steps)

    async def run(self, allowed: frozenset[str] | None = None) -> None:
        """Runs until every node (of `allowed`) is resolved. The first failure cancels what else is under way here, and is raised."""
        self.allowed = allowed
        live: set[asyncio.Task[None]] = set()
        try:
            while True:
                chosen = [Step(self, node) for node in self.ready if allowed is None or node.id in allowed]
                self.ready = [] if allowed is None else [node for node in self.ready if node.id not in allowed]
                self.steps.update(chosen)  # before anything else happens: what is about to start is not parked
                if not live and len(chosen) == 1:
                    await self._perform(chosen[0])  # a straight run of steps needs no task each
                    continue
                live |= {asyncio.create_task(self._perform(step)) for step in chosen}
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

    async def _perform(self, step: Step) -> None:
        self.begun.add(step.plan.id)
        record = await step.perform()  # one that fails stays in `steps`: until `run` has heard of it, nothing here counts as parked
        self.steps.discard(step)
        self._resolve(step.plan, record)
        self.drive.look()  # what is left may be waiting only

    def _resolve(self, node: NodePlan, record: Record) -> None:
        self.scope["nodes"][node.id] = record.output if record.state == "succeeded" else None
        self.scope["errors"][node.id] = record.error
        taken = set(record.taken or ())
        resolved = [(edge, edge.index in taken) for edge in reversed(node.outgoing)]
        while resolved:  # a list and not recursion: an untaken chain may be long
            edge, arrives = resolved.pop()
            if self._arrive(edge, arrives):
                resolved += [(further, False) for further in reversed(self.plan.nodes[edge.target].outgoing)]

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
            self.drive.skip(self.prefix + target.id, target)
            return True
        return False

    @property
    def output(self) -> Json:
        """Output of the last node; where a body ends in several, an object of those that ran."""
        nodes = self.scope["nodes"]
        if len(self.plan.sinks) == 1:
            return nodes[self.plan.sinks[0]]
        states = self.drive.records
        ran = (id for id in self.plan.sinks if (record := states.get(self.prefix + id)) and record.state == "succeeded")
        return {id: nodes[id] for id in ran}
