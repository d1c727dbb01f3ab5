"""Schemas of authors: what we accept, the library accepts too and can use; what we refuse, we can say why."""

from __future__ import annotations

import random
import time
from typing import Any

import jsonpatch
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from graphs.checks.fields import absent
from graphs.checks.schemas import check_schema
from graphs.checks.values import check_values
from tests.checks.mutations import copyable, mutate

BASE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"item": {"type": "object", "properties": {"sku": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"}}}},
    "type": "object",
    "title": "Order",
    "properties": {
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "uniqueItems": True},
        "kind": {"enum": ["a", "b"], "default": "a"},
        "amount": {"type": ["number", "null"], "minimum": 0, "multipleOf": 0.01},
        "address": {"anyOf": [{"type": "string", "maxLength": 80}, {"type": "object", "required": ["street"]}]},
        "tree": {"type": "object", "properties": {"left": {"$ref": "#/properties/tree"}}},
    },
    "required": ["items"],
    "additionalProperties": False,
    "if": {"properties": {"kind": {"const": "b"}}},
    "then": {"required": ["amount"]},
    "dependentRequired": {"amount": ["kind"]},
    "patternProperties": {"^x-": {}},
}
VALUES: tuple[Any, ...] = ({}, {"items": [{"sku": "AB1"}], "kind": "b", "tree": {"left": {"left": {}}}}, [], None, "text", 3, {"x-y": 1})


def errors(schema: Any) -> list[str]:
    return [one.message for one in check_schema(schema, "/input") if one.severity == "error"]


def test_what_is_accepted_the_library_accepts_and_can_use() -> None:
    chance = random.Random(3)
    accepted = refused = 0
    for _ in range(1200):
        schema: Any = mutate(BASE, chance)
        if not copyable(schema, 30) or list(check_values(schema)):
            continue
        if errors(schema):
            refused += 1
            continue
        accepted += 1
        Draft202012Validator.check_schema(schema)
        validator: Any = Draft202012Validator(schema)
        for value in VALUES:
            list(validator.iter_errors(value))
    print(f"{accepted} schemas accepted, {refused} refused")
    assert accepted > 200
    assert refused > 200


MISTAKES: list[tuple[Any, Any]] = [
    ({"type": "int"}, {"type": "integer"}),
    ({"type": ["str", "null"]}, {"type": ["string", "null"]}),
    ({"type": "strng"}, {"type": "string"}),
    ({"name": "string", "age": "int"}, {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}),
    ({"properties": {"a": "string"}}, {"properties": {"a": {"type": "string"}}}),
    ({"properties": ["a", "b"]}, {"properties": {"a": {}, "b": {}}}),
    ({"type": "array", "items": [{}]}, {"type": "array", "prefixItems": [{}]}),
    ({"minimum": "5"}, {"minimum": 5}),
    ({"required": "a"}, {"required": ["a"]}),
    ({"enum": "a"}, {"enum": ["a"]}),
    ({"uniqueItems": "true"}, {"uniqueItems": True}),
    ({"$ref": "https://example.com/x.json", "type": "object"}, {"type": "object"}),
    ({"$ref": "#/$defs/none", "type": "object"}, {"type": "object"}),
    ({"type": "string", "pattern": "(a+)+$"}, {"type": "string"}),
    ({"type": "string", "pattern": "["}, {"type": "string"}),
]


@pytest.mark.parametrize(("schema", "fixed"), MISTAKES)
def test_common_mistakes_are_repaired(schema: Any, fixed: Any) -> None:
    found = [one for one in check_schema(schema, "") if one.severity == "error"]
    assert found
    assert jsonpatch.apply_patch(schema, list(found[0].patch)) == fixed
    assert not errors(fixed)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
        {"$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)} | {"a30": {}}, "$ref": "#/$defs/a0"},
        {"not": {"$ref": "#"}},
    ],
)
def test_schemas_without_end_are_refused_quickly(schema: Any) -> None:
    began = time.monotonic()
    assert errors(schema)
    assert time.monotonic() - began < 1.0


def test_recursion_through_a_property_is_allowed() -> None:
    assert not errors({"type": "object", "properties": {"next": {"$ref": "#"}}})


@pytest.mark.parametrize("pattern", ["(a|aa)+$", "(a*)*b", "(.*)(.*)(.*)(.*)x", r"(a)\1", "([a-z]+)*", "x" * 501, "(?:a+){60}"])
def test_patterns_that_could_run_for_ever_are_refused(pattern: str) -> None:
    assert errors({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}$",
        r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$",
        "^[^@]+@[^@]+$",
        "^(a|b)$",
        "^[A-Z]+-[0-9]+$",
        "^(abc)?x*$",
        r"^\d+-\d+-\d+-\d+$",
        "^https?://.+$",
    ],
)
def test_ordinary_patterns_are_accepted(pattern: str) -> None:
    assert not errors({"type": "string", "pattern": pattern})


def test_schemas_tell_which_fields_can_be() -> None:
    schema: Any = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "list": {"type": "array", "items": {"type": "object", "properties": {"k": {}}}}},
        "additionalProperties": False,
        "$defs": {
            "x": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"y": {"type": "string"}}, "additionalProperties": False}]}
        },
    }
    assert absent(schema, ("a", "y")) is None
    assert absent(schema, ("list", 0, "k")) is None
    missing = absent(schema, ("b",))
    assert missing is not None
    assert missing.closed
    assert missing.names == ("a", "list")
    inner = absent(schema, ("a", "z"))
    assert inner is not None
    assert inner.closed
    text = absent(schema, ("a", "y", "length"))
    assert text is not None
    assert text.kind == "string"
    flat = absent(schema, ("list", "k"))
    assert flat is not None
    assert flat.kind == "array"
    open_ended = absent({"type": "object", "properties": {"a": {}}}, ("b",))
    assert open_ended is not None
    assert not open_ended.closed
    assert absent({}, ("anything", 3, "at", "all")) is None
    assert absent({"type": "object", "additionalProperties": {"type": "object"}}, ("x", "y")) is None


def test_the_library_refuses_what_we_refuse_or_we_are_stricter_by_choice() -> None:
    with pytest.raises(SchemaError):
        Draft202012Validator.check_schema({"type": "int"})
