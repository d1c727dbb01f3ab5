"""Code rewritten for the sandbox, so that fields of objects are read by dot, null-safe, and errors name the field."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import lru_cache

from graphs.expressions.paths import ExpressionError, constant_step, path_of
from graphs.expressions.syntax import MODULES, expression_tree, tree_of


@lru_cache(maxsize=2048)
def rewritten(expression: str) -> str:
    """A valid expression as one that the sandbox evaluates by our rules."""
    return _unparsed(_Fields().visit(expression_tree(expression.strip(), expression)), expression)


@lru_cache(maxsize=64)
def rewritten_script(code: str) -> str:
    """A valid script as one that the sandbox runs by our rules. Its lines are others: see `statement_lines`."""
    tree = tree_of(code, code)
    for node in tree.body:
        _Fields().visit(node)
    return _unparsed(tree, code) or "pass"


def statement_lines(code: str, python: str) -> dict[int, int]:
    """Line of the rewritten script -> line of what the author wrote."""
    pairs = zip(_statements(tree_of(python, code)), _statements(tree_of(code, code)), strict=False)
    return {mine.lineno: theirs.lineno for mine, theirs in pairs}


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _unparsed(tree: ast.AST, expression: str) -> str:
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError):
        raise ExpressionError("it cannot be written as one line of code", expression=expression) from None


class _Fields(ast.NodeTransformer):
    """`a.b` that is not a call becomes _weft_field(a, 'b', …), and `a[k]` becomes _weft_item(a, k, …): see PRELUDE in sandbox.py."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        origin = _source(node.value)
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or (isinstance(node.value, ast.Name) and node.value.id in (*MODULES, "self")):
            return node
        return _call("_weft_field", node.value, ast.Constant(node.attr), ast.Constant(origin))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        origin = _source(node.value)
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or isinstance(node.slice, (ast.Slice, ast.Tuple)):
            return node
        return _call("_weft_item", node.value, node.slice, ast.Constant(origin))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute):  # a method stays a method
            func = node.func
            func.value = self.visit(func.value)
            node.args = [self.visit(argument) for argument in node.args]
            node.keywords = [self.visit(keyword) for keyword in node.keywords]
            if func.attr == "get" and not node.keywords:
                return _call("_weft_get", func.value, *node.args)
            return node
        self.generic_visit(node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """f-strings become joins: printed as f-strings, nested quotes would not always survive."""
        parts: list[ast.expr] = []
        for value in node.values:
            if not isinstance(value, ast.FormattedValue):
                parts.append(value)
                continue
            inner: ast.expr = self.visit(value.value)
            if value.conversion in (ord("r"), ord("s")):
                inner = _call("repr" if value.conversion == ord("r") else "str", inner)
            spec = [self.visit(value.format_spec)] if value.format_spec else []
            parts.append(_call("_weft_text", inner, *spec))
        join = ast.Attribute(value=ast.Constant(""), attr="join", ctx=ast.Load())
        return ast.Call(func=join, args=[ast.List(elts=parts, ctx=ast.Load())], keywords=[])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = self.visit(node.value) if node.value else None  # the annotation is no code
        return node


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(func=ast.Name(name, ast.Load()), args=list(arguments), keywords=[])


def _source(node: ast.expr) -> str:
    """What the author wrote, short, for an error message."""
    path = path_of(node)
    if path:
        return str(path)[:80]
    return "this value" if isinstance(node, ast.Subscript) and constant_step(node.slice) is None else ast.unparse(node)[:80]


def quoted(text: str) -> str:
    """A Python and JSON string literal."""
    return json.dumps(text)
