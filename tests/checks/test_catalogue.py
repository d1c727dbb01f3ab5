"""The catalogue as authors see it."""

from __future__ import annotations

import json

import pytest

from graphs.catalogue import ALSO_CALLED, describe, node_types


@pytest.mark.parametrize("name", list(node_types()))
def test_a_description_is_short_and_complete(name: str) -> None:
    kind = node_types()[name]
    full = describe(kind)
    text = json.dumps(full, ensure_ascii=False)
    assert len(text) <= 3000
    assert '"title": "' not in json.dumps({**full, "examples": [], "config": {**full["config"], "properties": {}}})
    assert "$ref" not in text
    assert "$defs" not in text
    assert full["examples"][0] == kind.examples[0]
    assert set(full["config"].get("properties", {})) == {field.alias or own for own, field in kind.config.model_fields.items()}
    assert list(describe(kind, "summary")) == ["type", "family", "summary"]


def test_no_two_types_are_called_the_same() -> None:
    names = [name for others in ALSO_CALLED.values() for name in others]
    assert len(set(names)) == len(names)
    assert not set(names) & set(node_types())
