"""Properties of the splitter, of plain paths, and of the host and the sandbox agreeing with each other."""

from __future__ import annotations

import asyncio
import importlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs.definition import Json
from graphs.expressions import Evaluator, ExpressionError, Template, parse, references
from graphs.expressions.syntax import Reference
from graphs.expressions.template import Hole, raw_fields, split
from graphs.nodes import foreach, set, switch, wait

NAMES = st.sampled_from(["a", "b", "items", "get", "x y", "0", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
STEPS = st.lists(NAMES | st.integers(-2, 2), max_size=4)


@given(st.text(alphabet="ab{}'\"[]() \\\n", max_size=40))
def test_the_parts_of_a_text_put_together_are_the_text(text: str) -> None:
    try:
        parts = split(text)
    except ExpressionError:
        return
    assert "".join("{{" + part.text + "}}" if isinstance(part, Hole) else part for part in parts) == text
    assert all(text[part.start : part.end] == "{{" + part.text + "}}" for part in parts if isinstance(part, Hole))
    assert all("{{" not in part for part in parts if isinstance(part, str))


@given(st.text(max_size=30).filter(lambda text: "{{" not in text), VALUES)
def test_text_without_holes_and_a_single_hole_keep_their_value(text: str, value: Json) -> None:
    assert Template.compile(text).resolve({}) == text
    assert Template.compile("{{ x }}").resolve({"x": value}) == value


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_raise_anything_else(text: str) -> None:
    for tried in (text, "{{" + text + "}}", "{{ 'a' + " + text + " }}"):
        try:
            parse(tried)
            Template.compile(tried)
        except ExpressionError:
            continue


@pytest.fixture(scope="module")
def loop_and_evaluator():
    with asyncio.Runner() as runner:
        evaluator = Evaluator()
        yield runner, evaluator
        runner.run(evaluator.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, steps=STEPS)
def test_the_host_and_the_sandbox_agree_on_plain_paths(
    loop_and_evaluator: tuple[asyncio.Runner, Evaluator], value: Json, steps: list[str | int]
) -> None:
    runner, evaluator = loop_and_evaluator
    path = "input" + "".join(f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{step!r}]" for step in steps)

    def outcome(expression: str) -> Json:
        try:
            return runner.run(evaluator.evaluate(expression, {"input": value}))
        except ExpressionError as error:
            return error.message

    assert parse(path).path is not None
    assert parse(f"[{path}][0]").path is None
    assert outcome(path) == outcome(f"[{path}][0]")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_values_survive_the_way_in_and_out(loop_and_evaluator: tuple[asyncio.Runner, Evaluator], value: Json) -> None:
    runner, evaluator = loop_and_evaluator
    assert runner.run(evaluator.evaluate("[input][0]", {"input": value})) == value


def test_references_are_the_chains_an_expression_reads() -> None:
    found = references("[o.total for o in nodes.a.orders if o.x == input.limit[0]] + nodes['b c'].items() + vars[input.k]")
    spelled = {(reference.root, reference.steps, reference.method) for reference in found}
    assert spelled == {
        ("nodes", ("a", "orders"), None),
        ("input", ("limit", 0), None),
        ("nodes", ("b c",), "items"),
        ("vars", (), None),
        ("input", ("k",), None),
    }
    assert references("a.b + c") == (
        Reference(root="a", steps=("b",), line=1, column=0),
        Reference(root="c", steps=(), line=1, column=6),
    )


def test_bodies_expressions_and_code_are_raw_fields() -> None:
    assert raw_fields(foreach.Config) == {"body"}
    assert raw_fields(switch.Config) == {"value", "cases", "default"}
    assert raw_fields(importlib.import_module("graphs.nodes.if").Config) == {"condition", "then", "otherwise"}
    assert raw_fields(set.Config) == frozenset()
    assert raw_fields(wait.Config) == frozenset()
