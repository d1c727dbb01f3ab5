"""Documents as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.definition import Json
from graphs.documents import parse, to_yaml
from store.errors import Invalid
from tests.checks.samples import ten_nodes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def test_json_and_yaml_say_the_same() -> None:
    text = """
name: refund
nodes:
  - id: a
    type: set
    config: {values: {date: 2020-01-31, on: yes, time: 1:30, code: 012, total: 1.5, none: ~, ok: true, text: "{{ input.x }}"}}
"""
    values = {
        "date": "2020-01-31",
        "on": "yes",
        "time": "1:30",
        "code": "012",
        "total": 1.5,
        "none": None,
        "ok": True,
        "text": "{{ input.x }}",
    }
    assert parse(text) == {"name": "refund", "nodes": [{"id": "a", "type": "set", "config": {"values": values}}]}
    assert parse('{"a": [1, "\\ud800"]}') == {"a": [1, "\ud800"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "not valid JSON: Expecting ':' delimiter at line 2, column 6"),
        ('{"a": NaN}', "not valid JSON: NaN is not a JSON number"),
        ('{"a": 1e999}', "not valid JSON: 1e999 is too large for a number"),
        ('{"a": 1, "a": 2}', "not valid JSON: the key 'a' occurs twice in one object"),
        ("a: &x [1]\nb: *x", "not valid YAML: aliases (*name) are not allowed; write the value out at line 2, column 4"),
        ("a: {{ input.x }}", "not valid YAML: a key must be text; a value that starts with {{ must be in quotes at line 1, column 5"),
        ("a: .inf", "not valid YAML: .inf is not a JSON number at line 1, column 4"),
        ("1: 2", "not valid YAML: the key 1 is not text; put it in quotes at line 1, column 1"),
        ("a: 1\na: 2", "not valid YAML: a key occurs twice at line 1, column 1"),
        ("[" * 5000, "the document is nested too deeply"),
    ],
)
def test_what_is_neither_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system ['id']", "a: !!binary aGk=", "a: \x00", "9" * 5000, "{" * 3000, "- " * 3000, "x" * 2_000_000],
)
def test_hostile_texts_are_refused(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(Invalid):
        parse(text)
    assert time.monotonic() - began < 5


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Invalid, match="aliases"):
        parse("\n".join(lines))


@given(VALUES)
def test_yaml_is_read_back_as_it_was_written(value: Json) -> None:
    assert parse(to_yaml(value)) == value


def test_a_definition_survives_the_way_through_yaml() -> None:
    assert parse(to_yaml(ten_nodes())) == ten_nodes()
    assert "&" not in to_yaml(ten_nodes())
