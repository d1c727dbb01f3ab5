"""Replays: a past run run again from its cassette, on its own definition or another, with nothing done for real; and what differed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from graphs import authoring, runs
from graphs.changes import changed
from graphs.checks import check
from graphs.comparing import Comparison, Divergence
from graphs.definition import Definition, Json
from graphs.engine.cassette import Cassette, Recording, cassette
from graphs.engine.plan import plan
from graphs.engine.playing import REPLAY, Policy
from graphs.engine.recording import lines, read
from graphs.inputs import problems
from graphs.knowing import known_to
from graphs.outcomes import digest_of
from graphs.pinning import pinned
from graphs.runtime import Actor, Runtime
from store import runs as run_rows
from store import workflows
from store.errors import Conflict, Invalid, Unavailable
from store.runs import Run

PATIENCE = 60.0  # seconds that a replay may take
LISTED = 20  # further divergences
Version = int | Literal["active", "draft"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay showed. `digest` is that of the replay, `recorded` that of the run; `more`: divergences beyond those listed;
    `simulated`: positions of steps of which nothing was recorded, so that what they came to was made up; `states`: what each came to in the
    replay at last; `changed`: ids of nodes that are not the same in both definitions."""

    run: Run
    of: str
    workflow: str
    equal: bool
    digest: str
    recorded: str
    divergence: Divergence | None
    further: tuple[Divergence, ...]
    more: int
    simulated: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict[str, str])
    changed: frozenset[str] = frozenset()


async def recording_of(runtime: Runtime, actor: Actor, run_id: str) -> Recording:
    """Raises NotFound; Conflict for a run that is not over, is too large, or whose journal is not whole any more."""
    run = await runs.get(runtime, actor, run_id)
    if run.state not in runs.FINISHED:
        raise Conflict(f"run {run_id} is {run.state}: what it will come to is not recorded yet. Replay it when it is over, or cancel it")
    return await read(actor.tenant, run_id)


async def replay(
    runtime: Runtime,
    actor: Actor,
    run_id: str,
    definition: Json = None,
    *,
    on_divergence: Policy = "stop",
    mocks: dict[str, Json] | None = None,
    answers: dict[str, Json] | None = None,
    live: str | None = None,
) -> Replay:
    """Runs a finished run again from what it has left behind, on its own definition or the one given. `answers`: outputs by node id for
    steps of which nothing is recorded. `live`: a position whose call may be made when it asks for something else and only reads. Raises
    NotFound, Conflict, and Invalid for a definition with errors."""
    recording = await recording_of(runtime, actor, run_id)
    order: dict[str, Json] = {"of": recording.head.id, "on_divergence": on_divergence, "live": live, "answers": answers}
    runs.check_mocks(recording.definition if definition is None else definition, answers or {})
    return await _replay(runtime, actor, recording, order, definition, mocks)


async def replay_recording(
    runtime: Runtime,
    actor: Actor,
    recording: Recording,
    definition: Json = None,
    *,
    on_divergence: Policy = "stop",
    mocks: dict[str, Json] | None = None,
) -> Replay:
    """The same with a recording at hand, of a file for example."""
    order: dict[str, Json] = {"lines": [*lines(recording)], "on_divergence": on_divergence}
    return await _replay(runtime, actor, recording, order, definition, mocks)


async def _replay(
    runtime: Runtime, actor: Actor, recording: Recording, order: dict[str, Json], definition: Json, mocks: dict[str, Json] | None
) -> Replay:
    document = recording.definition if definition is None else definition
    if definition is not None:
        await _checked(runtime, actor, document, recording.head.input)
    runs.check_mocks(document, mocks or {})
    new = await runs.new_run(
        runtime,
        actor,
        {**document, "settings": {**(document.get("settings") or {}), "deadline": None}},
        workflow_id=None,
        version=None,
        digest=await workflows.store_definition(actor.tenant, document),
        name=document["name"],
        mode="test",
        input=recording.head.input,
        mocks={**(mocks or {}), REPLAY: order},
    )
    of = await run_rows.get(actor.tenant, recording.head.id)  # a file may come from another house
    private_to = actor.user_id if of and of.private_to else None
    started = await runtime.engine.start(actor.tenant, replace(new, timeout=PATIENCE, private_to=private_to))
    run = await runs.wait(runtime, actor, started.run_id, seconds=PATIENCE)
    if run.state not in runs.FINISHED:
        raise Unavailable(f"the replay, run {run.id}, is not done after {PATIENCE:.0f} s: no worker has time for it")
    now = await read(actor.tenant, run.id)
    return _report(run, _cassette(recording), _cassette(now))


async def _checked(runtime: Runtime, actor: Actor, document: Json, input: Json) -> None:
    report = await check(document, runtime.evaluator, await known_to(actor.tenant, document))
    if not report.ok:
        first = next(item for item in report.diagnostics if item.severity == "error")
        raise Invalid(f"the definition is not valid: {first.message} (at {first.pointer}); validate_workflow shows all problems")
    if found := problems(document.get("input") or {}, input):
        listed = "; ".join(f"input{item['pointer']}: {item['message']}" for item in found)
        raise Invalid(f"the input of the recorded run does not fit this definition: {listed}", problems=found)


def _cassette(recording: Recording) -> Cassette:
    return cassette(recording, plan(Definition.model_validate(recording.definition)))


def _report(run: Run, then: Cassette, now: Cassette) -> Replay:
    found = Comparison(then, now).divergences()
    return Replay(
        run=run,
        of=then.recording.head.id,
        workflow=then.recording.head.workflow,
        equal=not found,
        digest=digest_of(now),
        recorded=digest_of(then),
        divergence=found[0] if found else None,
        further=tuple(found[1 : LISTED + 1]),
        more=max(len(found) - LISTED - 1, 0),
        states={position: entries[-1].tried.state for position, entries in now.by_position.items()},
        changed=changed(then, now),
        simulated=tuple(dict.fromkeys(now.recording.simulated)),
    )


def report_of(found: Replay) -> dict[str, Any]:
    """A replay as plain JSON, the same at every door."""
    shown: dict[str, Any] = {
        "run_id": found.run.id,
        "replay_of": found.of,
        "equal": found.equal,
        "state": found.run.state,
        "digest": found.digest,
        "recorded_digest": found.recorded,
    }
    if found.divergence:
        shown["first_divergence"] = divergence_of(found.divergence)
        shown["further"] = [{"position": one.position, "what": one.what, "message": one.message} for one in found.further]
        shown["more"] = found.more
    if found.simulated:
        shown["simulated"] = [*found.simulated]
    return shown


def divergence_of(one: Divergence) -> dict[str, Any]:
    found = {"position": one.position, "attempt": one.attempt, "node": one.node, "pointer": one.pointer, "what": one.what}
    return {**found, "message": one.message, "expected": one.expected, "got": one.got, "patch": [*one.patch]}


async def target(
    runtime: Runtime, actor: Actor, run_id: str, *, definition: Json = None, workflow: str | None = None, version: Version = None
) -> Json:
    """The definition to replay on: the one given, a version or the draft of a workflow, or None for what the run ran. Raises Invalid when
    more than one is named, NotFound."""
    if definition is not None and (workflow is not None or version is not None):
        raise Invalid("Give either definition, or workflow and version.")
    if definition is not None or (workflow is None and version is None):
        return definition
    if workflow is None:
        loaded = await run_rows.load_run(actor.tenant, (await runs.get(runtime, actor, run_id)).id)
        workflow = loaded.workflow_id if loaded else None
        if workflow is None:
            raise Invalid("this run is of a definition that was not saved as a workflow, so there is no version of it: name the workflow")
    if version in (None, "draft"):
        return (await authoring.get(runtime, actor, workflow)).draft
    return (await pinned(actor.tenant, workflow, None if version == "active" else version)).body
