"""JSON Schemas that authors write: valid draft 2020-12, nothing fetched, nothing endless."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from graphs.checks.diagnostic import Diagnostic, Operation, add, joined, quoted, remove, replace
from graphs.checks.patterns import slow_pattern
from graphs.checks.repairs import TYPES, meant
from graphs.definition import Json
from graphs.documents import is_array, is_object

NAMES = ("null", "boolean", "object", "array", "number", "string", "integer")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_EXPANSION = 2000  # schemas that apply to one value at once

# What each keyword's value must be (JSON Schema 2020-12, the vocabularies that validate or annotate).
SHAPES: dict[str, str] = {
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), "schemas"),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), "schema list"),
    **dict.fromkeys(("items", "additionalProperties", "contains", "not", "if", "then", "else"), "schema"),
    **dict.fromkeys(("propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"), "schema"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties"), "count"),
    **dict.fromkeys(("maxProperties", "minContains", "maxContains"), "count"),
    **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly", "deprecated"), "true or false"),
    **dict.fromkeys(("pattern", "format", "title", "description", "$comment", "$ref", "$schema", "$id"), "text"),
    **dict.fromkeys(("contentEncoding", "contentMediaType"), "text"),
    **dict.fromkeys(("enum", "examples"), "list"),
    "required": "names",
    "dependentRequired": "names by name",
    "type": "type",
}
REFUSED = ("$dynamicRef", "$dynamicAnchor", "$anchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary", "dependencies")
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "$ref")


def check_schema(schema: Json, pointer: str) -> Iterator[Diagnostic]:
    """Problems of one schema at a place in the document."""
    if is_object(schema) and (shorthand := _shorthand(schema)):
        message = "this lists fields and types, but is no JSON Schema: that has `type` and `properties`"
        yield Diagnostic(code="bad_schema", pointer=pointer, message=message, patch=(replace(pointer, shorthand),))
        return
    found = list(_check(schema, schema, pointer, set()))
    yield from found
    if not found:
        yield from _endless(schema, pointer)


def _shorthand(schema: dict[str, Json]) -> dict[str, Json] | None:
    """{"name": "string"} as the schema it stands for."""
    if not schema or any(key in SHAPES or key == "const" for key in schema):
        return None
    whole = {name: _property(value) for name, value in schema.items()}
    if any(value is None for value in whole.values()):
        return None
    return {"type": "object", "properties": whole}


def _property(value: Json) -> dict[str, Json] | None:
    if isinstance(value, str):
        name = value if value in NAMES else TYPES.get(value.lower())
        return {"type": name} if name else None
    return value if is_object(value) and any(key in SHAPES for key in value) else None


def _check(schema: Json, root: Json, pointer: str, seen: set[int]) -> Iterator[Diagnostic]:
    if isinstance(schema, bool):
        return
    if not is_object(schema):
        short = _property(schema)
        patch = (replace(pointer, short),) if short else ()
        message = f"a JSON Schema is an object, not {quoted(schema)}"
        yield Diagnostic(code="bad_schema", pointer=pointer, message=message, expected="an object", patch=patch)
        return
    if id(schema) in seen:
        return
    seen.add(id(schema))
    for key, value in schema.items():
        place = joined(pointer, key)
        if key in REFUSED or (key == "$id" and schema is not root):
            message = f"{key} is not supported in the schemas of a workflow"
            yield Diagnostic(code="bad_schema", pointer=place, message=message, patch=(remove(place),))
            continue
        shape = SHAPES.get(key)
        if shape is None:
            continue
        problem = _misshapen(key, shape, value)
        if problem:
            yield Diagnostic(
                code="bad_schema",
                pointer=place,
                message=f"{key} of a JSON Schema {problem}",
                expected=shape,
                patch=_repaired(schema, key, shape, value, pointer),
            )
        else:
            yield from _inside(key, shape, value, root, place, seen)


def _misshapen(key: str, shape: str, value: Json) -> str | None:
    """What is wrong with the value of a keyword, as the end of a sentence."""
    match shape:
        case "type":
            names = value if is_array(value) and value else [value]
            odd = [name for name in names if not (isinstance(name, str) and name in NAMES)]
            if odd or len({str(name) for name in names}) < len(names):
                return f"must be of {', '.join(NAMES)}, not {quoted(odd[0] if odd else value)}"
        case "schemas" if not is_object(value):
            return "must be an object of schemas"
        case "schema list" if not (is_array(value) and value):
            return "must be a list of schemas with something in it"
        case "schema" if not (is_object(value) or isinstance(value, (bool, str))):
            return "must be a schema"
        case "number" if not isinstance(value, (int, float)) or isinstance(value, bool) or (key == "multipleOf" and value <= 0):
            return "must be a number" + (" above 0" if key == "multipleOf" else "")
        case "count" if not _is_count(value):
            return "must be a whole number, 0 or more"
        case "true or false" if not isinstance(value, bool):
            return "must be true or false"
        case "text" if not isinstance(value, str):
            return "must be text"
        case "list" if not is_array(value):
            return "must be a list"
        case "names" if not _are_names(value):
            return "must be a list of property names, each once"
        case "names by name" if not (is_object(value) and all(_are_names(inner) for inner in value.values())):
            return "must be an object of lists of property names"
        case _:
            return None
    return None


def _is_count(value: Json) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value >= 0


def _are_names(value: Json) -> bool:
    return is_array(value) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


def _repaired(schema: dict[str, Json], key: str, shape: str, value: Json, pointer: str) -> tuple[Operation, ...]:
    """The patch for a keyword of the wrong shape, where the meaning is plain."""
    place = joined(pointer, key)
    if key == "items" and is_array(value):
        return (remove(place), add(joined(pointer, "prefixItems"), value)) if value else (remove(place),)
    if shape == "type" and isinstance(value, str):
        close = [TYPES[value.lower()]] if value.lower() in TYPES else meant(value, NAMES)
        return (replace(place, close[0]),) if close else (remove(place),)
    if shape == "type" and is_array(value):
        names = [TYPES.get(str(name).lower(), name) for name in value]
        return (replace(place, list(dict.fromkeys(name for name in names if name in NAMES))),) if names else (remove(place),)
    if key == "properties" and is_array(value) and all(isinstance(name, str) for name in value):
        return (replace(place, {name: {} for name in value}),)
    if isinstance(value, str) and shape in ("number", "count") and re.fullmatch(r"\d{1,15}(\.\d{1,15})?", value):
        return (replace(place, float(value) if "." in value else int(value)),)
    if isinstance(value, str) and shape in ("names", "list"):
        return (replace(place, [value]),)
    if isinstance(value, str) and shape == "true or false" and value.lower() in ("true", "false"):
        return (replace(place, value.lower() == "true"),)
    return (remove(place),)


def _inside(key: str, shape: str, value: Json, root: Json, place: str, seen: set[int]) -> Iterator[Diagnostic]:
    """Schemas inside a keyword, its references and its patterns."""
    if shape == "schema":
        yield from _check(value, root, place, seen)
    elif shape == "schemas" and is_object(value):
        for name, inner in value.items():
            if key == "patternProperties" and (problem := slow_pattern(name)):
                yield Diagnostic(code="bad_schema", pointer=place, message=f"the pattern {quoted(name)} {problem}")
            yield from _check(inner, root, joined(place, name), seen)
    elif shape == "schema list" and is_array(value):
        for number, inner in enumerate(value):
            yield from _check(inner, root, f"{place}/{number}", seen)
    elif key == "$ref" and resolved(root, str(value)) is None:
        message = f"{quoted(value)} leads nowhere in this schema; only references such as #/$defs/name are followed"
        yield Diagnostic(code="bad_schema", pointer=place, message=message, patch=(remove(place),))
    elif key == "pattern" and (problem := slow_pattern(str(value))):
        yield Diagnostic(code="bad_schema", pointer=place, message=f"the pattern {problem}", patch=(remove(place),))
    elif key == "$schema" and str(value).rstrip("#") != DRAFT:
        message = "schemas are read as draft 2020-12, whatever $schema says"
        yield Diagnostic(code="bad_schema", severity="warning", pointer=place, message=message, patch=(replace(place, DRAFT),))


def resolved(root: Json, reference: str) -> Json:
    """The schema a local reference leads to; None when it leads nowhere."""
    if reference in ("#", ""):
        return root
    if not reference.startswith("#/"):
        return None
    value = root
    for part in unquote(reference[2:]).split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if is_object(value) and part in value:
            value = value[part]
        elif is_array(value) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value if is_object(value) or isinstance(value, bool) else None


def _endless(root: Json, pointer: str) -> Iterator[Diagnostic]:
    """A schema that applies itself to the same value, or thousands of schemas to one value, would never come to an end."""
    costs: dict[int, int] = {}
    open_now: set[int] = set()

    def cost(schema: Json) -> int:
        if not is_object(schema):
            return 1
        if id(schema) in open_now:
            return MAX_EXPANSION + 1
        if id(schema) not in costs:
            open_now.add(id(schema))
            costs[id(schema)] = min(MAX_EXPANSION + 1, 1 + sum(cost(inner) for inner in _applied(schema, root)))
            open_now.discard(id(schema))
        return costs[id(schema)]

    stack: list[Json] = [root]
    seen: set[int] = set()
    while stack:
        schema = stack.pop()
        if id(schema) in seen or not (is_object(schema) or is_array(schema)):
            continue
        seen.add(id(schema))
        if is_object(schema) and cost(schema) > MAX_EXPANSION:
            message = "the schema refers to itself without end; a reference must lead through a property or an item"
            yield Diagnostic(code="bad_schema", pointer=pointer, message=message)
            return
        stack.extend(schema.values() if is_object(schema) else schema)


def _applied(schema: dict[str, Json], root: Json) -> Iterator[Json]:
    """Schemas that apply to the same value as this one."""
    for key in IN_PLACE:
        value = schema.get(key)
        if key == "$ref":
            if isinstance(value, str):
                yield resolved(root, value)
        elif is_array(value):
            yield from value
        elif key == "dependentSchemas" and is_object(value):
            yield from value.values()
        elif is_object(value):
            yield value
