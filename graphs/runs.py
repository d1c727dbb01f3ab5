"""Operations on runs: start, read, follow, steer. Every door calls these; none does more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Literal

from graphs.admission import UNTIMED, Begin, Timing, admission
from graphs.checks import check
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.inputs import check_input
from graphs.knowing import known_to
from graphs.pinning import Pinned, nearest, pinned
from graphs.runtime import Actor, Runtime
from store import events as event_rows
from store import jsontext, node_runs, pages, workflows
from store import runs as run_rows
from store.errors import Invalid, NotFound
from store.events import Event
from store.node_runs import NodeRun
from store.pages import Page
from store.runs import Listed, NewRun, Run, Superseded

FINISHED = frozenset({"succeeded", "failed", "cancelled"})
STATES = ("queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled")
LOOK_EVERY = 0.25  # seconds between looks at a run that another process drives
MAX_INPUT = 1_000_000  # characters of JSON
MAX_HANDED_ON = 4  # runs that start one another by Weft's own tools, one inside the other
NOT_FOUND = "there is no run {!r} here; list_runs shows the runs there are"


async def start(
    runtime: Runtime,
    actor: Actor,
    *,
    workflow: str,
    input: Json,
    version: int | None = None,
    idempotency_key: str | None = None,
    timing: Timing = UNTIMED,
) -> Run:
    """Starts the active (or the given) version of a workflow. Raises NotFound, Invalid for the input, Conflict for a used key."""
    org_id, what = actor.tenant.org_id, (input, idempotency_key, timing)
    if version is None and (known := runtime.pins.get(org_id, workflow)):
        try:
            return await _start(runtime, actor, known, *what, while_active=True)
        except (Superseded, Invalid):  # another version may be the active one by now
            runtime.pins.forget(org_id, workflow)
    target = await pinned(actor.tenant, workflow, version)
    if version is None:
        runtime.pins.keep(org_id, target)
    return await _start(runtime, actor, target, *what)


async def _start(
    runtime: Runtime, actor: Actor, target: Pinned, input: Json, idempotency_key: str | None, timing: Timing, *, while_active: bool = False
) -> Run:
    check_size(input)
    check_input(target.body.get("input") or {}, input)
    new = await new_run(
        runtime,
        actor,
        target.body,
        timing,
        workflow_id=target.workflow_id,
        version=target.version,
        digest=target.digest,
        name=target.name,
        mode="production",
        input=input,
        idempotency_key=idempotency_key,
        while_active=while_active,
    )
    started = await runtime.engine.start(actor.tenant, new)
    return run_rows.as_run(new, started) if started.leased else await get(runtime, actor, started.run_id)


async def start_definition(
    runtime: Runtime,
    actor: Actor,
    *,
    definition: Json,
    input: Json,
    mode: Literal["production", "test"],
    mocks: dict[str, Json] | None,
    name: str,
    id: str | None = None,
    private: bool = False,
) -> Run:
    """Runs a definition that is not published: a draft under test, a file, or one that comes with Weft. Raises Invalid with the first
    problem. `id`: that of the run, where it must be known before; `private`: nobody else gets to know of it."""
    report = await check(definition, runtime.evaluator, await known_to(actor.tenant, definition))
    if not report.ok:
        first = next(item for item in report.diagnostics if item.severity == "error")
        raise Invalid(f"the definition is not valid: {first.message} (at {first.pointer}); validate_workflow shows all problems")
    check_mocks(definition, mocks or {})
    check_size(input)
    check_input(definition.get("input") or {}, input)
    digest = await workflows.store_definition(actor.tenant, definition)
    new = await new_run(
        runtime,
        actor,
        definition,
        workflow_id=None,
        version=None,
        digest=digest,
        name=name,
        mode=mode,
        input=input,
        mocks=mocks,
        id=id,
        private_to=actor.user_id if private else None,
    )
    started = await runtime.engine.start(actor.tenant, new)
    return run_rows.as_run(new, started) if started.leased else await get(runtime, actor, started.run_id)


async def new_run(runtime: Runtime, actor: Actor, definition: Json, timing: Timing = UNTIMED, /, *, input: Json, **what: Any) -> NewRun:
    """What a start needs: what is run, by whom, and the settings of the definition as they are for this input. Raises Invalid."""
    if actor.depth > MAX_HANDED_ON:
        raise Invalid(f"runs have started one another {MAX_HANDED_ON} deep, and go no deeper; does {what['name']!r} start itself?")
    begin = Begin(workflow=what["name"], version=what["version"], mode=what["mode"], input=input)
    admitted = await admission(runtime.evaluator, definition, begin, variables=runtime.variables, timing=timing)
    return NewRun(input=input, created_by=actor.user_id, actor=actor.user_name, depth=actor.depth, **admitted.fields(), **what)


def check_mocks(definition: Json, mocks: dict[str, Json]) -> None:
    """A mock for a node that is not there would make a test pass that tests nothing."""
    known = set(_node_ids(definition))
    for name in mocks:
        if name not in known:
            raise Invalid(f"there is a mock for {name!r}, but no such node. " + nearest(name, sorted(known), "The nodes are"))


def _node_ids(part: Json) -> Iterator[str]:
    if is_object(part):
        if isinstance(part.get("id"), str) and "type" in part:
            yield part["id"]
        for inner in part.values():
            yield from _node_ids(inner)
    elif is_array(part):
        for inner in part:
            yield from _node_ids(inner)


def check_size(input: Json) -> None:
    """Raises Invalid for an input that is too large."""
    if (size := len(jsontext.text(input))) > MAX_INPUT:
        raise Invalid(
            f"the input is {size:,} characters of JSON; at most {MAX_INPUT:,} are taken. Put large data behind a URL and fetch it in a step"
        )


async def get(runtime: Runtime, actor: Actor, run_id: str) -> Run:
    """Raises NotFound, alike for what is not there and what belongs to somebody else. Every operation on a run asks here first: what is
    private is its user's alone, whoever asks."""
    run = await run_rows.get(actor.tenant, run_id)
    if run is None or run.private_to not in (None, actor.user_id):
        raise NotFound(NOT_FOUND.format(run_id))
    return run


async def wait(runtime: Runtime, actor: Actor, run_id: str, *, seconds: float, until: Literal["settled", "change"] = "settled") -> Run:
    """Long poll: returns when the run is finished, paused or waits for a person or event ("settled"), or when its state or progress
    changes ("change"), at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    async with runtime.engine.watching(run_id) as changed:
        if until == "settled" and runtime.engine.drives(run_id, actor.tenant.org_id):  # we shall hear of its end
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed.wait()
        run = first = await get(runtime, actor, run_id)
        while (left := deadline - time.monotonic()) > 0 and not _settled(run):
            if until == "change" and (run.state, run.steps_done) != (first.state, first.steps_done):
                break
            changed.clear()
            here = until == "settled" and runtime.engine.drives(run_id, actor.tenant.org_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(left if here else min(LOOK_EVERY, left)):
                    await changed.wait()
            run = await get(runtime, actor, run_id)
    return run


def _settled(run: Run) -> bool:
    if run.state in FINISHED or run.state == "paused":
        return True
    return run.state == "waiting" and any(wait["kind"] in ("task", "event") for wait in run.waiting_for)


async def trace(runtime: Runtime, actor: Actor, run_id: str, *, limit: int = 100, after: str | None = None) -> list[NodeRun]:
    """Attempts of steps in the order in which they began; `after` is "position@attempt" of the last one known."""
    await get(runtime, actor, run_id)
    return await node_runs.trace(actor.tenant, run_id, limit=limit, after=await _known(actor, run_id, after) if after else None)


async def _known(actor: Actor, run_id: str, mark: str) -> NodeRun:
    position, _, attempt = mark.rpartition("@")
    if not position or not attempt.isdecimal():
        raise Invalid('`after` of a trace is "position@attempt" as the page before gave it')
    found = await node_runs.attempt(actor.tenant, run_id, position, int(attempt))
    if found is None:
        raise NotFound(f"this run has no step {mark!r}")
    return found


async def node(runtime: Runtime, actor: Actor, run_id: str, wanted: str) -> NodeRun:
    """The latest attempt of a step, by position or node id. Raises NotFound naming the nearest positions."""
    await get(runtime, actor, run_id)
    found = await node_runs.find(actor.tenant, run_id, wanted)
    if found is None:
        known = await node_runs.positions(actor.tenant, run_id)
        raise NotFound(f"no step {wanted!r} in this run. " + nearest(wanted, known, "It has"))
    return found


async def events(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0, limit: int = 200) -> list[Event]:
    await get(runtime, actor, run_id)
    return await event_rows.after(actor.tenant, run_id, after, limit=limit)


async def follow(runtime: Runtime, actor: Actor, run_id: str, *, after: int = 0) -> AsyncIterator[Event]:
    """Events as they come; ends when the run is finished and all of them have been told."""
    async with runtime.engine.watching(run_id) as changed:
        while True:
            run = await get(runtime, actor, run_id)
            found = await event_rows.after(actor.tenant, run_id, after)
            for event in found:
                after = event.seq
                yield event
            if run.state in FINISHED and not found:
                return
            if not found:
                changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY):
                        await changed.wait()


async def page(
    runtime: Runtime,
    actor: Actor,
    *,
    workflow: str | None = None,
    state: str | None = None,
    mode: str | None = "production",
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Listed]:
    """Newest first; the state "dead" finds failed runs that recovery has given up. Raises Invalid for a state or cursor that cannot be."""
    if state is not None and state not in (*STATES, "dead"):
        raise Invalid(f"state {state!r} is none of {', '.join((*STATES, 'dead'))}")
    dead = state == "dead"  # failed, because recovery has given it up
    before = _id_in(cursor)
    limit = pages.limited(limit)
    rows, total = await run_rows.page(
        actor.tenant,
        workflow=workflow,
        state="failed" if dead else state,
        mode=mode,
        before=before,
        limit=limit,
        dead=dead,
        viewer=actor.user_id,
    )
    return Page(items=rows[:limit], next_cursor=pages.cursor(rows[limit - 1].id) if len(rows) > limit else None, total=total)


def _id_in(cursor: str | None) -> str | None:
    (id,) = pages.place(cursor, str)
    return None if id is None else str(id)
