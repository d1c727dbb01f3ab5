"""Node types: one that does not exist and the one that was meant, one that is missing, groups too deep in one another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphs.catalogue import ALSO_CALLED, node_types
from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, quoted, remove, replace
from graphs.checks.models import holds_bodies
from graphs.checks.repairs import meant, translated
from graphs.checks.view import MAX_GROUPS, NodeView
from graphs.definition import Json
from graphs.nodetype import NodeType


def check_type(node: NodeView) -> Iterator[Diagnostic]:
    if node.kind is None and "type" in node.raw and node.type is not None:
        yield unknown_type(node.type, node.raw_config, node.pointer, f"node {node.label}")
    elif "type" not in node.raw and not any(meant(name, ["type"]) for name in node.raw):
        fitting = [name for name, kind in node_types().items() if set(node.raw_config) & set(kind.config.model_fields)]
        best = max(fitting, key=lambda name: _overlap(node.raw_config, name), default=None)
        patch = (add(f"{node.pointer}/type", best),) if best else ()
        message = f"node {node.label} needs a `type`"
        yield Diagnostic(code="missing_field", pointer=node.pointer, message=message, expected="type", patch=patch)
    if node.kind and "type_version" in node.raw:
        yield from _check_version(node.kind, node.raw["type_version"], f"{node.pointer}/type_version", node.label)
    if node.kind and node.group.depth >= MAX_GROUPS and holds_bodies(node.kind.config):
        message = f"groups are nested more than {MAX_GROUPS} deep at node {node.label}"
        yield Diagnostic(code="too_deep", pointer=node.pointer, message=message)


def _check_version(kind: NodeType, version: Json, pointer: str, label: str) -> Iterator[Diagnostic]:
    """A version that there is not yet, of a node type that another Weft may know; what is no number the definition's model refuses."""
    if isinstance(version, bool) or not isinstance(version, int) or 1 <= version <= kind.version:
        return
    message = f"node {label}: {kind.name!r} has the version {kind.version} here, not {version}"
    expected = "1" if kind.version == 1 else f"1 to {kind.version}"
    yield Diagnostic(code="unknown_version", pointer=pointer, message=message, expected=expected, patch=(replace(pointer, kind.version),))


def unknown_type(type: str, config: dict[str, Json], pointer: str, name: str) -> Diagnostic:
    """A type that does not exist, in the object at this pointer."""
    names = list(node_types())
    close = _meant_types(type, config)
    hint = f"did you mean {close[0]!r}?" if close else f"the node types are {', '.join(names)}"
    return Diagnostic(
        code="unknown_type",
        pointer=f"{pointer}/type",
        message=f"{name}: there is no node type {quoted(type)}; {hint}",
        expected="one of " + ", ".join(names),
        suggestions=tuple(close),
        patch=(replace(f"{pointer}/type", close[0]), *_translations(close[0], config, f"{pointer}/config")) if close else (),
    )


def _meant_types(type: str, config: dict[str, Json]) -> list[str]:
    names = list(node_types())
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type).lower())
    plain, joint = "_".join(words), "".join(words)
    close = meant(plain, names) or [name for name in names if joint in (other.replace("_", "") for other in ALSO_CALLED.get(name, ()))]
    close = close or [name for name in names if name in words]
    if close == ["foreach"]:  # what others call a loop may be either
        close.append("while")
    return sorted(close, key=lambda name: -_overlap(config, name)) if len(close) > 1 and config else close


def _translations(type: str, config: dict[str, Json], pointer: str) -> Iterator[Operation]:
    """Fields of the config that mean the same under another name and another value."""
    fields = {field.alias or name for name, field in node_types()[type].config.model_fields.items()}
    for name, value in config.items():
        found = translated(name, value, fields)
        if found and name not in fields and found[0] in fields and found[0] not in config:
            yield remove(joined(pointer, name))
            yield add(joined(pointer, found[0]), found[1])


def _overlap(config: dict[str, Json], name: str) -> int:
    """How well a config fits a node type, by the names of its fields."""
    fields = node_types()[name].config.model_fields
    known = {field.alias or own for own, field in fields.items()}
    given = {(found[0] if (found := translated(field, value, known)) else field) for field, value in config.items()}
    return (
        len(known & given) * 10
        - len(given - known) * 20
        - sum(10 for own, field in fields.items() if field.is_required() and (field.alias or own) not in given)
    )
