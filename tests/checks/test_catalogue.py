"""The catalogue as authors see it."""

from __future__ import annotations

import json

import pytest

from graphs.catalogue import ALSO_CALLED, describe, find, node_types


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("loop over a list", "foreach"),
        ("call a REST API", "http"),
        ("run python code", "script"),
        ("wait 3 days", "wait"),
        ("ask a person to approve", "approval"),
        ("merge branches", "join"),
        ("summarize text with AI", "summarize"),
        ("make a summary of a long document", "summarize"),
        ("make embeddings of texts", "embed"),
        ("generate an answer with GPT", "llm"),
        ("run another workflow", "subflow"),
        ("repeat until it is done", "while"),
        ("poll until ready", "while"),
        ("loop 3 times", "while"),
        ("first answer wins", "race"),
        ("undo when a step fails", "try"),
        ("catch an error", "try"),
        ("send a signal to another run", "emit_event"),
    ],
)
def test_a_search_finds_the_type_people_mean(query: str, name: str) -> None:
    assert find(query, 3)[0].name == name


def test_an_empty_search_lists_everything_and_nonsense_nothing() -> None:
    assert len(find("", 100)) == len(node_types())
    assert find("zzzz") == []


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
