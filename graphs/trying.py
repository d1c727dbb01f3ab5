"""Trying a patch on the recording of the run that it is to mend: it holds when the run, replayed on it, succeeds for what it changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graphs import authoring, patches, replaying
from graphs.checks import check
from graphs.comparing import Divergence
from graphs.definition import Json
from graphs.engine.cassette import Recording
from graphs.knowing import known_to
from graphs.positions import nodes_of, pointer_of
from graphs.rebasing import Patch, in_words, owner, rebased, value_at
from graphs.replaying import Replay
from graphs.reproducing import Repro
from graphs.runtime import Actor, Runtime
from store import runs as run_rows
from store import workflows
from store.errors import Conflict, Invalid

LISTED = 10  # simulated steps that are named
OTHERWISE = frozenset({"config", "output", "state", "error", "type", "missing"})  # a recorded step came to something else
SPARED = 3  # changes of which it is tried whether the run is mended without them


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a patch is tried. `live_reads`: the failing call may be made when it only reads; `mocks`: outputs by node id for steps of which
    nothing is recorded."""

    patch: Patch
    live_reads: bool = False
    mocks: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A patch that was tried. `ok`: it held, and may be offered. `reason`: why not, or what was seen. `diff`: in words; `patch`: against
    the draft as it is now, None with `conflict` where that does not take it. `simulated`: positions of steps whose outcome nobody knows, so
    that a mock or something made up stood for it; `sampled`: the failing call is among them. `why`: in the words of the model."""

    ok: bool
    reason: str
    diagnostics: tuple[dict[str, Any], ...] = ()
    diff: tuple[str, ...] = ()
    patch: tuple[dict[str, Any], ...] | None = None
    workflow: str | None = None
    base_revision: int | None = None
    conflict: str | None = None
    divergence: Divergence | None = None
    simulated: tuple[str, ...] = ()
    sampled: bool = False
    replay: Replay | None = None
    repro: Repro | None = None
    why: str = ""
    rounds: int = 0
    given: Patch = field(default_factory=list[dict[str, Any]])


async def tried(runtime: Runtime, actor: Actor, recording: Recording, order: Order) -> Proposal:
    """Raises Invalid for a patch that does not apply, and for mocks of nodes that are not there."""
    before = recording.definition
    document = authoring.patched(before, order.patch)
    workflow = await _workflow(actor, recording)
    made = Proposal(ok=False, reason="", diff=tuple(in_words(before, order.patch)), given=order.patch)
    if workflow:
        made = replace(made, workflow=workflow.name, base_revision=workflow.revision)
    report = await check(document, runtime.evaluator, await known_to(actor.tenant, document))
    made = replace(made, diagnostics=tuple(item.as_json() for item in report.diagnostics))
    if not report.ok:
        first = next(item for item in report.diagnostics if item.severity == "error")
        return replace(made, reason=f"the patched definition is not valid: {first.message} (at {first.pointer})")
    if patches.same(before, document):
        return replace(made, reason="the patch changes nothing")
    try:
        found = await _replayed(runtime, actor, recording, document, order)
    except Invalid as wrong:
        return replace(made, reason=wrong.message)
    sampled = not {_failing(recording), _step(recording)}.isdisjoint(found.simulated)
    made = replace(made, replay=found, divergence=found.divergence, simulated=found.simulated, sampled=sampled)
    if reason := _objection(found, recording, document) or await _needless(runtime, actor, recording, order, found):
        return replace(made, reason=reason)
    return replace(made, ok=True, reason=_seen(found, _step(recording)), **await rebased(runtime, actor, before, workflow, order.patch))


async def _workflow(actor: Actor, recording: Recording) -> workflows.Workflow | None:
    loaded = await run_rows.load_run(actor.tenant, recording.head.id)
    return await workflows.find(actor.tenant, loaded.workflow_id) if loaded and loaded.workflow_id else None


async def _replayed(runtime: Runtime, actor: Actor, recording: Recording, document: Json, order: Order) -> Replay:
    live = _failing(recording) if order.live_reads else None
    how: dict[str, Any] = {"on_divergence": "simulate", "answers": dict(order.mocks), "live": live}
    return await replaying.replay(runtime, actor, recording.head.id, document, **how)


def _failing(recording: Recording) -> str | None:
    """Where the run failed; None for a run that was cancelled, ran out of time or was stopped as a whole."""
    error: dict[str, Any] = recording.head.error or {}
    return error.get("position")


def _step(recording: Recording) -> str | None:
    """The step of the definition that failed: where a run failed inside of an agent, the agent."""
    at = position = _failing(recording)
    while at and pointer_of(recording.definition, _node(at)) is None:
        at = at.rpartition("/")[0]
    return at or position


# -- what speaks against it ------------------------------------------------------------------------------------------------------


def _objection(found: Replay, recording: Recording, document: Json) -> str | None:
    """Why a replay does not speak for a patch; None when it does."""
    position = _step(recording)
    if found.run.state != "succeeded":
        error: dict[str, Any] = found.run.error or {"message": f"it has {found.run.state}, as it did"}
        where = error.get("position")
        same = where and where in (position, _failing(recording))
        still = "the failing step still fails" if same else f"the run fails{f' at {where}' if where else ''}"
        return f"{still}: {error['message']}"
    first = found.divergence
    if first is None:
        return "the replay is the same as the recording, which failed"
    if position is None:
        return None
    pointer = pointer_of(document, _node(position))
    if pointer is None or value_at(document, pointer + "/disabled"):
        return f"{position} is not done any more: a failing step is mended, and not left out"
    if _still_fails(found, position) and _told(found, position) & {"config", "type", "error"}:
        return f"{position} still fails, in another way"
    if value_at(document, pointer + "/on_error") == "continue" and (silenced := _silenced(found, recording, document, position)):
        return f"the failing step still fails, and {silenced} goes on with nothing in place of what it comes to"
    if first.position and not first.cause:
        return f"something else happens at {first.position}, which the patch does not change: {first.message}"
    return None


def _silenced(found: Replay, recording: Recording, document: Json, position: str) -> str | None:
    """Who uses the output of a step whose failure is passed over as if there were one: a step as it was, or the result of the run."""
    if not _still_fails(found, position):
        return None
    uses = re.compile(rf"\bnodes(?:\.{_node(position)}\b|\[\\?['\"]{_node(position)}\\?['\"]\])")
    ran = {_node(at) for at, state in found.states.items() if state != "skipped"} - found.changed
    for pointer, id in nodes_of(document):
        if id in ran and uses.search(json.dumps(value_at(document, pointer))):
            return id
    output = value_at(document, "/output")
    same = patches.same(output, value_at(recording.definition, "/output"))
    return "the result of the run" if same and uses.search(json.dumps(output)) else None


def _still_fails(found: Replay, position: str) -> bool:
    """Whether the step, wherever it stands by now, fails in the replay too."""
    return any(state == "failed" and _node(at) == _node(position) for at, state in found.states.items())


async def _needless(runtime: Runtime, actor: Actor, recording: Recording, order: Order, found: Replay) -> str | None:
    """What else the patch makes of a step that had gone well, though the run is mended without that too."""
    position = _failing(recording)
    if position is None:
        return None
    others = [one for one in (found.divergence, *found.further) if one and one.cause and one.what in OTHERWISE]
    for one in [one for one in others if not _at_or_around(one.position, position)][:SPARED]:
        rest = [operation for operation in order.patch if (owner(recording.definition, operation["path"]) or ("", ""))[1] != one.node]
        if rest and len(rest) < len(order.patch) and await _holds(runtime, actor, recording, replace(order, patch=rest)):
            return f"something else happens before the failing step {position}, and the run is mended without that: {one.message}"
    return None


async def _holds(runtime: Runtime, actor: Actor, recording: Recording, order: Order) -> bool:
    try:
        document = authoring.patched(recording.definition, order.patch)
        return _objection(await _replayed(runtime, actor, recording, document, order), recording, document) is None
    except (Invalid, Conflict):
        return False


def _told(found: Replay, position: str) -> set[str]:
    return {one.what for one in (found.divergence, *found.further) if one and one.position == position}


def _node(position: str) -> str:
    return position.rpartition("/")[2].partition(":")[0].partition("[")[0]


def _at_or_around(one: str, position: str) -> bool:
    """Whether it is the failing step, or a group around it."""
    return one == position or position.startswith((f"{one}/", f"{one}["))


# -- what was seen ---------------------------------------------------------------------------------------------------------------


def _seen(found: Replay, position: str | None) -> str:
    """What the replay shows, and what it cannot."""
    first = found.divergence
    words = ["the run, replayed on the patched definition, succeeds"]
    if position and _still_fails(found, position):
        words.append(f"{position} fails as it did, and the run goes on")
    elif position and not any(_node(at) == _node(position) and state != "skipped" for at, state in found.states.items()):
        words.append(f"{position} is not reached any more for this input")
    if found.simulated:
        names = ", ".join(found.simulated[:LISTED]) + (", …" if len(found.simulated) > LISTED else "")
        since = f"everything up to {first.position} is as recorded, from there on it is new" if first and first.position else "it is new"
        count = len(found.simulated)
        words.append(f"{since}: nobody knows what {count} step{'s' * (count > 1)} would have come to, so a stand-in was used ({names})")
    return "; ".join(words)
