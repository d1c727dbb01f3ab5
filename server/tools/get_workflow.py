"""get_workflow: one workflow, as a summary, its definition, a diagram, a diff or its versions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs import authoring, chatting, diagrams, shipped
from graphs.authoring import Workflow
from graphs.definition import Definition
from server import chats
from server.answers import answer
from server.arguments import Offset, WorkflowName
from server.auth import Caller, Scope
from server.excerpts import portion
from server.tools import Ctx, caller_of, hints
from server.views.workflows import version_view, workflow_view
from store.errors import Invalid

DESCRIPTION = (
    "Read one workflow: summary, definition, Mermaid diagram, diff of two versions, or the list of versions. "
    "Without `version` it is the draft."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ

View = Annotated[Literal["summary", "definition", "diagram", "diff", "versions"], Field(description="what to show")]
Version = Annotated[int | None, Field(ge=1, description="published version; without it the draft")]


async def run(
    ctx: Ctx,
    workflow: WorkflowName,
    view: View = "summary",
    version: Version = None,
    since: Annotated[int | None, Field(ge=1, description="diff: the version to compare with; without it the published one")] = None,
    offset: Offset = 0,
) -> CallToolResult:
    caller = caller_of(ctx)
    if workflow == chatting.WORKFLOW:
        return _chat(view, offset)
    found = await authoring.get(caller.runtime, caller.actor, workflow)
    if view == "versions":
        return await _versions(caller, found)
    document = await authoring.document(caller.runtime, caller.actor, found, version)
    head: dict[str, Any] = {"workflow": found.name, "revision": found.revision, "version": version, "draft": version is None}
    if view == "definition":
        return _part("definition", document, head, offset, _edit(found))
    if view == "diagram":
        return _part("mermaid", diagrams.mermaid(Definition.model_validate(document)), head, offset, _edit(found))
    if view == "diff":
        return await _diff(caller, found, head, document, since)
    return answer(workflow_view(found, document, version), next=_edit(found))


def _chat(view: str, offset: int) -> CallToolResult:
    """The workflow that comes with Weft and that people start with the words of a message."""
    document = shipped.definition(chatting.WORKFLOW)
    follow = f'start_run(workflow="{chatting.WORKFLOW}", input={{"message": "…"}})'
    head = {"workflow": chatting.WORKFLOW, "comes_with_weft": True, "input": chats.schema()}
    if view in ("versions", "diff"):
        raise Invalid(f"{chatting.WORKFLOW!r} comes with Weft: it has no versions, and nobody edits it")
    if view == "definition":
        return _part("definition", document, {"workflow": chatting.WORKFLOW, "comes_with_weft": True}, offset, follow)
    if view == "diagram":
        return _part("mermaid", diagrams.mermaid(Definition.model_validate(document)), head, offset, follow)
    nodes = [{"id": node["id"], "type": node["type"]} for node in document["nodes"]]
    return answer({**head, "description": document["description"], "nodes": nodes}, next=follow)


def _edit(found: Workflow) -> str:
    return f'edit_workflow(workflow="{found.name}", patch=[…], base_revision={found.revision})'


def _part(key: str, value: Any, head: dict[str, Any], offset: int, follow: str) -> CallToolResult:
    part = portion(value, offset, "the same call with offset={offset}")
    return answer({**head, **({key: part["value"]} if "value" in part else part)}, next=part.get("more") or follow)


async def _versions(caller: Caller, found: Workflow) -> CallToolResult:
    versions = await authoring.versions(caller.runtime, caller.actor, found)
    listed = [version_view(item) for item in versions[:50]]
    body = {"workflow": found.name, "active_version": found.active_version, "versions": listed, "total": len(versions)}
    return answer(body, next=f'get_workflow(workflow="{found.name}", view="diff", since=…)')


async def _diff(caller: Caller, found: Workflow, head: dict[str, Any], document: Any, since: int | None) -> CallToolResult:
    base = since or found.active_version
    if base is None:
        return answer({**head, "patch": [], "note": "nothing is published yet, so there is nothing to compare with"}, next=_edit(found))
    before = await authoring.document(caller.runtime, caller.actor, found, base)
    return answer({**head, "since": base, "patch": authoring.diff(before, document)}, next=f'publish_workflow(workflow="{found.name}")')
