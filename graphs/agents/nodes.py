"""Node types as tools: what of their config a model may give, as a JSON Schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from graphs.catalogue import lean
from graphs.definition import Json, Schema
from graphs.expressions import raw_fields
from graphs.nodetype import NodeType


def raw_names(kind: NodeType) -> frozenset[str]:
    """Fields of its config that hold code, expressions or bodies: an author's, never a model's."""
    fields = kind.config.model_fields
    return frozenset(fields[name].alias or name for name in raw_fields(kind.config))


DECIDING = frozenset({"method", "idempotent", "remember"})
"""Fields that decide what a call may do to the world."""
AUTHORS = DECIDING | {"connection", "headers", "binary", "assign_to"}
"""Fields that are the author's: whose rights and what effect a call has. A model gives them only where `arguments` lists them."""
NEVER = frozenset({"limits", "agent"})
"""Fields that say who pays, and how much: no model gives them, whatever `arguments` says."""


def arguments_of(kind: NodeType, fixed: Mapping[str, Json]) -> Schema:
    """What is left of the config for the model."""
    schema: Schema = lean(kind.config.model_json_schema(by_alias=True))
    gone = raw_names(kind) | AUTHORS | NEVER | fixed.keys()
    properties: dict[str, Any] = {name: part for name, part in schema.get("properties", {}).items() if name not in gone}
    required = [name for name in schema.get("required", []) if name in properties]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def config_of(kind: NodeType, fixed: Mapping[str, Json], arguments: Mapping[str, Json], listed: Collection[str] = ()) -> dict[str, Json]:
    """The config of a call: what the author fixed is not the model's to change, and of the author's fields it gives the `listed` ones.
    Arguments of a script are values that its code sees."""
    if kind.name == "script":
        return {**fixed, "values": {**arguments, **dict(fixed.get("values") or {})}}
    gone = raw_names(kind) | NEVER | (AUTHORS - set(listed))
    return {**{name: value for name, value in arguments.items() if name not in gone}, **fixed}
