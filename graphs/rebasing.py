"""A patch that was tried on the definition of a run, moved to the draft of its workflow as it is now; and what it does, in words."""

from __future__ import annotations

import json
import re
from typing import Any

from graphs import authoring, patches
from graphs.comparing import shortened
from graphs.definition import Json
from graphs.documents import is_array
from graphs.positions import nodes_of, pointer_of
from graphs.runtime import Actor, Runtime
from store.errors import Conflict, Invalid
from store.workflows import Workflow

Patch = list[dict[str, Any]]
EDGE = re.compile(r"(.*/edges)(/\d+)(.*)")


async def rebased(runtime: Runtime, actor: Actor, before: Json, workflow: Workflow | None, patch: Patch) -> dict[str, Any]:
    """The patch against the draft as it is now, by the ids of nodes; or what is in its way."""
    if workflow is None or patches.same(workflow.draft, before):
        return {"patch": tuple(patch)}
    try:
        moved = [_moved(operation, before, workflow.draft) for operation in patch]
        document = authoring.patched(workflow.draft, moved)
    except (Invalid, Conflict) as wrong:
        return {"conflict": f"the draft has changed since, and does not take the patch: {wrong.message}"}
    report = await authoring.check(runtime, actor, document)
    if not report.ok:
        return {"conflict": f"the draft has changed since; with the patch it is not valid: {report.diagnostics[0].message}"}
    return {"patch": tuple(moved)}


def owner(definition: Json, path: str) -> tuple[str, str] | None:
    """(pointer, id) of the innermost node that a path leads to or into."""
    found = ((pointer, id) for pointer, id in nodes_of(definition) if path == pointer or path.startswith(pointer + "/"))
    return max(found, default=None, key=lambda one: len(one[0]))


def _moved(operation: dict[str, Any], before: Json, draft: Json) -> dict[str, Any]:
    """An operation for the draft: what it is about may stand at another place by now. Raises Conflict when it is another one."""
    path: str = operation["path"]
    moved = _of_edge(_of_node(path, before, draft), path, before, draft)
    if operation["op"] != "add" and not patches.same(value_at(before, path), value_at(draft, moved)):
        raise Conflict(f"{moved} is not what it was")
    return {**operation, "path": moved}


def _of_node(path: str, before: Json, draft: Json) -> str:
    found = owner(before, path)
    if found is None:
        return path
    pointer, id = found
    place = pointer_of(draft, id)
    if place is None:
        raise Conflict(f"it has no node {id!r} any more")
    return place + path[len(pointer) :]


def _of_edge(moved: str, path: str, before: Json, draft: Json) -> str:
    """Edges have no ids: the same one is looked for."""
    now, then = EDGE.fullmatch(moved), EDGE.fullmatch(path)
    if now is None or then is None:
        return moved
    edge, edges = value_at(before, then[1] + then[2]), value_at(draft, now[1])
    if edge is None or not is_array(edges):
        return moved
    place = next((number for number, other in enumerate(edges) if patches.same(edge, other)), None)
    if place is None:
        raise Conflict(f"{then[1]}{then[2]} is not what it was")
    return f"{now[1]}/{place}{now[3]}"


def value_at(document: Json, pointer: str) -> Json:
    """None where there is nothing."""
    import jsonpointer

    try:
        found: Json = jsonpointer.resolve_pointer(document, pointer, None)  # pyright: ignore[reportUnknownMemberType]
        return None if isinstance(found, jsonpointer.EndOfList) else found
    except jsonpointer.JsonPointerException:
        return None


def in_words(before: Json, patch: Patch) -> list[str]:
    """A line for each operation: the node, the field, what it was and what it becomes."""
    ids = dict(nodes_of(before))
    return [_line(operation, before, ids) for operation in patch]


def _line(operation: dict[str, Any], before: Json, ids: dict[str, str]) -> str:
    path: str = operation["path"]
    pointer = max((at for at in ids if path == at or path.startswith(at + "/")), default="", key=len)
    where = f"{ids[pointer]}: {path[len(pointer) :] or 'the node'}" if pointer else path
    old, new = (
        json.dumps(shortened(value_at(before, path)), ensure_ascii=False),
        json.dumps(shortened(operation.get("value")), ensure_ascii=False),
    )
    match operation["op"]:
        case "replace":
            return f"{where}: {old} → {new}"
        case "remove":
            return f"{where}: {old} is removed"
        case "add":
            return f"{where}: {new} is added"
        case other:
            return f"{where}: {other}"
