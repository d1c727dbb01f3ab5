"""Schemas of an OpenAPI document as JSON Schemas that stand alone: local references only, cycles kept as references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from graphs.definition import Json, Schema
from graphs.documents import is_array, is_object
from graphs.remote.definitions import MAX_DEPTH

COMPONENT = "#/components/schemas/"
DROPPED = frozenset({"nullable", "example", "xml", "discriminator", "externalDocs", "$schema", "$id"})
DATA = frozenset({"enum", "const", "default", "examples", "required"})  # values, not schemas
MAX_REFS = 400  # schemas that one operation may need


class Unreadable(Exception):
    """A part of the document that cannot become a tool; the text says why."""


def resolve(document: dict[str, Any], value: Any) -> Any:
    """What a local reference leads to; anything else as it is. Raises Unreadable."""
    seen: set[str] = set()
    while is_object(value) and "$ref" in value:
        reference = str(value["$ref"])
        if reference in seen:
            raise Unreadable(f"the reference {reference[:200]} leads to itself")
        seen.add(reference)
        value = at(document, reference)
    return value


def at(document: dict[str, Any], reference: str) -> Any:
    if not reference.startswith("#/"):
        raise Unreadable(f"it refers to {reference[:200]!r}, outside the document; nothing is fetched")
    found: Any = document
    for part in unquote(reference[2:]).split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if is_object(found) and part in found:
            found = found[part]
        elif is_array(found) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise Unreadable(f"it refers to {reference[:200]!r}, which is not in the document")
    return found


class Converter:
    """Makes schemas of one operation stand alone. `old`: the document is 3.0, with a dialect of its own. `sent`: they are of a request."""

    def __init__(self, document: dict[str, Any], *, old: bool, sent: bool) -> None:
        self._document, self._old, self._sent = document, old, sent
        self._names: dict[str, str] = {}  # reference -> name among $defs
        self.definitions: dict[str, Schema] = {}

    def schema(self, schema: Json) -> Schema:
        """Raises Unreadable."""
        converted = self._of(schema, 0)
        return converted if is_object(converted) else {} if converted is True else {"not": {}}

    def _of(self, schema: Json, depth: int) -> Json:
        if isinstance(schema, bool):
            return schema
        if not is_object(schema):
            raise Unreadable("one of its schemas is not an object")
        if depth > MAX_DEPTH:
            raise Unreadable(f"one of its schemas is nested deeper than {MAX_DEPTH}")
        if "$ref" in schema:
            reference = {"$ref": f"#/$defs/{self._named(str(schema['$ref']))}"}
            rest = {} if self._old else dict(self._keywords({key: value for key, value in schema.items() if key != "$ref"}, depth))
            return {**rest, **reference}
        kept = dict(self._keywords(schema, depth))
        if self._old:
            _modernize(schema, kept)
        self._without_hidden(schema, kept)
        return kept

    def _keywords(self, schema: dict[str, Json], depth: int) -> Iterator[tuple[str, Json]]:
        for key, value in schema.items():
            if key in DROPPED or key.startswith("x-"):
                continue
            if key in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas") and is_object(value):
                yield key, {name: self._of(inner, depth + 1) for name, inner in value.items()}
            elif key in ("allOf", "anyOf", "oneOf", "prefixItems") and is_array(value):
                yield key, [self._of(inner, depth + 1) for inner in value]
            elif key not in DATA and is_object(value):
                yield key, self._of(value, depth + 1)
            else:
                yield key, value

    def _named(self, reference: str) -> str:
        if reference in self._names:
            return self._names[reference]
        target = at(self._document, reference)
        if len(self._names) >= MAX_REFS:
            raise Unreadable(f"its schemas refer to more than {MAX_REFS} others")
        wanted = re.sub(r"[^A-Za-z0-9_]", "_", reference.removeprefix(COMPONENT).removeprefix("#/"))[:80]
        name, number = wanted, 1
        while name in self._names.values():
            number += 1
            name = f"{wanted}_{number}"
        self._names[reference] = name
        self.definitions[name] = {}  # so that a cycle finds its name
        converted = self._of(target, 0)
        self.definitions[name] = converted if is_object(converted) else {}
        return name

    def _without_hidden(self, schema: dict[str, Json], kept: dict[str, Json]) -> None:
        """What only the other side writes is not asked for."""
        mark = "readOnly" if self._sent else "writeOnly"
        properties = schema.get("properties")
        if not is_object(properties) or not is_array(schema.get("required")):
            return
        hidden = {name for name, inner in properties.items() if is_object(inner) and inner.get(mark) is True}
        required = [name for name in schema["required"] if name not in hidden]
        if required:
            kept["required"] = required
        else:
            kept.pop("required", None)


def _modernize(schema: dict[str, Json], kept: dict[str, Json]) -> None:
    """OpenAPI 3.0: nullable, and bounds whose exclusiveness is a flag."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(kept.get(exclusive), bool) and kept.pop(exclusive) and bound in kept:
            kept[exclusive] = kept.pop(bound)
    if schema.get("nullable") is True and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
        if is_array(kept.get("enum")) and None not in kept["enum"]:
            kept["enum"] = [*kept["enum"], None]
