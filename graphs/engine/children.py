"""Child runs: what a subflow step starts, pinned and checked at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphs.admission import Begin, admission
from graphs.engine.patience import patiently
from graphs.inputs import check_input
from graphs.nodetype import Child, Failure
from graphs.pinning import pinned
from store import spending
from store.errors import Conflict, Invalid, NotFound
from store.ids import new_id

if TYPE_CHECKING:
    from graphs.engine.step import Step

MAX_DEPTH = 16


async def new_child(step: Step, child: Child, place: str) -> dict[str, Any]:
    """The row of a child run that answers the wait at `place` when it ends. Raises Failure when it cannot start."""
    drive, limits = step.drive, step.context.limits
    if drive.loaded.depth >= MAX_DEPTH:
        raise Failure("too_deep", f"subflows are nested more than {MAX_DEPTH} deep; does {child.workflow!r} call itself?")
    try:
        target = await pinned(drive.tenant, child.workflow, child.version)
        check_input(target.body.get("input") or {}, child.input)
        begin = Begin(workflow=target.name, version=target.version, mode=drive.mode, input=child.input)
        admitted = await admission(drive.engine.evaluator, target.body, begin, variables=drive.engine.variables)
    except NotFound as error:
        raise Failure("unknown_workflow", error.message) from error
    except Conflict as error:
        raise Failure("not_published", error.message) from error
    except Invalid as error:
        raise Failure("bad_input", f"{child.workflow}: {error.message}") from error
    if limits:  # it spends within them
        await patiently(lambda: spending.hold(drive.tenant, drive.run_id, limits))
    return {
        **admitted.fields(),
        "deadline": admitted.deadline.isoformat() if admitted.deadline else None,
        "id": new_id(),
        "workflow_id": target.workflow_id,
        "version": target.version,
        "digest": target.digest.hex(),
        "name": target.name,
        "mode": drive.mode,
        "input": child.input,
        "parent_position": place,
        "depth": drive.loaded.depth + 1,
        "priority": drive.loaded.priority,
        "created_by": drive.loaded.created_by,
    }
