"""Steering runs: cancel, pause, resume, retry, requeue and skip, for one run or for all that a filter finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from graphs import runs
from graphs.definition import Definition, Json, seconds
from graphs.documents import is_object
from graphs.engine.plan import NodePlan, Plan
from graphs.engine.plan import plan as make_plan
from graphs.inputs import check_input
from graphs.pinning import nearest
from graphs.positions import Place, locate, positions_of
from graphs.runtime import Actor, Runtime
from store import events as event_rows
from store import jsontext, node_runs, steering
from store import runs as run_rows
from store.errors import Conflict, Invalid, NotFound
from store.node_runs import NodeRun
from store.postgres import Session
from store.runs import Run
from store.steering import ALLOWED, Selection

Action = Literal["cancel", "pause", "resume", "retry", "requeue"]
MAX_OUTPUT = 1_000_000  # characters of JSON, as of any step
MAX_RUNS = 10_000  # that one filter may change
BATCH = 200
FIRST = 10  # ids that a count shows
NAMES = {"cancel": "Cancel", "pause": "Pause", "resume": "Resume", "retry": "Retry", "requeue": "Requeue"}


async def control(runtime: Runtime, actor: Actor, run_id: str, action: Action, *, compensate: bool | None = None) -> Run:
    """Cancels, pauses, resumes, retries or requeues. `compensate`: a cancel first undoes what the run has done, or does not, whatever the
    workflow says. Raises Conflict when the run's state does not allow it."""
    run = await runs.get(runtime, actor, run_id)
    async with actor.tenant.transaction() as transaction:
        if not await steering.request(transaction, [run_id], action, compensate=compensate):
            raise Conflict(_refusal(run, action))
        await event_rows.append(transaction, run_id, f"run.{action}_requested", f"{NAMES[action]} asked by {actor.user_name}")
        await run_rows.notify(transaction, run_id)
    runtime.engine.look(actor.tenant.org_id, run_id)
    return await runs.get(runtime, actor, run_id)


def _refusal(run: Run, action: Action) -> str:
    if action == "requeue" and run.state == "failed":
        return "recovery has not given this run up: it failed by itself, and retry goes on with it"
    wanted = {
        "cancel": "only a run that is not finished can be cancelled",
        "pause": "only a run that is queued, running or waiting can be paused",
        "resume": "only a paused run can be resumed",
        "retry": "only a failed or cancelled run can be retried",
        "requeue": "only a run that recovery has given up (list_runs shows them with state dead) can be requeued",
    }
    return f"the run is {run.state}: {wanted[action]}"


# -- skip ------------------------------------------------------------------------------------------------------------------------


async def skip(runtime: Runtime, actor: Actor, run_id: str, wanted: str, output: Json) -> Run:
    """Makes a step (a position or node id) count as done with `output`; the run goes on behind it, a paused one once it is resumed.
    Raises Conflict for a run or step whose state does not allow it, NotFound naming the nearest positions, Invalid for the output."""
    run = await runs.get(runtime, actor, run_id)
    check_output(output)
    loaded = await run_rows.load_run(actor.tenant, run_id)
    assert loaded is not None  # noqa: S101 it was there a moment ago
    plan = await planned(actor, loaded.digest)
    async with actor.tenant.transaction() as transaction:
        if not await steering.request(transaction, [run_id], "retry" if run.state in ("failed", "cancelled") else "wake"):
            now = await runs.get(runtime, actor, run_id)
            raise Conflict(_cannot_skip(now))
        row = await node_runs.find(transaction, run_id, wanted)
        place = await _skippable(transaction, plan, run_id, wanted, row)
        fits_branches(place.node, output)
        node = place.node
        await steering.skip(transaction, run_id, position=place.position, node_id=node.id, node_type=node.kind.name, output=output)
        message = f"{place.position} counted as done by {actor.user_name}"
        await event_rows.append(transaction, run_id, "run.skip_requested", message, position=place.position)
        await run_rows.notify(transaction, run_id)
    runtime.engine.look(actor.tenant.org_id, run_id)
    return await runs.get(runtime, actor, run_id)


def _cannot_skip(run: Run) -> str:
    if run.state == "running":
        return "the run is running: pause it first, and skip the step once it is paused"
    return f"the run is {run.state}: there is nothing left to skip. fork makes a new run of it that parts from this one at any step"


async def _skippable(session: Session, plan: Plan, run_id: str, wanted: str, row: NodeRun | None) -> Place:
    place = locate(plan, row.position if row else wanted, row.node_type if row else None)
    if place is None:
        known = await node_runs.positions(session, run_id)
        raise NotFound(f"no step {wanted!r} in this run. " + nearest(wanted, dict.fromkeys([*known, *positions_of(plan)]), "It has"))
    if (
        row is None
        and place.parent is not None
        and not any(known.startswith(place.prefix) for known in await node_runs.positions(session, run_id))
    ):
        raise Conflict(f"{place.parent.position} has not come to {wanted!r} yet; skip it as a whole, or wait until it has")
    if row is not None and (row.state in ("succeeded", "skipped") or row.taken is not None):
        over = (
            "has succeeded" if row.state == "succeeded" else "was not reached" if row.state == "skipped" else f"has {row.state} and led on"
        )
        raise Conflict(f"{row.position} {over}, so there is nothing to skip. fork with edits gives it another output, in a new run")
    return place


# -- many runs -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which runs an action on many is for; None: whatever it is. `state` may be "dead"; `older_than` a duration since they were created."""

    workflow: str | None = None
    state: str | None = None
    mode: str | None = "production"
    error_code: str | None = None
    older_than: str | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What an action on many runs would do: `count` runs can take it, the oldest of them are `first`."""

    count: int
    first: list[str]


async def count(runtime: Runtime, actor: Actor, action: Action, filter: Filter) -> Counted:
    """Changes nothing. Raises Invalid for a filter that cannot be, or that is none."""
    selection = _selection(actor, action, filter)
    first = await steering.matching(actor.tenant, selection, after=None, limit=FIRST)
    return Counted(count=await steering.count(actor.tenant, selection), first=first)


async def control_many(
    runtime: Runtime, actor: Actor, action: Action, filter: Filter, *, expect: int, compensate: bool | None = None
) -> AsyncIterator[int]:
    """Does it, in batches, and yields how many runs it has been done to so far. Raises Conflict, with nothing done, when the filter does
    not find `expect` runs any more; Invalid when they are too many."""
    selection = _selection(actor, action, filter)
    found = await steering.count(actor.tenant, selection)
    if found != expect:
        raise Conflict(
            f"the filter finds {found:,} runs by now, not {expect:,}: nothing was done. Look at them again and give expect={found}"
        )
    if found > MAX_RUNS:
        raise Invalid(f"the filter finds {found:,} runs; at most {MAX_RUNS:,} are changed at once. Narrow it, by workflow or older_than")
    done, after = 0, None
    for _ in range(0, found, BATCH):
        ids = await steering.matching(actor.tenant, selection, after=after, limit=BATCH)
        if not ids:
            break
        after = ids[-1]
        async with actor.tenant.transaction() as transaction:
            changed = await steering.request(transaction, ids, action, compensate=compensate)
            await steering.tell(transaction, changed, f"run.{action}_requested", f"{NAMES[action]} asked by {actor.user_name}, with others")
        for run_id in changed:
            runtime.engine.look(actor.tenant.org_id, run_id)
        done += len(changed)
        yield done


def _selection(actor: Actor, action: Action, filter: Filter) -> Selection:
    if action not in get_args(Action):
        raise Invalid(f"{action!r} is for one run; many runs can be {', '.join(get_args(Action))}")
    if (
        filter.workflow is None
        and filter.state is None
        and filter.error_code is None
        and filter.older_than is None
        and filter.created_before is None
    ):
        raise Invalid("the filter is empty: say which runs by workflow, state, error_code, older_than or created_before")
    dead = filter.state == "dead" or action == "requeue"
    state = "failed" if filter.state == "dead" else filter.state
    if state is not None and state not in runs.STATES:
        raise Invalid(f"state {state!r} is none of {', '.join((*runs.STATES, 'dead'))}")
    if state is not None and state not in ALLOWED[action]:
        raise Invalid(f"{action} is for runs that are {', '.join(ALLOWED[action])}, not {state}")
    return Selection(
        states=(state,) if state else ALLOWED[action],
        dead=dead,
        workflow=filter.workflow,
        mode=filter.mode,
        error_code=filter.error_code,
        older_than=_seconds(filter.older_than),
        created_before=filter.created_before,
        viewer=actor.user_id,
    )


def _seconds(duration: str | None) -> float | None:
    try:
        return None if duration is None else seconds(duration)
    except ValueError as error:
        raise Invalid(f"older_than: {error}") from None


# -- what skip and fork share ----------------------------------------------------------------------------------------------------


async def planned(actor: Actor, digest: str) -> Plan:
    """The plan of a definition by its digest (hexadecimal). Raises Conflict when this version of Weft cannot read it any more."""
    body = await run_rows.definition(actor.tenant, digest)
    if body is None:
        raise NotFound("the definition of this run is gone")
    try:
        return make_plan(Definition.model_validate(body))
    except (ValueError, KeyError) as error:
        raise Conflict(f"this version of Weft cannot read the definition of the run: {str(error)[:300]}") from None


def check_output(output: Json) -> None:
    """An output given by hand is JSON of the size of any output. Raises Invalid."""
    if (size := len(jsontext.text(output))) > MAX_OUTPUT:
        raise Invalid(f"the output is {size:,} characters of JSON; at most {MAX_OUTPUT:,} are kept")


def fits_branches(node: NodePlan, output: Json) -> None:
    """Where an output says which edges are taken, it must say so. Raises Invalid."""
    if node.kind.taken is None or output is None:
        return
    schema: dict[str, Any] = node.kind.output(node.kind.config.model_validate(node.node.config))
    check_input({**schema, "type": "object"}, output, what=f"output of {node.id}")
    decisive = next(iter(schema["properties"]))
    if not is_object(output) or decisive not in output:
        raise Invalid(f"the output of {node.id} must say {decisive!r}, by which its edges are chosen")
