"""The past of runs: the state as it was when any step began or ended, what differs between two moments, and what was done to the world."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from graphs import runs
from graphs.definition import Json
from graphs.documents import is_object
from graphs.expressions import ExpressionError, Template
from graphs.parting import UNDO
from graphs.patches import patch_of
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from store import history, node_runs
from store import runs as run_rows
from store.errors import Conflict, Invalid, NotFound
from store.history import Effect, Settled
from store.node_runs import NodeRun
from store.payloads import Part
from store.runs import Loaded

Moment = Literal["before", "after"]
MAX_STATE = 20_000_000  # characters of outputs that a state may hold
MAX_COMPARED = 4_000_000  # and that may be compared
OTHER = re.compile(r"([0-9a-fA-F]{8}-[0-9a-fA-F-]{27})(?:@(.+))?")
ENDED = frozenset({"succeeded", "failed", "skipped", "cancelled", "ambiguous", "compensated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A moment of a run. `position` None: now, or the end of a run that is over."""

    run_id: str
    position: str | None
    attempt: int | None
    moment: Moment

    def as_json(self) -> Json:
        if self.position is None:
            return {"run_id": self.run_id}
        return {"run_id": self.run_id, "position": self.position, "attempt": self.attempt, "moment": self.moment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What expressions saw at that moment: input, vars, nodes and errors, the steps by position."""

    at: Point
    state: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`patch` makes the second state of the first."""

    first: Point
    second: Point
    patch: list[dict[str, Any]]


async def state(runtime: Runtime, actor: Actor, run_id: str, node: str | None = None, moment: Moment = "before") -> Past:
    """The state when a step ("position" or "position@attempt") began, or after it had ended; without one, the state now.
    Raises NotFound with the nearest positions, Conflict when it has not ended."""
    return await _past(runtime, actor, run_id, node, moment, MAX_STATE)


async def diff(
    runtime: Runtime, actor: Actor, run_id: str, node: str | None = None, other: str | None = None, moment: Moment = "before"
) -> Difference:
    """What differs between the state at `node` of this run and at `other`: "position[@attempt]" of this run, or "<run id>[@position]",
    where without a position the same one counts. Without `other`, the state now."""
    await runs.get(runtime, actor, run_id)
    run = OTHER.fullmatch(other or "")
    place = (run[2] or node) if run else other
    if run is None and node is None and other is None:
        raise Invalid("say what to compare: node, other, or both")
    first = await _past(runtime, actor, run_id, node, moment, MAX_COMPARED)
    second = await _past(runtime, actor, run[1].lower() if run else run_id, place, moment, MAX_COMPARED)
    return Difference(first=first.at, second=second.at, patch=await patch_of(first.state, second.state))


async def effects(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0, limit: int = 100) -> list[Effect]:
    """Every call of the run that changes something outside, in the order in which they settled."""
    await runs.get(runtime, actor, run_id)
    return await history.effects(actor.tenant, run_id, after=after, limit=limit)


def in_words(effect: Effect) -> str:
    """What is known of an effect."""
    answer: Json = effect.answer
    decision = answer.get("decision") if is_object(answer) else None
    if effect.state == "succeeded" and decision == "happened":
        return f"confirmed by {effect.answered_by}: it happened"
    if effect.state in ("ambiguous", "waiting"):
        said = f"; {effect.answered_by} said {decision}" if decision else ""
        return f"ambiguous: not known whether it happened{said}"
    return {
        "running": "intent: the call is under way",
        "retrying": "failed, to be tried again",
        "succeeded": "receipt: done",
        "failed": "failed",
        "cancelled": "cancelled",
        "compensated": "compensated: done, and undone",
    }.get(effect.state, effect.state)


async def payload(runtime: Runtime, actor: Actor, run_id: str, digest: str, *, offset: int = 0, limit: int = 6_000) -> Part:
    """Part of the JSON text of a large value of the run. Raises NotFound."""
    await runs.get(runtime, actor, run_id)
    found = await history.payload(actor.tenant, run_id, digest.lower(), offset=offset, limit=limit)
    if found is None:
        raise NotFound(f"this run has no value with the digest {digest!r}; digests are in the trace, beside input_ref and output_ref")
    return found


# -- a moment --------------------------------------------------------------------------------------------------------------------


async def _past(runtime: Runtime, actor: Actor, run_id: str, node: str | None, moment: Moment, most: int) -> Past:
    await runs.get(runtime, actor, run_id)
    weight = await history.weight(actor.tenant, run_id)
    if weight.characters > most:
        raise Invalid(
            f"the outputs of this run are {weight.characters:,} characters, and at most {most:,} are read at once; read single steps"
        )
    step = await _step(actor, run_id, node) if node is not None else None
    if step is None:
        rows = await history.settled(actor.tenant, run_id)
    elif moment == "before":
        rows = await history.settled(actor.tenant, run_id, at=step.started_at)
    elif step.state in ENDED:
        rows = await history.settled(actor.tenant, run_id, seq=step.seq)
    else:
        raise Conflict(f"{step.position} has not ended: it is {step.state}. The state when it began is there")
    loaded = await run_rows.load_run(actor.tenant, run_id)
    assert loaded is not None  # noqa: S101 it was there a moment ago
    if step is not None and moment == "before":
        rows = [row for row in rows if (row.position, row.attempt) != (step.position, step.attempt)]
    at = Point(run_id=run_id, position=step.position if step else None, attempt=step.attempt if step else None, moment=moment)
    return Past(at=at, state=_state(loaded, await _first_vars(runtime, actor, loaded), rows))


async def _step(actor: Actor, run_id: str, node: str) -> NodeRun:
    position, _, attempt = node.rpartition("@")
    if position and attempt.isdecimal() and len(attempt) < 10:
        found = await node_runs.attempt(actor.tenant, run_id, position, int(attempt))
    else:
        found = await node_runs.find(actor.tenant, run_id, node)
    if found is None:
        known = await node_runs.positions(actor.tenant, run_id)
        raise NotFound(f"no step {node!r} in this run. " + nearest(node, known, "It has"))
    return found


def _state(loaded: Loaded, vars: dict[str, Json], rows: list[Settled]) -> dict[str, Json]:
    undone = {found[1] for row in rows if row.state == "succeeded" and (found := UNDO.fullmatch(row.position))}
    for row in rows:
        vars |= row.vars or {}
    shown = [row for row in rows if not row.position.startswith("#") and not UNDO.fullmatch(row.position)]
    done = [row for row in shown if row.state == "succeeded" or (row.state == "compensated" and row.position not in undone)]
    return {
        "input": loaded.input,
        "vars": vars,
        "nodes": {row.position: _output(row) for row in done},
        "errors": {row.position: row.error for row in shown if row.error is not None and row.state != "succeeded"},
    }


def _output(row: Settled) -> Json:
    if row.output_digest is None:
        return row.output
    return {"digest": row.output_digest, "size": row.output_size, "preview": row.output_preview}


async def _first_vars(runtime: Runtime, actor: Actor, loaded: Loaded) -> dict[str, Json]:
    """The run variables before any step set them, as the engine works them out; none where that fails, for then no step has run."""
    body: Json = await run_rows.definition(actor.tenant, loaded.digest)
    if not is_object(body) or not body.get("vars"):
        return {}
    properties: dict[str, Json] = body.get("input", {}).get("properties") or {}
    given: Json = loaded.input
    run = {"id": loaded.id, "workflow": loaded.name, "version": loaded.version, "mode": loaded.mode}
    scope: dict[str, Json] = {
        "input": {**dict.fromkeys(properties), **given} if is_object(given) else given,
        "nodes": {},
        "errors": {},
        "vars": {},
        "run": {**run, "started_at": loaded.started_at.isoformat() if loaded.started_at else None},
        "env": dict(runtime.variables),
    }
    try:
        template = Template.compile(body["vars"])
        return dict(template.value if template.constant else await runtime.evaluator.render(template, scope))
    except ExpressionError:
        return {}
