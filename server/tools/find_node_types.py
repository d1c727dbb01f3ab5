"""find_node_types: the catalogue of node types, searched or one in full."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs.catalogue import describe, node_types
from graphs.definition import Json
from graphs.finding import best_example, find
from graphs.finding_tools import UNTRUSTED, Offer, described, line, meant, named, offers
from graphs.nodetype import NodeType
from graphs.pinning import nearest
from server.answers import answer
from server.auth import Scope
from server.tools import Ctx, caller_of, hints
from store.errors import NotFound

DESCRIPTION = (
    "Find node types (steps) for a workflow. Without arguments it lists all; `type` gives one with its config schema, output and examples."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ

MAX_LISTED = 100
TOOLS, BESIDE = 5, 12  # tools of other servers that a question finds, and node types listed beside them
EXAMPLES = 3  # of the types found, those that come with the example nearest to the question


async def run(
    ctx: Ctx,
    query: Annotated[str | None, Field(max_length=200, description='words, e.g. "ask a person"')] = None,
    type: Annotated[str | None, Field(max_length=64, description='one type, e.g. "http"')] = None,
    detail: Annotated[
        Literal["summary", "full"], Field(description="full adds schemas and examples to what query finds (first 2)")
    ] = "summary",
) -> CallToolResult:
    caller = caller_of(ctx)
    remote = await offers(caller.runtime, caller.actor)
    if type is not None:
        tool = named(type, remote)
        found = described(tool) if tool else describe(_known(type, remote))
        return answer(found, next='validate_workflow(definition=…) · get_guide("definition")')
    theirs = meant(query, remote, TOOLS) if query else []
    listed = find(query or "", limit=MAX_LISTED) or list(node_types().values())
    if detail == "full" and query:
        full = [described(offer) for offer in theirs[:1]]
        ours = [] if theirs and theirs[0].name == query.strip() else [describe(kind) for kind in listed[: 1 if theirs else 2]]
        return answer({**({"remote_tools": full} if full else {}), "node_types": ours}, next="validate_workflow(definition=…)")
    return answer(_listed(query, listed, theirs, len(remote)), next='find_node_types(type="…") for config and examples')


def _listed(query: str | None, found: list[NodeType], theirs: list[Offer], remote: int) -> dict[str, Json]:
    """One line each. Tools of other servers come first: whoever asks for one by name wants that one."""
    body: dict[str, Json] = {}
    if theirs:
        more = f'find_node_types(type="{theirs[0].name}") gives its arguments'
        body = {"remote_tools": [line(offer) for offer in theirs], "untrusted": UNTRUSTED, "remote_next": more}
        found = found[:BESIDE]
    elif remote and not query:
        body = {"remote_tools": f"{remote} approved tools of connected servers; search by what you want done"}
    listed = [describe(kind, "summary") for kind in found]
    if query:
        for kind, one in zip(found[:EXAMPLES], listed, strict=False):
            one["example"] = best_example(kind, query)
    return {**body, "node_types": listed, "total": len(listed)}


def _known(name: str, remote: list[Offer]) -> NodeType:
    if name in node_types():
        return node_types()[name]
    known = [*node_types(), *(offer.name for offer in remote)]
    raise NotFound(f"There is no node type {name!r}. " + nearest(name, known if "/" in name else node_types(), "There are"))
