"""Orders to runs, the same at every door: which arguments belong to which action, and who carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphs import forking, steering
from graphs.definition import Json
from graphs.forking import Changes
from graphs.runs import Run
from graphs.steering import Filter
from server.auth import Caller, Scope
from store.errors import Invalid

Action = Literal["cancel", "pause", "resume", "retry", "requeue", "skip", "fork", "rerun"]
Many = Literal["cancel", "pause", "resume", "retry", "requeue"]
Version = int | Literal["active", "draft"]
TAKES: dict[str, frozenset[str]] = {
    "cancel": frozenset({"compensate"}),
    "skip": frozenset({"node", "output"}),
    "fork": frozenset({"node", "edits", "vars", "input", "version"}),
    "rerun": frozenset({"input", "version"}),
}
"""The arguments of each action besides the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants done to a run. `given`: the arguments that were really given."""

    action: Action
    given: frozenset[str]
    node: str | None = None
    output: Json = None
    edits: dict[str, Json] | None = None
    vars: dict[str, Json] | None = None
    input: Json = None
    version: Version | None = None
    compensate: bool | None = None


class RunFilter(BaseModel):
    """Which runs: what is not said does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workflow: str | None = Field(default=None, max_length=64, description="workflow name")
    state: Literal["queued", "running", "waiting", "paused", "failed", "cancelled", "dead"] | None = None
    mode: Literal["production", "test"] = "production"
    error_code: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,64}$", description="of failed runs")
    older_than: str | None = Field(default=None, max_length=40, description='created longer ago than that, like "7d"')
    created_before: datetime | None = None


def order(action: Action, **arguments: Any) -> Order:
    """Raises Invalid for arguments that do not belong to the action, or that it lacks."""
    given = frozenset(name for name, value in arguments.items() if value is not None)
    takes = TAKES.get(action, frozenset[str]())
    if extra := sorted(given - takes):
        owners = [name for name, taken in TAKES.items() if extra[0] in taken]
        raise Invalid(f"{extra[0]!r} does not go with {action}; it belongs to {' and '.join(owners)}")
    if action == "skip" and "node" not in given:
        raise Invalid("skip needs `node`: the step that counts as done, by node id or position; and its `output` (null without it)")
    return Order(action=action, given=given, **{name: arguments[name] for name in given})


async def carry_out(caller: Caller, run_id: str, wanted: Order) -> Run:
    """The run afterwards; of a fork or re-run, the new one."""
    runtime, actor = caller.runtime, caller.actor
    if wanted.version == "draft":
        caller.need(Scope.AUTHOR)  # what is not published runs only for those who write it
    if wanted.action == "skip":
        return await steering.skip(runtime, actor, run_id, wanted.node or "", wanted.output)
    if wanted.action == "rerun":
        return await forking.rerun(runtime, actor, run_id, version=wanted.version, input=wanted.input)
    if wanted.action == "fork":
        changes = Changes(edits=wanted.edits or {}, vars=wanted.vars or {}, input=wanted.input)
        return await forking.fork(runtime, actor, run_id, node=wanted.node, changes=changes, version=wanted.version)
    return await steering.control(runtime, actor, run_id, wanted.action, compensate=wanted.compensate)


def filter_of(given: dict[str, Any]) -> Filter:
    """Reads a filter that came as an object. Raises Invalid naming the fields there are."""
    try:
        return as_filter(RunFilter.model_validate(given))
    except ValidationError as wrong:
        error = wrong.errors(include_url=False)[0]
        place = ".".join(str(part) for part in error["loc"])
        raise Invalid(f"filter.{place}: {error['msg']}. A filter has: {', '.join(RunFilter.model_fields)}") from None


def as_filter(found: RunFilter) -> Filter:
    return Filter(**found.model_dump())


async def sweep(caller: Caller, action: Many, filter: Filter, *, expect: int | None, compensate: bool | None) -> dict[str, Json]:
    """Without `expect` it counts; with it, it does it."""
    if compensate is not None and action != "cancel":
        raise Invalid("'compensate' goes with cancel only")
    if expect is None:
        counted = await steering.count(caller.runtime, caller.actor, action, filter)
        return {"action": action, "count": counted.count, "first": counted.first, "done": None}
    many = steering.control_many(caller.runtime, caller.actor, action, filter, expect=expect, compensate=compensate)
    steps = [done async for done in many]
    return {"action": action, "count": expect, "first": [], "done": steps[-1] if steps else 0}
