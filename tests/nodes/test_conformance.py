"""The contract of graphs/nodetype.py, for every file in graphs/nodes/: a new node type is checked here without a line of its own."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import graphs.nodes
from graphs import definition
from graphs.catalogue import effect_of, node_types
from graphs.checks.repairs import ROOTS
from graphs.definition import Body, Closed, Retry
from graphs.documents import is_array
from graphs.nodetype import Effect, Family, NodeType

LABELS = {"egress", "irreversible", "private", "untrusted"}
_TEMPLATE = "_allow_template"  # the mark of Templated in graphs/nodetype.py
FILES = sorted(path.stem for path in Path(graphs.nodes.__path__[0]).glob("*.py") if path.stem != "__init__")
EXAMPLES = [
    pytest.param(node_types()[name], example, id=f"{name}-{n}") for name in FILES for n, example in enumerate(node_types()[name].examples)
]


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"graphs.nodes.{name}")


@pytest.fixture(params=FILES)
def kind(request: pytest.FixtureRequest) -> NodeType:
    return node_types()[request.param]


def test_the_catalogue_is_the_folder() -> None:
    assert list(node_types()) == FILES


def test_names_are_words_an_author_can_write(kind: NodeType) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,29}", kind.name)


def test_the_module_has_what_the_contract_says_and_says_what_it_is_for(kind: NodeType) -> None:
    module = module_of(kind.name)
    for name in ("SUMMARY", "FAMILY", "Config", "EXAMPLES", "output", "run"):
        assert hasattr(module, name), name
    assert hasattr(module, "EFFECT") != hasattr(module, "effect"), "EFFECT or effect, not both"
    assert kind.family in typing.get_args(Family)
    assert kind.labels <= LABELS
    assert isinstance(kind.waits, bool)
    assert kind.retry is None or isinstance(kind.retry, Retry)
    assert (module.__doc__ or "").startswith(f"{kind.name}: ")
    assert inspect.iscoroutinefunction(kind.run)


def test_public_names_that_are_nearly_of_the_contract_are_not_there(kind: NodeType) -> None:
    tree = ast.parse(Path(module_of(kind.name).__file__ or "").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    close = {"effects", "branch", "body", "outputs", "retry", "labels", "waits", "scopes", "example", "examples", "summary"}
    assert not defined & close


def test_the_summary_is_short_and_for_authors(kind: NodeType) -> None:
    assert 20 <= len(kind.summary) <= 160
    assert kind.summary.endswith(".")
    assert kind.summary[0].isupper()
    assert "\n" not in kind.summary


def test_the_config_is_closed_and_its_schema_is_small(kind: NodeType) -> None:
    assert issubclass(kind.config, Closed)
    schema = kind.config.model_json_schema()
    Draft202012Validator.check_schema(schema)
    for name in definition.__dict__.keys() & schema.get("$defs", {}).keys():
        del schema["$defs"][name]  # what a body holds is the same everywhere
    assert len(json.dumps(schema)) <= 6000
    assert schema["additionalProperties"] is False


def test_there_is_an_example(kind: NodeType) -> None:
    assert kind.examples
    assert isinstance(kind.examples, tuple)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_examples_validate_and_survive_json(kind: NodeType, example: dict[str, Any]) -> None:
    again = json.loads(json.dumps(example))
    config = kind.config.model_validate(again)
    assert kind.config.model_validate_json(json.dumps(example)) == config


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_unknown_fields_are_refused(kind: NodeType, example: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.config.model_validate({**example, "surprise": 1})
    assert any(problem["loc"] == ("surprise",) for problem in refused.value.errors())


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_output_of_a_config_is_a_json_schema(kind: NodeType, example: dict[str, Any]) -> None:
    schema = kind.output(kind.config.model_validate(example))
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_effect_of_a_config_is_known_before_it_runs(kind: NodeType, example: dict[str, Any]) -> None:
    effect = effect_of(kind, kind.config.model_validate(example))
    assert isinstance(effect, Effect)
    if kind.family in ("flow", "human"):  # an event is sent once, and a call rings somebody's telephone
        assert effect is {"emit_event": Effect.WRITE_IDEMPOTENT, "voice": Effect.WRITE_ONCE}.get(kind.name, Effect.PURE)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_branches_and_what_selects_them_come_together(kind: NodeType, example: dict[str, Any]) -> None:
    branches = kind.branches(kind.config.model_validate(example))
    assert len(set(branches)) == len(branches)
    assert "error" not in branches
    assert bool(branches) == (kind.taken is not None)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_bodies_are_where_their_pointers_say(kind: NodeType, example: dict[str, Any]) -> None:
    config = kind.config.model_validate(example)
    for pointer, body in kind.bodies(config).items():
        assert isinstance(body, Body)
        place: Any = example
        for part in pointer.split("/")[1:]:
            place = place[int(part)] if is_array(place) else place[part]
        assert Body.model_validate(place) == body
        for name, schema in kind.scope(config, pointer).items():
            Draft202012Validator.check_schema(schema)
            assert name.isidentifier()


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_names_that_only_its_own_expressions_see_are_usable_and_not_those_that_are_always_there(
    kind: NodeType, example: dict[str, Any]
) -> None:
    for name, schema in kind.sees(kind.config.model_validate(example)).items():
        Draft202012Validator.check_schema(schema)
        assert name.isidentifier()
        assert name not in ROOTS


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_nodes_inside_examples_are_of_known_types_with_valid_configs(kind: NodeType, example: dict[str, Any]) -> None:
    for body in kind.bodies(kind.config.model_validate(example)).values():
        for node in body.nodes:
            node_types()[node.type].config.model_validate(node.config)


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_a_field_that_may_be_computed_takes_a_template(kind: NodeType, example: dict[str, Any]) -> None:
    """Bounds around Templated[...] instead of inside of it make pydantic compare the text of the template with a number."""
    for name, field in kind.config.model_fields.items():
        key = field.alias or name
        if key in example and _TEMPLATE in repr((field.annotation, field.metadata)):
            kind.config.model_validate({**example, key: "{{ input.x }}"})


def test_what_repeats_by_itself_may_be_repeated(kind: NodeType) -> None:
    """A default retry on a type that can write once is only allowed where its run decides what may be tried again (http)."""
    effects = {effect_of(kind, kind.config.model_validate(example)) for example in kind.examples}
    assert kind.retry is None or effects <= {Effect.READ, Effect.PURE, Effect.WRITE_IDEMPOTENT}
