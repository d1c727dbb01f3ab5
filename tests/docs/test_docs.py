"""What the pages show works: workflows pass the check, commands and targets exist, links lead somewhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import typer
import yaml

from graphs.checks import check
from graphs.documents import is_object, parse
from graphs.expressions import Evaluator
from server.cli import app
from server.demo.connect import how_to_connect
from server.settings import PREFIX, VARIABLE, names
from tests.docs.pages import PAGES, ROOT, Page, page
from tests.promises import PROMISES

SHOWN = [
    pytest.param(document, id=f"{shown.name}-{number}")
    for shown in PAGES
    for number, block in enumerate(shown.blocks("json", "yaml"))
    if is_object(document := parse(block)) and "nodes" in document
]
README = page("README.md")
each_page = pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)


@pytest.mark.anyio
@pytest.mark.parametrize("document", SHOWN)
async def test_every_workflow_in_the_pages_passes_the_check_without_a_word(document: Any, evaluator: Evaluator) -> None:
    report = await check(document, evaluator)
    assert [item.as_json() for item in report.diagnostics] == []


def test_there_are_workflows_to_copy_where_one_looks_for_them() -> None:
    with_one = {
        shown.name for shown in PAGES for block in shown.blocks("json", "yaml") if is_object(found := parse(block)) and "nodes" in found
    }
    assert with_one >= {"README.md", "docs/definitions.md", "docs/expressions.md"}


@each_page
def test_every_block_of_json_or_yaml_can_be_read(shown: Page) -> None:
    for block in shown.blocks("json"):
        json.loads(block)
    for block in shown.blocks("yaml"):
        yaml.safe_load(block)


# -- commands --------------------------------------------------------------------------------------------------------------------


@each_page
def test_every_make_target_that_is_named_exists(shown: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {target for line in shown.code for target in re.findall(r"\bmake ([a-z-]+)\b", line)} - targets == set()


def commands() -> dict[str, set[str]]:
    """Commands as they are typed, with their options."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}".strip())
        found[path] = {option for parameter in command.params for option in parameter.opts if option.startswith("-")}

    walk(typer.main.get_command(app), "")
    return found


@each_page
def test_every_weft_command_that_is_named_exists_with_its_options(shown: Page) -> None:
    known = commands()
    for line in shown.code:
        for first, second, rest in re.findall(r"(?<![\w.-])weft ([a-z]+)\b(?![:/.])(?: ([a-z]+(?:-[a-z]+)*)\b)?(.*)", line):
            assert first in known, line
            whole = f"{first} {second}"
            assert whole in known or not any(name.startswith(f"{first} ") for name in known) or not second, line
            options = known.get(whole, known[first])
            assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)) - options - {"--help"} == set(), line


def test_every_command_has_its_section_and_every_option_its_row() -> None:
    described = page("docs/cli.md")
    for name, options in commands().items():
        if name in ("", "agents", "key", "memory", "org", "runs"):
            continue
        rows = described.table(f"weft {name}")
        assert {option for row in rows for option in re.findall(r"`(--?[a-z-]+)`", row[0])} == options - {"--help"}, name


# -- settings --------------------------------------------------------------------------------------------------------------------


@each_page
def test_every_setting_that_is_named_exists(shown: Page) -> None:
    for name in re.findall(rf"\b{PREFIX}[A-Z_]+", shown.text):
        if name.startswith(VARIABLE.rstrip("_")):
            continue
        assert name in names() or (name.endswith("_") and any(known.startswith(name) for known in names())), name


# -- links and the like ----------------------------------------------------------------------------------------------------------


@each_page
def test_every_relative_link_leads_somewhere(shown: Page) -> None:
    for link in shown.links:
        path, _, anchor = link.partition("#")
        target = (ROOT / shown.name).parent / path if path else ROOT / shown.name
        assert target.resolve().exists(), link
        if anchor:
            assert anchor in page(str(target.resolve().relative_to(ROOT.resolve()))).anchors, link


def test_every_page_is_in_the_index() -> None:
    linked = {str((ROOT / "docs" / link).resolve().relative_to(ROOT.resolve())) for link in page("docs/README.md").links}
    assert {shown.name for shown in PAGES if shown.name.startswith("docs/")} - {"docs/README.md"} - linked == set()


@each_page
def test_every_folder_and_file_of_the_project_that_is_named_exists(shown: Page) -> None:
    for name in re.findall(r"`((?:server|graphs|store|migrations|memory|tests|benchmarks|docs|examples)/[\w./-]*)`", shown.prose):
        assert "NNNN" in name or (ROOT / name).exists(), name
    for module in re.findall(r"-m (benchmarks\.\w+)", shown.text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_every_folder_of_tests_is_described() -> None:
    folders = {f"tests/{found.parent.name}" for found in (ROOT / "tests").glob("*/__init__.py")}
    assert {row[0].strip("`") for row in page("docs/testing.md").table("How they are organised")} == folders


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.text.splitlines()) <= 210


def test_the_readme_lists_the_promises_as_the_tests_know_them() -> None:
    assert {row[0]: row[1] for row in README.table("Promises")} == PROMISES


def test_the_readme_connects_clients_as_the_demo_does() -> None:
    blocks = [block.strip() for block in README.blocks("bash", "json")]
    for way in how_to_connect("http://127.0.0.1:7337/mcp", "YOUR_KEY"):
        assert way.text in blocks, way.title


@each_page
def test_nothing_in_a_page_is_left_for_later(shown: Page) -> None:
    assert re.findall(r"\b(?:TODO|TBD|FIXME|XXX|lorem)\b", shown.text) == []
