"""find_node_types: the catalogue of node types, searched or one in full."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from mcp.types import CallToolResult
from pydantic import Field

from graphs.catalogue import node_types
from graphs.nodetype import NodeType
from server.answers import answer
from server.auth import Scope
from server.schemas import lean
from server.tools import Ctx, hints
from store.errors import NotFound

DESCRIPTION = (
    "Find node types (steps) for a workflow. Without arguments it lists all; `type` gives one with its config schema, output and examples."
)
ANNOTATIONS = hints(read_only=True)
SCOPE = Scope.READ

BODY = {"type": "object", "description": "group body: {nodes: […], edges: […]} as at the top level of a definition"}


async def run(
    ctx: Ctx,
    query: Annotated[str | None, Field(max_length=200, description='words, e.g. "ask a person"')] = None,
    type: Annotated[str | None, Field(max_length=64, description='one type, e.g. "http"')] = None,
    detail: Annotated[
        Literal["summary", "full"], Field(description="full adds schemas and examples to what query finds (first 3)")
    ] = "summary",
) -> CallToolResult:
    if type is not None:
        return answer(described(_known(type)), next='validate_workflow(definition=…) · get_guide("definition")')
    found = search(query)
    if detail == "full" and query:
        return answer({"node_types": [described(kind) for kind in found[:3]]}, next="validate_workflow(definition=…)")
    listed = [{"type": kind.name, "family": kind.family, "summary": kind.summary} for kind in found]
    return answer({"node_types": listed, "total": len(listed)}, next='find_node_types(type="…") for config and examples')


def search(query: str | None) -> list[NodeType]:
    """Node types that share words with the query, the best first; all of them without one or when nothing matches."""
    words = [word for word in (query or "").lower().replace("_", " ").split() if len(word) > 1]
    ranked = [(_score(kind, words), kind) for kind in node_types().values()]
    best = [kind for score, kind in sorted(ranked, key=lambda item: (-item[0], item[1].name)) if score]
    return best or list(node_types().values())


def _score(kind: NodeType, words: list[str]) -> int:
    name, text = kind.name.replace("_", " "), f"{kind.family} {kind.summary}".lower()
    return sum(3 * (word in name) + (word in text or word.rstrip("s") in text) for word in words)


def _known(name: str) -> NodeType:
    if name in node_types():
        return node_types()[name]
    near = difflib.get_close_matches(name, node_types(), n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else f"The types are {', '.join(node_types())}."
    raise NotFound(f"There is no node type {name!r}. {hint}")


def described(kind: NodeType) -> dict[str, Any]:
    """Everything an author needs to write a node of this type."""
    first = kind.config.model_validate(kind.examples[0])
    found: dict[str, Any] = {
        "type": kind.name,
        "summary": kind.summary,
        "effect": str(kind.effect(first)),
        "config": lean(_without_bodies(kind.config.model_json_schema(by_alias=True))),
        "examples": list(kind.examples),
        "output": kind.output(first),
    }
    if branches := kind.branches(first):
        found["branches"] = [*branches, "error"]
    if kind.waits:
        found["waits"] = True
    return found


def _without_bodies(schema: dict[str, Any]) -> dict[str, Any]:
    """A group's body is a definition within the definition: naming it says more than 3,000 characters of schema."""
    definitions = schema.get("$defs", {})
    return {
        **schema,
        "$defs": {
            **{name: child for name, child in definitions.items() if name not in ("Node", "Edge", "Retry", "Position")},
            "Body": BODY,
        },
    }
