"""Tools of other servers that steps name: whether a person has approved them, and whether the arguments fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphs.checks.diagnostic import Diagnostic, joined, replace
from graphs.checks.repairs import meant
from graphs.checks.sites import templated
from graphs.checks.view import NodeView, View
from graphs.definition import Json, Schema
from graphs.documents import is_array, is_object
from graphs.inputs import problems
from graphs.remote.definitions import shown, usable

NAMED = {"mcp_tool": "tool", "openapi": "operation"}


def check_remote(view: View, tools: Mapping[str, Mapping[str, Schema]] | None) -> Iterator[Diagnostic]:
    """`tools`: connection -> approved tool -> schema of its arguments; None: not known."""
    for node in view.nodes:
        if tools is None or node.type not in NAMED:
            continue
        connection = node.raw_config.get("connection")
        if isinstance(connection, str) and connection in tools:
            yield from _check_tool(node, NAMED[node.type], connection, tools[connection])


def _check_tool(node: NodeView, field: str, connection: str, tools: Mapping[str, Schema]) -> Iterator[Diagnostic]:
    name, pointer = node.raw_config.get(field), f"{node.pointer}/config/{field}"
    if not isinstance(name, str) or "{{" in name:
        return
    if name in tools:
        yield from _check_arguments(node, name, tools[name])
        return
    close = meant(name, tools)
    hint = f"did you mean {close[0]!r}?" if close else f"approved are {', '.join(list(tools)[:12]) or 'none yet'}"
    message = f"the connection {connection!r} has no approved tool {name!r}; {hint}"
    patch = (replace(pointer, close[0]),) if close else ()
    yield Diagnostic(code="unknown_tool", severity="warning", pointer=pointer, message=message, suggestions=tuple(close), patch=patch)


def _check_arguments(node: NodeView, name: str, schema: Schema) -> Iterator[Diagnostic]:
    given = node.raw_config.get("arguments", {})
    if not is_object(given):
        return
    place = f"{node.pointer}/config" + ("/arguments" if "arguments" in node.raw_config else "")
    bare = _without_templates(given)
    for problem in problems(_lenient(usable(schema), schema) if bare != given else usable(schema), bare):
        message = f"the arguments of {name!r} do not fit: {shown(problem['message'], 250)}"
        pointer = place + (problem["pointer"] if "arguments" in node.raw_config else "")
        yield Diagnostic(code="bad_arguments", pointer=pointer, message=message)
    properties = schema.get("properties")
    required = schema.get("required")
    for missing in required if is_array(required) and bare != given else []:
        if missing not in given:
            message = f"the arguments of {name!r} do not fit: {shown(str(missing), 100)!r} is a required property"
            yield Diagnostic(code="bad_arguments", pointer=place, message=message)
    if bare != given and schema.get("additionalProperties") is False and is_object(properties):
        for odd in given.keys() - properties.keys() - bare.keys():
            message = f"the arguments of {name!r} do not fit: {odd!r} is none of {', '.join(list(properties)[:20])}"
            yield Diagnostic(code="bad_arguments", pointer=joined(place, odd), message=message)


def _without_templates(arguments: dict[str, Json]) -> dict[str, Json]:
    """What is computed is looked at when it is known."""
    return {name: value for name, value in arguments.items() if not templated(value)}


def _lenient(schema: Schema, whole: Schema) -> Schema:
    """What can be said of some of the arguments: each against its own schema."""
    kept = {key: schema[key] for key in ("type", "properties", "additionalProperties", "$defs", "definitions") if key in schema}
    return kept or whole
