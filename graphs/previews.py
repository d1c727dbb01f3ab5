"""What a call of one of Weft's own tools would change, in a form that a person reads: they are asked about that, and not about a patch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from graphs import authoring
from graphs.definition import Json
from graphs.documents import is_object, to_yaml
from store import node_runs, runs, workflows
from store.errors import Invalid, NotFound
from store.postgres import Tenant

CONTEXT = 2  # unchanged lines around a change
MOST = 6_000  # characters


async def preview(tenant: Tenant, tool: str, arguments: Mapping[str, Any], *, run_id: str) -> str:
    """The change as a unified diff of YAML; "" for tools whose arguments say it all, and where nothing would come of the call. `run_id`: of
    the run that asks: whether it has tried an edit on the run that is to be mended is said before it."""
    try:
        if tool == "edit_workflow":
            change = await _edit(tenant, arguments)
            return f"{tried}\n{change}" if change and (tried := await _tried(tenant, run_id, arguments)) else change
        return await _publish(tenant, arguments) if tool == "publish_workflow" else ""
    except (NotFound, Invalid, KeyError, TypeError):  # the tool itself says what is wrong
        return ""


async def _edit(tenant: Tenant, arguments: Mapping[str, Any]) -> str:
    found = await workflows.get(tenant, str(arguments["workflow"]))
    if found.revision != arguments["base_revision"]:
        return f"(nothing: the draft of {found.name} is at revision {found.revision}, and the patch is for {arguments['base_revision']})"
    return diff(found.draft, authoring.patched(found.draft, arguments["patch"]), f"{found.name}, revision {found.revision}", "as changed")


async def _tried(tenant: Tenant, run_id: str, arguments: Mapping[str, Any]) -> str:
    """Whether this very patch held when it was replayed; "" where the run has looked at no failed run of the workflow."""
    name = (await workflows.get(tenant, str(arguments["workflow"]))).name
    failed = ""
    for row in await node_runs.latest(tenant, run_id):
        if row.node_type != "house_tool" or row.state != "succeeded" or not is_object(row.input) or not is_object(row.output):
            continue
        given: Any = row.input.get("arguments") or {}
        about = given.get("run_id")
        if row.input.get("tool") == "fix_run":
            if row.output.get("ok") is True and row.output.get("workflow") == name and row.output.get("patch") == arguments["patch"]:
                return f"(tried: run {about}, replayed with this very patch, succeeds)"
            failed = str(about)
        elif row.input.get("tool") == "get_run" and row.output.get("state") == "failed":
            run = await runs.get(tenant, str(about))
            failed = str(about) if run is not None and run.workflow == name else failed
    return f"(NOT tried: run {failed} failed, and no replay of it has succeeded with this patch)" if failed else ""


async def _publish(tenant: Tenant, arguments: Mapping[str, Any]) -> str:
    found = await workflows.get(tenant, str(arguments["workflow"]))
    if (wanted := arguments.get("revision")) not in (None, found.revision):
        return f"(nothing: the draft of {found.name} is at revision {found.revision}, and revision {wanted} is to be published)"
    if found.active_version is None:
        return f"(the first version of {found.name}, revision {found.revision})\n{_bounded(chr(10).join(_lines(found.draft)))}"
    active = await workflows.get_version(tenant, found.id, found.active_version)
    return diff(active.definition, found.draft, f"{found.name}, version {active.number}", f"draft, revision {found.revision}")


def diff(before: Json, after: Json, one: str, other: str) -> str:
    """Two definitions as people write them, line by line; "" where they are the same."""
    lines = difflib.unified_diff(_lines(before), _lines(after), one, other, n=CONTEXT, lineterm="")
    return _bounded("\n".join(lines))


def _bounded(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}\n(… {len(text) - MOST:,} more characters)"


def _lines(document: Json) -> list[str]:
    return to_yaml(document).splitlines() if is_object(document) else [str(document)]
