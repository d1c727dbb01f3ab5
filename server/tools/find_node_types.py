"""find_node_types: the catalogue of node types, searched or one in full."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs.catalogue import describe, node_types
from graphs.finding import best_example, find
from graphs.nodetype import NodeType
from graphs.pinning import nearest
from server.answers import answer
from server.auth import Scope
from server.tools import Ctx, hints
from store.errors import NotFound

DESCRIPTION = (
    "Find node types (steps) for a workflow. Without arguments it lists all; `type` gives one with its config schema, output and examples."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ

MAX_LISTED = 100
EXAMPLES = 3  # of the types found, those that come with the example nearest to the question


async def run(
    ctx: Ctx,
    query: Annotated[str | None, Field(max_length=200, description='words, e.g. "ask a person"')] = None,
    type: Annotated[str | None, Field(max_length=64, description='one type, e.g. "http"')] = None,
    detail: Annotated[
        Literal["summary", "full"], Field(description="full adds schemas and examples to what query finds (first 2)")
    ] = "summary",
) -> CallToolResult:
    if type is not None:
        return answer(describe(_known(type)), next='validate_workflow(definition=…) · get_guide("definition")')
    found = find(query or "", limit=MAX_LISTED) or list(node_types().values())
    if detail == "full" and query:
        return answer({"node_types": [describe(kind) for kind in found[:2]]}, next="validate_workflow(definition=…)")
    listed = [describe(kind, "summary") for kind in found]
    if query:
        for kind, line in zip(found[:EXAMPLES], listed, strict=False):
            line["example"] = best_example(kind, query)
    return answer({"node_types": listed, "total": len(listed)}, next='find_node_types(type="…") for config and examples')


def _known(name: str) -> NodeType:
    if name in node_types():
        return node_types()[name]
    raise NotFound(f"There is no node type {name!r}. " + nearest(name, node_types(), "There are"))
