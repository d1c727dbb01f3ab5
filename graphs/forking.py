"""Forks and re-runs: a new run that repeats another one, from its start or from any step, as it was or with something changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from graphs import authoring, runs
from graphs.definition import Json
from graphs.engine.plan import Plan
from graphs.inputs import check_input
from graphs.parting import FORGOTTEN, Parting
from graphs.pinning import nearest, pinned
from graphs.positions import Place, locate
from graphs.runtime import Actor, Runtime
from graphs.steering import check_output, fits_branches, planned
from store import events as event_rows
from store import forks, node_runs, workflows
from store import runs as run_rows
from store.errors import Conflict, Invalid, NotFound
from store.forks import Kept, Outline
from store.postgres import Session
from store.runs import Loaded, NewRun, Run

MAX_STEPS = 100_000  # of a run that can be forked
Wanted = int | Literal["active", "draft"] | None
"""A version: by its number, the active one, the draft, or (None) what the run has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the new run runs. `body` is the definition, `digest` (hexadecimal) its address."""

    name: str
    version: int | None
    digest: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be different: outputs of steps by position or node id, run variables, the input of the run (None: as it was)."""

    edits: Mapping[str, Json]
    vars: Mapping[str, Json]
    input: Json = None


async def rerun(runtime: Runtime, actor: Actor, run_id: str, *, version: Wanted = None, input: Json = None) -> Run:
    """Starts the same once more, from the start. Raises NotFound, and Invalid when the input does not fit that version."""
    source = await _source(runtime, actor, run_id)
    target = await _target(runtime, actor, source, version)
    new = await _new(runtime, actor, source, target, _input(source, target, input))
    async with actor.tenant.transaction() as transaction:
        fork_id = (await run_rows.start(transaction, new)).run_id
        await forks.mark(transaction, fork_id, run_id=run_id, at=None)
        await _tell(transaction, actor, run_id, fork_id, "its start")
    return await _started(runtime, actor, fork_id)


async def fork(runtime: Runtime, actor: Actor, run_id: str, *, node: str | None = None, changes: Changes, version: Wanted = None) -> Run:
    """Starts a run that continues another one: what that one finished stays, but for the step `node` (a position or node id), the steps
    whose output is edited, and all that follows either. Raises NotFound with the nearest positions, Invalid or Conflict."""
    source = await _source(runtime, actor, run_id)
    if node is None and version is None and not (changes.edits or changes.vars or changes.input is not None):
        raise Invalid(
            "say where the new run parts from this one: node, a position from the trace; or what is different, by edits or version"
        )
    target = await _target(runtime, actor, source, version)
    new = await _new(runtime, actor, source, target, _input(source, target, changes.input))
    _check_vars(target, changes.vars)
    before = await planned(actor, source.digest)
    after = before if target.digest == source.digest else await planned(actor, target.digest)
    async with actor.tenant.transaction() as transaction:
        await forks.lock(transaction, run_id)
        rows = await forks.outline(transaction, run_id, limit=MAX_STEPS + 1)
        if len(rows) > MAX_STEPS:
            raise Conflict(f"the run has more than {MAX_STEPS:,} steps; rerun repeats it from the start")
        parting = Parting(rows, before, after)
        at = _part(parting, rows, after, node, changes.edits)
        fork_id = (await run_rows.start(transaction, new)).run_id
        await forks.copy(transaction, run_id, fork_id, await _inputs(transaction, run_id, parting))
        if changes.vars:
            await forks.set_vars(transaction, fork_id, dict(changes.vars))
        await forks.mark(transaction, fork_id, run_id=run_id, at=at)
        await _tell(transaction, actor, run_id, fork_id, at or "where it is")
    return await _started(runtime, actor, fork_id)


# -- what is run -----------------------------------------------------------------------------------------------------------------


async def _source(runtime: Runtime, actor: Actor, run_id: str) -> Loaded:
    await runs.get(runtime, actor, run_id)
    loaded = await run_rows.load_run(actor.tenant, run_id)
    assert loaded is not None  # noqa: S101 it was there a moment ago
    return loaded


async def _target(runtime: Runtime, actor: Actor, source: Loaded, version: Wanted) -> Target:
    if version is None or (version == source.version and source.workflow_id):
        body = await run_rows.definition(actor.tenant, source.digest)
        return Target(name=source.name, version=source.version, digest=source.digest, body=body)
    if source.workflow_id is None:
        raise Invalid("this run is of a definition that was not saved as a workflow, so there is no other version of it")
    if version == "draft":
        return await _draft(runtime, actor, source.workflow_id)
    try:
        found = await pinned(actor.tenant, source.workflow_id, None if version == "active" else version)
    except NotFound:
        numbers = [str(item.number) for item in await workflows.list_versions(actor.tenant, source.workflow_id)][:10]
        raise NotFound(f"{source.name} has no version {version}; there are: {', '.join(numbers)}") from None
    return Target(name=found.name, version=found.version, digest=found.digest.hex(), body=found.body)


async def _draft(runtime: Runtime, actor: Actor, workflow_id: str) -> Target:
    workflow = await authoring.get(runtime, actor, workflow_id)
    report = await authoring.check(runtime, actor, workflow.draft)
    if not report.ok:
        first = next(item for item in report.diagnostics if item.severity == "error")
        raise Invalid(f"the draft of {workflow.name} is not valid: {first.message} (at {first.pointer})")
    return Target(name=workflow.name, version=None, digest=workflow.draft_digest.hex(), body=workflow.draft)


def _input(source: Loaded, target: Target, given: Json) -> Json:
    found = source.input if given is None else given
    runs.check_size(found)
    if given is not None or target.digest != source.digest:
        check_input(target.body.get("input") or {}, found)
    return found


def _check_vars(target: Target, vars: Mapping[str, Json]) -> None:
    declared = list(target.body.get("vars") or {})
    for name, value in vars.items():
        if name not in declared:
            raise Invalid(f"there is no run variable {name!r}. " + nearest(name, declared, "The workflow declares"))
        check_output(value)


# -- where they part -------------------------------------------------------------------------------------------------------------


def _part(parting: Parting, rows: list[Outline], target: Plan, node: str | None, edits: Mapping[str, Json]) -> str | None:
    """Says where the runs part, to `parting`, and answers with the position."""
    first = _place(rows, target, node) if node else None
    if first is not None:
        parting.cut(first)
    edited = {wanted: _place(rows, target, wanted) for wanted in edits}
    for wanted, place in edited.items():
        check_output(edits[wanted])
        fits_branches(place.node, edits[wanted])
        if place == first:
            raise Invalid(f"{place.position} cannot both run anew and keep an edited output: leave out node, and the fork begins behind it")
        parting.edit(place, edits[wanted])
    parting.redo_undone()
    if lost := parting.lost_edits():
        raise Invalid(f"the edit of {lost[0]} would be lost, since that step runs anew: it follows a step that does, or holds one")
    return first.position if first else ", ".join(place.position for place in edited.values())[:500] or None


def _place(rows: list[Outline], target: Plan, wanted: str) -> Place:
    """The step of the target that a position or node id of the run names."""
    named = [row for row in rows if row.position == wanted] or [row for row in rows if row.node_id == wanted]
    row = max(named, key=lambda row: row.started_at, default=None)
    if row is None:
        known = [row.position for row in rows if not row.position.startswith("#")]
        raise NotFound(f"no step {wanted!r} in this run. " + nearest(wanted, known, "It has"))
    place = locate(target, row.position, row.node_type)
    if place is None:
        reason = (
            "is a compensation, which only follows the step it undoes" if "~" in row.position else "is not in that version of the workflow"
        )
        raise Invalid(f"the runs cannot part at {row.position}: it {reason}")
    return place


async def _inputs(session: Session, run_id: str, parting: Parting) -> list[Kept]:
    """What stays, with the input of groups that are entered again freed from decisions that no longer hold."""
    kept = parting.kept()
    for number, item in enumerate(kept):
        if item.how == "entered" and parting.entered(item.position):
            row = await node_runs.attempt(session, run_id, item.position, item.attempt)
            forgotten = tuple(name for name in FORGOTTEN if name != "#caught" or not parting.keeps_caught(item.position))
            given: dict[str, Any] = (row and row.input) or {}
            left = {name: value for name, value in given.items() if not name.startswith(forgotten)}
            if len(left) < len(given):
                kept[number] = replace(item, input=left)
    return kept


# -- the new run -----------------------------------------------------------------------------------------------------------------


async def _new(runtime: Runtime, actor: Actor, source: Loaded, target: Target, input: Json) -> NewRun:
    return await runs.new_run(
        runtime,
        actor,
        target.body,
        workflow_id=source.workflow_id,
        version=target.version,
        digest=bytes.fromhex(target.digest),
        name=target.name,
        mode=source.mode,
        mocks=source.mocks,
        input=input,
        private_to=source.private_to,
    )


async def _tell(session: Session, actor: Actor, run_id: str, fork_id: str, at: str) -> None:
    by = f"by {actor.user_name}"
    await event_rows.append(session, run_id, "run.forked", f"Forked at {at} {by}, as run {fork_id}", data={"run_id": fork_id})
    await event_rows.append(session, fork_id, "run.forked", f"Forked from run {run_id} at {at} {by}", data={"run_id": run_id})
    await run_rows.notify(session, fork_id)


async def _started(runtime: Runtime, actor: Actor, fork_id: str) -> Run:
    runtime.engine.wake()
    return await runs.get(runtime, actor, fork_id)
