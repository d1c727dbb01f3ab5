"""fix_run: whether a patch mends a run that failed, by replaying that run with it."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.types import CallToolResult
from pydantic import Field

from graphs import fixing
from graphs.engine.cassette import digest
from server.answers import MAX_ANSWER, answer
from server.arguments import RunId
from server.auth import Scope
from server.excerpts import compact
from server.tools import Ctx, caller_of, hints

DESCRIPTION = (
    "Try a JSON Patch on a run that failed: it is replayed from its recording with the patched definition, without effects and cost. "
    "Changes nothing. Only a patch that is ok may then go into edit_workflow, as `next` says."
)
ANNOTATIONS = hints(read_only=False)
SCOPE = Scope.AUTHOR

Patch = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=50, description="of the definition that the run used")]


Mocks = Annotated[
    dict[str, Any] | None,
    Field(description="node id -> output, for calls that the patch changes or adds: nothing is recorded of those, and it is made up"),
]


async def run(ctx: Ctx, run_id: RunId, patch: Patch, mocks: Mocks = None) -> CallToolResult:
    caller = caller_of(ctx)
    found = await fixing.propose(caller.runtime, caller.actor, run_id, patch, mocks=mocks)
    shown: dict[str, Any] = {name: value for name, value in fixing.proposal_of(found).items() if value not in (None, [], "", 0)}
    if len(compact(shown)) > MAX_ANSWER // 2:
        shown.pop("repro", None)  # what counts is the patch
    if not found.ok:
        shown.pop("patch", None)
        return answer({"ok": False, **shown}, next="read why it does not hold, and call fix_run again with another patch")
    if found.patch is None or found.workflow is None:
        return answer(shown, next="tell the person what would mend it: there is no draft that takes this patch")
    shown["verified"] = digest([*found.patch])
    call = f'edit_workflow(workflow="{found.workflow}", base_revision={found.base_revision}, patch={compact([*found.patch])})'
    return answer(shown, next=call)
