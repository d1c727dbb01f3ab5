"""The tables of the pages are complete and name nothing that is not there: fields, node types, tools, routes, settings, dependencies."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from pydantic import BaseModel

from graphs import forking, history, runs, signals, steering
from graphs.catalogue import node_types
from graphs.checks import values
from graphs.definition import Boundary, Budget, Compensate, Concurrency, Definition, Edge, Node, Retry
from graphs.definition import Settings as RunSettings
from graphs.engine import children, endings
from graphs.expressions import evaluator, syntax
from graphs.models import vendors
from graphs.nodetype import Effect
from server import excerpts, published, resources
from server.app import OPERATIONS
from server.auth import ROLES, Scope
from server.http.gate import MAX_BODY
from server.mcp import build_server
from server.settings import Settings
from server.toolbox import build_tool
from server.tools import tool_files
from store.errors import WeftError
from tests.docs.pages import ROOT, named, page, plain

DEFINITIONS = page("docs/definitions.md")
MODELS: dict[str, type[BaseModel]] = {
    "The document": Definition,
    "Settings of a workflow": RunSettings,
    "Nodes": Node,
    "Retry": Retry,
    "Edges": Edge,
    "Concurrency": Concurrency,
    "Budget": Budget,
    "Boundaries": Boundary,
    "Compensation": Compensate,
    **{name: kind.config for name, kind in node_types().items()},
}


# -- definitions -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", MODELS)
def test_every_field_has_its_row_and_its_default(heading: str) -> None:
    rows = {plain(row[0]): row[1] for row in DEFINITIONS.table(heading)}
    fields = {field.alias or name: field for name, field in MODELS[heading].model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        assert (rows[name] == "required") == field.is_required(), name
        if not field.is_required() and (said := spoken(field.get_default(call_default_factory=True))) is not None:
            assert plain(rows[name]) == said, name


def spoken(default: Any) -> str | None:
    """A default as a page writes it; None where words say it better."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return f"{default:g}" if isinstance(default, float) else str(default)
    if isinstance(default, str) and default:
        return default
    return '["2xx"]' if default == ("2xx",) else None


def test_the_table_of_node_types_is_the_catalogue() -> None:
    rows = {plain(row[0]): row[1:3] for row in DEFINITIONS.table("Node types")}
    assert list(rows) == list(node_types())
    for name, kind in node_types().items():
        effects = {kind.effect(kind.config.model_validate(example)) for example in kind.examples}
        assert rows[name] == [kind.family, str(effects.pop()) if len(effects) == 1 else "by method"], name


@pytest.mark.parametrize("name", list(node_types()))
def test_every_field_of_an_output_is_named(name: str) -> None:
    kind = node_types()[name]
    if name in ("llm", "script", "set", "parallel", "stop"):  # whatever the config says
        return
    said = set(named(DEFINITIONS.section(name)))
    assert set(kind.output(kind.config.model_validate(kind.examples[0])).get("properties", {})) - said == set()


def test_the_effect_classes_and_vendors_that_are_named_exist() -> None:
    assert set(re.findall(r"`(pure|read|write-[a-z]+)`", DEFINITIONS.prose)) <= {str(effect) for effect in Effect}
    assert set(vendors()) <= set(named(DEFINITIONS.section("llm")))


def test_every_code_of_a_diagnostic_is_explained() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "graphs" / "checks").glob("*.py")))
    rows = DEFINITIONS.table("What the check says")
    assert {code for row in rows for code in named(row[0])} == set(re.findall(r'\bcode="([a-z_]+)"', source))


LIMITS = [
    ("docs/running.md", runs.MAX_INPUT),
    ("docs/running.md", endings.MAX_OUTPUT),
    ("docs/running.md", signals.MAX_PAYLOAD),
    ("docs/running.md", steering.MAX_RUNS),
    ("docs/running.md", forking.MAX_STEPS),
    ("docs/running.md", history.MAX_STATE),
    ("docs/running.md", history.MAX_COMPARED),
    ("docs/running.md", children.MAX_DEPTH),
    ("docs/definitions.md", children.MAX_DEPTH),
    ("docs/definitions.md", values.MAX_CHARACTERS),
    ("docs/definitions.md", values.MAX_STRING),
    ("docs/definitions.md", values.MAX_DEPTH),
    ("docs/expressions.md", syntax.MAX_EXPRESSION),
    ("docs/expressions.md", syntax.MAX_SCRIPT),
    ("docs/expressions.md", evaluator.MAX_INPUT),
    ("docs/expressions.md", f"{evaluator.EXPRESSION.seconds:g} s"),
    ("docs/expressions.md", f"{evaluator.SCRIPT.seconds:g} s"),
    ("docs/expressions.md", f"{evaluator.EXPRESSION.memory // 2**20} MB"),
    ("docs/expressions.md", f"{evaluator.SCRIPT.memory // 2**20} MB"),
    ("docs/mcp.md", excerpts.MAX_ANSWER),
    ("docs/mcp.md", published.MAX_TOOLS),
    ("docs/mcp.md", published.MAX_CHARACTERS),
    ("docs/mcp.md", published.MAX_SCHEMA),
    ("docs/http.md", MAX_BODY),
]


@pytest.mark.parametrize(("name", "limit"), LIMITS)
def test_limits_are_those_of_the_code(name: str, limit: int | str) -> None:
    assert (f"{limit:,}" if isinstance(limit, int) else limit) in page(name).prose


# -- the doors -------------------------------------------------------------------------------------------------------------------


def test_the_table_of_tools_is_the_folder() -> None:
    rows = {plain(row[0]): row for row in page("docs/mcp.md").table("Tools")}
    assert list(rows) == list(tool_files())
    for name, file in tool_files().items():
        assert rows[name][1] == file.scope, name
        assert named(rows[name][2]) == list(build_tool(file).parameters["properties"]), name


def test_the_table_of_resources_is_what_is_registered() -> None:
    assert [plain(row[0]) for row in page("docs/mcp.md").table("Resources")] == [uri for uri, *_ in resources.TEMPLATES]


@pytest.mark.anyio
async def test_the_table_of_prompts_is_what_is_registered() -> None:
    nobody: Any = None
    found = await build_server(nobody, keys=[b"k" * 32], publish=False).list_prompts()
    rows = {plain(row[0]): named(row[1]) for row in page("docs/mcp.md").table("Prompts")}
    assert rows == {prompt.name: [argument.name for argument in prompt.arguments or ()] for prompt in found}


def test_every_argument_of_a_call_that_is_shown_exists() -> None:
    for name in ("docs/mcp.md", "docs/running.md", "docs/operating.md", "docs/definitions.md", "README.md"):
        for tool, arguments in re.findall(r"`([a-z_]+)\(([^()`]*)\)`", page(name).prose):
            if tool in tool_files():
                known = build_tool(tool_files()[tool]).parameters["properties"]
                assert set(re.findall(r"([a-z_]+)=", arguments)) <= set(known), f"{name}: {tool}({arguments})"


def test_the_table_of_operations_is_what_the_app_serves() -> None:
    rows = [(row[0], plain(row[1]), row[2]) for row in page("docs/http.md").table("Operations")]
    assert rows == [(item.method, re.sub(r"{(\w+):\w+}", r"{\1}", item.path), str(item.scope)) for item in OPERATIONS]


def test_the_table_of_errors_is_what_a_client_can_meet() -> None:
    rows = {(int(row[0]), plain(row[1])) for row in page("docs/http.md").table("Errors")}
    inner = {"error", "misconfigured", "lease_lost", "expression"}  # never of a request
    known = {
        (kind.status, kind.code)
        for kind in every(WeftError)
        if kind.code not in inner and kind.__module__.startswith(("server.", "store."))
    }
    assert rows == known | {(500, "internal")}


def every(kind: type[WeftError]) -> list[type[WeftError]]:
    return [found for inner in kind.__subclasses__() for found in (inner, *every(inner))]


def test_the_tables_of_roles_and_scopes_are_those_of_the_code() -> None:
    security = page("docs/security.md")
    rows = {plain(row[0]): set(row[1].split(", ")) for row in security.table("Keys, roles and scopes")}
    assert rows == {role: {str(scope) for scope in scopes} for role, scopes in ROLES.items()}
    assert [row[0] for row in security.table("Keys, roles and scopes", 1)] == [str(scope) for scope in Scope]


# -- settings and dependencies ---------------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_complete_with_its_defaults() -> None:
    rows = {plain(row[0]): row for row in page("docs/settings.md").table("Settings")}
    fields = {f"WEFT_{name.upper()}": field for name, field in Settings.model_fields.items() if name != "variables"}
    assert list(rows) == list(fields)
    for name, field in fields.items():
        said = None if field.default_factory else spoken(field.default)
        assert said is None or plain(rows[name][1]) == said, name
        for other in getattr(field.validation_alias, "choices", ()):
            assert f"`{other}`" in "|".join(rows[name]), name


def test_every_dependency_has_its_sentence_and_every_sentence_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for heading, wanted in (("At run time", project["dependencies"]), ("For development", project["optional-dependencies"]["dev"])):
        rows = {row[0]: row[1] for row in page("docs/dependencies.md").table(heading)}
        assert list(rows) == [re.split(r"[\[<>=; ]", requirement)[0] for requirement in wanted]
        assert all(sentence.endswith(".") for sentence in rows.values())
