"""Steps that another step runs: one body of one step each, at a position inside of it, and in every other way a step like any."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from graphs.definition import Json
from graphs.engine.configs import explain
from graphs.engine.plan import Inner, plan_inner
from graphs.engine.record import StepFailed
from graphs.nodetype import BodyFailed, Failure
from graphs.quiet import side_by_side

if TYPE_CHECKING:
    from graphs.engine.step import Step

T = TypeVar("T")
KEY = re.compile(r"[a-z][a-z0-9_]{0,47}")


async def run(
    step: Step,
    key: str,
    node: Mapping[str, Json],
    *,
    local: Mapping[str, Json] | None = None,
    recorded: Mapping[str, Json] | None = None,
    digest: str | None = None,
    limits: Sequence[Mapping[str, Json]] = (),
) -> Json:
    """Runs `node` inside of `step`, or finds that it has ended. Raises BodyFailed, and Failure for a node that cannot be."""
    from graphs.engine.body import BodyRun

    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot be the key of a step")
    try:
        plan = plan_inner(key, node, Inner(recorded=recorded, digest=digest, limits=(*step.context.limits, *limits)))
    except KeyError:
        raise Failure("unknown_type", f"there is no node type {node.get('type')!r}") from None
    except ValidationError as error:
        raise Failure("bad_config", explain(error)) from None
    drive, position = step.drive, f"{step.position}/{key}"
    known = drive.records.get(position)
    if known is not None and known.node_type != node["type"]:
        message = f"{position} was a step of type {known.node_type}; this version of the workflow makes it {node['type']}"
        raise Failure("diverged", message + ". Fork the run before it")
    body = BodyRun(drive, plan, f"{step.position}/", step.within.scope, local)
    current = asyncio.current_task()
    body.cleaning = step.within.cleaning or (current is not None and current.cancelling() > 0)
    await _inside(step, body)
    ended = drive.records[position]
    if ended.state != "succeeded":
        raise BodyFailed(ended.error or {"code": "skipped", "message": f"{position} was not done", "position": position})
    return ended.output


async def _inside(step: Step, body: Any) -> None:
    """While the inner step is under way, it is what says whether this strand of the outer one waits."""
    step.bodies.add(body)
    step.strands -= 1
    step.drive.look()
    try:
        await body.run()
    except StepFailed as failed:
        raise BodyFailed(failed.error) from failed
    finally:  # without a pause in between: it must not look as if nothing of the step were under way
        step.strands += 1
        step.bodies.discard(body)


async def together(step: Step, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of strands that go on side by side. The run is put down when each of them waits, or is done."""

    async def strand(one: Coroutine[Any, Any, T]) -> T:
        try:
            return await one
        finally:
            step.strands -= 1
            step.drive.look()

    from graphs.engine.step import speaker

    step.strands = len(work)
    try:
        return await side_by_side([strand(one) for one in work])
    except BaseExceptionGroup as group:
        raise speaker(group) from group
    finally:
        step.strands = 1
