"""Every promise has a test and every named promise exists."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.promises import PROMISES


def named() -> set[str]:
    found: set[str] = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "promise":
                found |= {
                    argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                }
    return found


def test_every_promise_has_a_test_that_names_it() -> None:
    assert PROMISES.keys() - named() == set()


def test_every_named_promise_is_one_we_make() -> None:
    assert named() - PROMISES.keys() == set()
