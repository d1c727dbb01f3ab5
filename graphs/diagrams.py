"""Draws a definition as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.catalogue import node_types
from graphs.definition import Body, Definition, Edge, Node
from graphs.nodetype import NodeType

SHAPES = {"decision": ("{{", "}}"), "human": ("([", "])"), "step": ("[", "]")}
MAX_LABEL = 60


def mermaid(definition: Definition) -> str:
    """A flowchart: groups are subgraphs, conditions are labels, error edges are dotted."""
    lines = ["flowchart TD", *_body(definition, "", 1)]
    return "\n".join(lines)


def _body(body: Body, path: str, depth: int) -> Iterator[str]:
    for node in body.nodes:
        yield from _node(node, path, depth)
    for edge in body.edges:
        yield "  " * depth + _edge(edge, path)


def _node(node: Node, path: str, depth: int) -> Iterator[str]:
    name, indent = path + node.id, "  " * depth
    kind = node_types().get(node.type)
    bodies = _bodies(kind, node)
    if not bodies:
        opening, closing = SHAPES[_shape(kind)]
        yield f"{indent}{name}{opening}{_label(node)}{closing}"
        return
    yield f"{indent}subgraph {name}[{_label(node)}]"
    for number, (pointer, body) in enumerate(bodies.items()):
        inner = f"{name}__{number}__" if len(bodies) > 1 else f"{name}__"
        if len(bodies) > 1:
            yield f"{indent}  subgraph {name}__{number}[{_quoted(pointer.strip('/').replace('/', ' '))}]"
            yield from _body(body, inner, depth + 2)
            yield f"{indent}  end"
        else:
            yield from _body(body, inner, depth + 1)
    yield f"{indent}end"


def _bodies(kind: NodeType | None, node: Node) -> dict[str, Body]:
    return kind.bodies(kind.config.model_validate(node.config)) if kind else {}


def _shape(kind: NodeType | None) -> str:
    if kind is None:
        return "step"
    return "human" if kind.family == "human" else "decision" if kind.taken else "step"


def _label(node: Node) -> str:
    off = ", disabled" if node.disabled else ""
    return _quoted(f"{node.name or node.id} ({node.type}{off})")


def _edge(edge: Edge, path: str) -> str:
    arrow = "-.->" if edge.branch == "error" else "-->"
    words = " · ".join(word for word in (edge.label, edge.branch, edge.when) if word)
    return f"{path}{edge.source} {arrow}{f'|{_quoted(words)}|' if words else ''} {path}{edge.target}"


def _quoted(text: str) -> str:
    """A Mermaid string: its quotes, entities and line ends written as entities, so that no label can end early or carry markup."""
    cut = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    safe = "".join(char if char.isalnum() or char in " _-.,:·…()[]'=!+*/?" else f"#{ord(char)};" for char in " ".join(cut.split()))
    return f'"{safe}"'
