"""Compensation: what undoes a step is a step that can be done at once, and something will ask for it."""

from __future__ import annotations

from collections.abc import Iterator

from graphs.catalogue import node_types
from graphs.checks.diagnostic import Diagnostic, Operation, add, remove, replace
from graphs.checks.models import holds_bodies
from graphs.checks.types import unknown_type
from graphs.checks.view import GroupView, NodeView, View
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Effect, NodeType


def check_undoing(view: View, node: NodeView) -> Iterator[Diagnostic]:
    """The `compensate` of one node; its fields and config are looked at with the others."""
    undo, pointer = node.compensation, f"{node.pointer}/compensate"
    if undo is None:
        if isinstance(node.raw["compensate"], str):
            yield _as_text(view, node, node.raw["compensate"], pointer)
        return
    name = undo.get("type")
    kind = node_types().get(name) if isinstance(name, str) else None
    if kind is None:
        if isinstance(name, str):
            config = undo.get("config")
            yield unknown_type(name, config if is_object(config) else {}, pointer, f"the compensation of node {node.label}")
        return
    reason = _unfit(kind)
    if reason:
        message = f"{kind.name!r} cannot undo node {node.label}: {reason}; use a step that acts at once, such as http"
        yield Diagnostic(code="bad_compensate", pointer=f"{pointer}/type", message=message, patch=(remove(pointer),))
        return
    yield from _check_need(node, pointer)
    yield from _check_asked(view, node, pointer)


def _as_text(view: View, node: NodeView, text: str, pointer: str) -> Diagnostic:
    """`compensate: refund`, as tools write it where a compensation is a node of the graph."""
    other, kind = view.by_id.get(text), node_types().get(text)
    step: dict[str, Json] | None = None
    if other is not None and other is not node and other.kind and not _unfit(other.kind):
        step = {"type": other.kind.name, "config": other.raw_config}
    elif kind and not _unfit(kind):
        step = {"type": text, "config": kind.examples[0]}
    message = f"`compensate` of node {node.label} is not the name of a step but the step itself, {{type, config}}; it stands nowhere else"
    patch = (replace(pointer, step),) if step else (remove(pointer),)
    return Diagnostic(code="wrong_type", pointer=pointer, message=message, expected="an object with type and config", patch=patch)


def _unfit(kind: NodeType) -> str | None:
    """Why a node type cannot compensate."""
    if kind.ends:
        return "it ends the run"
    if kind.waits:
        return "it waits"
    if holds_bodies(kind.config):
        return "it is a group"
    return "it only brings branches together" if kind.name == "join" else None


def _check_need(node: NodeView, pointer: str) -> Iterator[Diagnostic]:
    """A step that changes nothing leaves nothing to undo. A group, or a child run, may."""
    if node.kind is None or node.config is None or node.bodies or node.type == "subflow":
        return
    effect = node.kind.effect(node.config)
    if effect in (Effect.PURE, Effect.READ):
        message = f"node {node.label} ({node.type}) is {effect}: it changes nothing, so there is nothing to undo"
        yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=(remove(pointer),))


def _check_asked(view: View, node: NodeView, pointer: str) -> Iterator[Diagnostic]:
    """Something must ask for it: a `try` or a `race` around the node, or the settings."""
    trying: NodeView | None = None
    group: GroupView | None = node.group
    while group and group.owner:
        owner = group.owner
        if owner.type == "race" or (owner.type == "try" and group.key == "/body" and owner.raw_config.get("compensate") is True):
            return
        trying = trying or (owner if owner.type == "try" and group.key == "/body" else None)
        group = owner.group
    settings = view.document.get("settings")
    if is_object(settings) and settings.get("compensate"):
        return
    if trying:
        message = f"`compensate` of the try {trying.label} around node {node.label} is not set"
        patch: tuple[Operation, ...] = (add(f"{trying.pointer}/config/compensate", True),)
    else:
        message = f"node {node.label} is in no try with `compensate` and in no race, and `settings.compensate` is not set"
        asked: list[Json] = ["failure", "cancel"]
        patch = (add("/settings/compensate", asked) if is_object(settings) else add("/settings", {"compensate": asked}),)
    message += ": only a cancel that says compensate=true would run this"
    yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=patch)


def check_asking(view: View) -> Iterator[Diagnostic]:
    """Where compensation is asked for, something inside must have it."""
    undone = [node for node in view.nodes if "compensate" in node.raw]
    inside = {id(group) for node in undone for group in _around(node)}
    for node in view.nodes:
        body = node.bodies.get("/body") if node.type == "try" and node.raw_config.get("compensate") is True else None
        if body is not None and id(body) not in inside:
            pointer = f"{node.pointer}/config/compensate"
            message = f"no node in the body of {node.label} has a `compensate`, so there is nothing to undo"
            yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=(remove(pointer),))
    settings = view.document.get("settings")
    if not undone and is_object(settings) and is_array(settings.get("compensate")) and settings["compensate"]:
        message = "no node has a `compensate`, so there is nothing to undo"
        pointer = "/settings/compensate"
        yield Diagnostic(code="no_effect", severity="warning", pointer=pointer, message=message, patch=(remove(pointer),))


def _around(node: NodeView) -> Iterator[GroupView]:
    """The bodies a node is in, from the inside out."""
    group: GroupView | None = node.group
    while group:
        yield group
        group = group.owner.group if group.owner else None
