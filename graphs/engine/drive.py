"""A run being driven: what its steps have come to, what they see, and how they reach the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from graphs.definition import Json, Schema
from graphs.engine.asking import OpenWait
from graphs.engine.body import BodyRun
from graphs.engine.cassette import reaches
from graphs.engine.compensation import undo, undoable, unsure, within
from graphs.engine.events import Happening
from graphs.engine.outbox import Outbox
from graphs.engine.patience import patiently
from graphs.engine.plan import BodyPlan, NodePlan, Plan
from graphs.engine.playing import REPLAY, Answer, Player
from graphs.engine.record import Record, RunFailed, StepFailed, restored
from graphs.engine.recording import begin
from graphs.engine.waiting import Waiting
from graphs.expressions import Template
from graphs.nodetype import Effect
from graphs.redaction import Redactor
from graphs.samples import sample
from store import node_runs, waits
from store.node_runs import NodeRun
from store.postgres import Tenant
from store.runs import Claimed, Loaded

if TYPE_CHECKING:
    from graphs.engine.dispatch import Engine
    from graphs.engine.step import Step

UNDER_WAY = ("running", "waiting", "retrying")


class Drive(Waiting):
    """Drives one claimed run. All it writes goes through the journal under its fence."""

    def __init__(self, engine: Engine, tenant: Tenant, claimed: Claimed, loaded: Loaded, plan: Plan) -> None:
        super().__init__(loaded.request, claimed)
        self.engine, self.tenant, self.claimed, self.loaded, self.plan = engine, tenant, claimed, loaded, plan
        self.run_id = claimed.id
        self.mode: Literal["production", "test"] = "test" if loaded.mode == "test" else "production"
        self.player: Player | None = None  # of a replay
        self.checkpointed = False
        self.redactor = Redactor()  # of what steps of this run have opened here
        self.outbox = Outbox(engine.journal, claimed, self.redactor, on_lost=self._lost)
        self.records: dict[str, Record] = {}
        self.vars: dict[str, Json] = {}
        self.doubtful: set[str] = set()  # steps that an earlier driver left running
        self.compensate = loaded.compensate
        self._steps = 0
        self._resolved: set[str] = set()  # of the top level

    def _lost(self) -> None:
        self.unloading = True  # what is under way is put down as it is, and nothing recorded

    # -- what is there -----------------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Reads what earlier drives, or the run this is a fork of, have left. Raises RunCancelled or RunTimedOut when it is over."""
        if self.claimed.fence > 1 or self.loaded.forked_from:
            for row in await patiently(lambda: node_runs.latest(self.tenant, self.run_id)):
                self._restore(row)
            for wait in await patiently(lambda: waits.of_run(self.tenant, self.run_id)):
                self.waits[wait.position] = OpenWait(
                    position=wait.position,
                    state=wait.state,
                    due_at=wait.due_at,
                    lasting=wait.lasting,
                    payload=wait.payload,
                    event_name=wait.event_name,
                    correlation=wait.correlation,
                )
        if self.claimed.fence == 1:
            self.outbox.tell(("run.started", f"{self.loaded.name} started"), level="business", data=self._seen())
        self.ending = self.loaded.ending is not None
        mocks: dict[str, Any] = self.loaded.mocks or {}
        if self.mode == "test" and (order := mocks.get(REPLAY)):
            self.player = await begin(self, order)
        self.root = BodyRun(self, self.plan.body, "", await self._root_scope())
        self.halting = self.request == "pause" or self.engine.draining
        self.check_end()

    def _restore(self, row: NodeRun) -> None:
        self.records[row.position] = restored(row)
        self.outbox.seq = max(self.outbox.seq, row.seq)
        self.outbox.touched.append(row.position)
        self._steps += row.attempt if row.state != "skipped" else 0
        if row.vars:
            self.vars.update(row.vars)
        if row.state == "running":
            self.doubtful.add(row.position)

    @property
    def shown_id(self) -> str:
        """The id that steps see: of the recorded run, in a replay."""
        return self.player.cassette.recording.head.id if self.player else self.run_id

    def _seen(self) -> Json:
        """The variables of the house that the definition names, as they are when the run begins: a replay sees the same."""
        named = [name for name in self.plan.variables_named if name in self.engine.variables]
        return {"env": {name: self.engine.variables[name] for name in named}} if named else None

    def begun(self, prefix: str, body: BodyPlan) -> bool:
        """Whether a step of a body has a row."""
        return any(prefix + id in self.records for id in body.nodes)

    def progress(self, position: str) -> dict[str, int]:
        """Steps of the top level that are done, now that the one at `position` is, and all there are."""
        touched, self.outbox.touched = [*self.outbox.touched, position], []
        self._resolved.update(id for id in touched if id in self.plan.body.nodes and self.records[id].final)
        return {"done": len(self._resolved), "of": len(self.plan.body.nodes)}

    async def _root_scope(self) -> dict[str, Json]:
        declared: Schema = self.plan.definition.input.get("properties") or {}
        given: Json = self.loaded.input
        run = {
            "id": self.run_id,
            "workflow": self.loaded.name,
            "version": self.loaded.version,
            "mode": self.mode,
            "started_at": self.loaded.started_at.isoformat() if self.loaded.started_at else None,
        }
        scope: dict[str, Json] = {
            "input": {**dict.fromkeys(declared), **given} if isinstance(given, dict) else given,
            "nodes": {},
            "errors": {},
            "vars": {},
            "run": run,
            "env": dict(self.engine.variables),
        }
        if self.player:
            scope = self.player.scope(scope)
        first = await self.render(self.plan.variables, scope)
        self.vars = scope["vars"] = {**first, **self.vars}
        return scope

    # -- LangGraph's side --------------------------------------------------------------------------------------------------------

    async def advance(self, allowed: frozenset[str]) -> list[dict[str, Any]] | None:
        """Runs the top-level steps `allowed`; None when all are resolved, the open waits when the run was parked."""
        return await self.pursue(self.root.run(allowed))

    def checkpoint(self, row: dict[str, Any]) -> None:
        """Takes a checkpoint into the next journal entry."""
        if not self.settled:
            self.checkpointed = True
            self.outbox.entry.checkpoints.append(row)

    # -- steps -------------------------------------------------------------------------------------------------------------------

    def count_step(self) -> None:
        self._steps += 1
        if not self.ending and self._steps > self.plan.definition.settings.max_steps:
            limit = self.plan.definition.settings.max_steps
            raise RunFailed("max_steps", f"the run has made more than {limit:,} steps (settings.max_steps)")

    def skip(self, position: str, node: NodePlan) -> None:
        """Notes that a node was not reached."""
        if position in self.records:
            return
        now = self.now()
        record = Record(node_id=node.id, node_type=node.kind.name, attempt=1, state="skipped", started_at=now, taken=[])
        self.records[position] = record
        self.outbox.record(position, record, finished_at=now)

    def interrupted(self, position: str) -> bool:
        """Whether a call at this position was under way when an earlier driver of the run died."""
        return position in self.doubtful and self.records[position].state == "running"

    def noted(self, error: BaseException) -> int:
        """When a failure was recorded: of several at one moment the first speaks, whatever order their tasks come in."""
        record = self.records.get(error.error.get("position", "")) if isinstance(error, StepFailed) else None
        return record.seq if record else 0

    def reopen(self, chosen: Callable[[str], bool], due: datetime) -> None:
        """Lets what failed in a group, and what was cancelled with it, be tried again at `due`; a call that failed in doubt is no policy's
        to repeat."""
        for position, record in self.records.items():
            doubtful = record.error is not None and record.error.get("code") == "in_doubt"
            if record.state in ("failed", "cancelled") and record.taken is None and not doubtful and chosen(position):
                record.retry_at = due
                self.outbox.record(position, record, finished_at=self.now())

    def abandon(self, prefix: str, body: BodyPlan) -> None:
        """Closes what an earlier driver left under way in a body that is not gone on with."""
        self._close(lambda place: within(place, prefix, body))

    def abandon_inner(self, position: str) -> None:
        """The same for the steps that the one at `position` has run by context.step."""
        self._close(lambda place: place.startswith(f"{position}/"))

    def _close(self, chosen: Callable[[str], bool]) -> None:
        for position, record in list(self.records.items()):
            if record.state in UNDER_WAY and chosen(position):
                doubtful = record.effect == Effect.WRITE_ONCE and record.state == "running"
                record.state = "ambiguous" if doubtful else "cancelled"
                self.outbox.record(position, record, finished_at=self.now())
        for place in [place for place in self.waits if chosen(place)]:
            self.drop_wait(place)

    # -- how the run ends --------------------------------------------------------------------------------------------------------

    async def settle(self, state: str, *, output: Json = None, error: Json = None, event: Happening, dead: bool = False) -> None:
        """Ends the run, durably, and gives up the lease."""
        self.outbox.tell(event, level="business", data=error)
        compact = self.checkpointed or self.claimed.fence > 1  # an earlier driver may have left some
        self.outbox.entry.settle = {"state": state, "output": output, "error": error, "dead": dead, "compact": compact}
        await self.outbox.send()
        self.settled = True

    def undoable(self) -> bool:
        """Whether anything was done, or may have been, that says how to undo it."""
        return bool(undoable(self) or unsure(self))

    async def begin_ending(self, ending: dict[str, Any]) -> None:
        """Records how the run will end once what it has done is undone."""
        self.ending = True
        self.outbox.entry.ending = ending
        self.outbox.tell(("run.compensating", "Undoing what was done"), level="business")
        await self.outbox.send()

    async def undo_all(self, left: list[str]) -> None:
        """Undoes every completed step, the last first. Positions of those that could not be, or are in doubt, are added to `left`."""
        for position, record in undoable(self):
            if not await undo(self, position, record, self._enter):
                left.append(position)
        left += unsure(self)

    def _enter(self, body: BodyRun) -> None:
        self.root = body

    def compensated(self, position: str, attempt: int) -> None:
        """Notes, with the receipt of what undid it, that a step is undone."""
        self.records[position].state = "compensated"
        self.outbox.entry.compensated.append({"position": position, "attempt": attempt})

    # -- values ------------------------------------------------------------------------------------------------------------------

    async def render(self, template: Template, scope: Mapping[str, Json]) -> Json:
        if template.constant:
            return template.value
        return template.resolve(scope) if template.plain else await self.engine.evaluator.render(template, scope)

    async def evaluate(self, expression: str, scope: Mapping[str, Json]) -> Json:
        return await self.engine.evaluator.evaluate(expression, scope)

    async def simulate(self, step: Step, record: Record, config: Any) -> Answer | None:
        """In a test run: the mock, the pin, or a sample of the output schema, instead of an effect or a wait; in a replay the record."""
        if self.player:
            return await self.player.play(step, record, config)
        node = step.plan
        mocks: dict[str, Json] = self.loaded.mocks or {}
        if node.id in mocks and node.inner is None:
            return Answer(mocks[node.id])
        if "pin" in node.node.model_fields_set:
            return Answer(node.node.pin)
        if node.kind.inner:
            return None  # its own steps are simulated
        if reaches(node, config):
            return Answer(sample(node.kind.output(config)))
        return None
