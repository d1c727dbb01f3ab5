"""What a run may change once it has tried to mend a failed run of a workflow: only what was verified by replay.

A chat turn is a run. Who asks it to mend something gets the patch that was tried, or none; what else is to be changed can be asked for in
another turn. Calls are told apart by their positions, so that a run that goes on after a crash, or is replayed, decides the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.cassette import digest
from graphs.nodetype import Failure
from store import fixes, jsontext, runs, workflows
from store.fixes import Tried
from store.ids import is_id
from store.postgres import Tenant

CHANGES, TRIES = "edit_workflow", "fix_run"
CALL = re.compile(r"call_(\d+)_\d+")
SHOWN = 2_000  # characters of a patch


async def check(tenant: Tenant, run_id: str, position: str, tool: str, arguments: Mapping[str, Any], *, beside: bool = False) -> None:
    """Raises Failure for a change of a workflow for which fix_run was called before, unless it is the change that fix_run has verified.
    `beside`: calls of fix_run in the same turn of an agent count too, as calls whose answer nobody has read."""
    if tool != CHANGES:
        return
    tried = [one for one in await fixes.tried(tenant, run_id) if is_object(one.input) and one.input.get("tool") == TRIES]
    orders = [_order(one.position, position) for one in tried]
    if beside and 0 in orders:
        raise Failure("not_verified", "nothing was changed: fix_run is called beside this. Wait for its answer, and change then")
    before = [one for one, order in zip(tried, orders, strict=True) if order == -1]
    if not before:
        return
    found = await workflows.find(tenant, str(arguments.get("workflow")))
    name = found.name if found else arguments.get("workflow")
    answers: list[dict[str, Any]] = [one.output for one in before if is_object(one.output) and one.output.get("workflow") == name]
    held = [one for one in answers if one.get("ok") and one.get("verified")]
    asked = digest(arguments.get("patch")), arguments.get("base_revision")
    if (answers or await _in_vain(tenant, before, name)) and not any((one["verified"], one.get("base_revision")) == asked for one in held):
        raise Failure("not_verified", _refused(held))


async def _in_vain(tenant: Tenant, before: Sequence[Tried], name: object) -> bool:
    """Whether a call that has no answer, for it failed, was about a run of this workflow."""
    for one in before:
        arguments: Any = one.input.get("arguments") if not is_object(one.output) else None
        run_id = arguments.get("run_id") if is_object(arguments) else None
        run = await runs.get(tenant, run_id) if isinstance(run_id, str) and is_id(run_id) else None
        if run is not None and run.workflow == name:
            return True
    return False


def _refused(held: Sequence[Mapping[str, Any]]) -> str:
    other = "For another change call fix_run with it first; what has nothing to do with the fix, the person can ask for in another message"
    if not held:
        return f"nothing was changed: fix_run has verified no patch for this workflow, so none may be applied. {other}"
    patch: Json = held[-1].get("patch")
    exactly = jsontext.text(patch) if is_array(patch) and all(map(is_object, patch)) else ""
    shown = exactly if 0 < len(exactly) <= SHOWN else "as in the `next` of its answer"
    return (
        f"nothing was changed: this is not the patch that fix_run has verified. That is base_revision={held[-1].get('base_revision')}, "
        f"patch={shown}: call edit_workflow with exactly these. {other}"
    )


def _order(tried: str, change: str) -> int | None:
    """-1: the fix was tried before the change, 0: in the same turn of an agent, None: after it."""
    for one, other in zip(tried.split("/"), change.split("/"), strict=False):
        if one != other:
            first, second = CALL.fullmatch(one), CALL.fullmatch(other)
            if first is None or second is None:
                return -1  # steps of a workflow: what has happened, was before
            turn, of = int(first[1]), int(second[1])
            return -1 if turn < of else 0 if turn == of else None
    return -1
