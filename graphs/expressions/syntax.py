"""Parsing of expressions and scripts: what they refer to, and the same code rewritten so that fields of objects can be read by dot."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from graphs.definition import Json
from graphs.expressions.paths import ExpressionError, Path, constant_step, path_of

MAX_EXPRESSION = 2000
MAX_SCRIPT = 100_000
MAX_DEPTH = 100  # of the syntax tree; the host walks and prints it, and Python's own recursion ends near 1000
MODULES = ("datetime", "json", "math", "re")  # importable by name alone

__all__ = ["Code", "ExpressionError", "Reference", "parse", "parse_script", "references"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One chain of fields that code reads: `nodes.a.items` is root "nodes", steps ("a", "items")."""

    root: str
    steps: tuple[str | int, ...]
    method: str | None = None  # the method called on it, if one is
    line: int = 1
    column: int = 0  # 0-based, in characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Parsed code. Exactly one of the first two is set for what needs no sandbox."""

    text: str
    path: Path | None = None
    constant: tuple[Json] | None = None
    python: str = ""  # rewritten for the sandbox
    references: tuple[Reference, ...] = ()
    modules: tuple[str, ...] = ()  # modules it names without importing them
    shadowed: tuple[str, ...] = ()  # names a script assigns itself and also reads, perhaps before that


@lru_cache(maxsize=4096)
def parse(expression: str) -> Code:
    """Parses one expression. ExpressionError with the column when it is not valid Python or names something reserved."""
    if len(expression) > MAX_EXPRESSION:
        raise ExpressionError(
            f"an expression may have {MAX_EXPRESSION} characters; this one has {len(expression)}",
            expression=expression[:200],
        )
    text = expression.strip()
    if not text:
        raise ExpressionError("the expression is empty", expression=expression)
    # in brackets, so that an expression may go over several lines
    tree = _tree(f"({text}\n)", expression, shift=1)
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        raise ExpressionError("write one expression, not statements", expression=expression)
    node = tree.body[0].value
    _refuse_reserved(node, expression)
    path = path_of(node)
    found = tuple(_chains(node, shift=1))
    if path and path.root not in MODULES:
        return Code(text=expression, path=path, references=found)
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, float, str))):
        return Code(text=expression, constant=(node.value,))
    return Code(
        text=expression, python=_unparsed(_Fields().visit(node), expression), references=found, modules=_modules(found)
    )


@lru_cache(maxsize=64)
def parse_script(code: str) -> Code:
    """Parses the body of a function, `return` allowed. `python` is that body, rewritten."""
    if len(code) > MAX_SCRIPT:
        raise ExpressionError(
            f"a script may have {MAX_SCRIPT} characters; this one has {len(code)}", expression=code[:200]
        )
    tree = _tree(code, code)
    _refuse_reserved(tree, code, script=True)
    found = tuple(_chains(tree))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    shadowed = tuple(sorted(read & _bound(tree)))
    for node in tree.body:
        _Fields().visit(node)
    return Code(
        text=code, python=_unparsed(tree, code) or "pass", references=found, modules=_modules(found), shadowed=shadowed
    )


def references(expression: str) -> tuple[Reference, ...]:
    """The chains an expression reads from names it does not bind itself. ExpressionError when it does not parse."""
    return parse(expression).references


def statement_lines(code: str, python: str) -> dict[int, int]:
    """Line of the rewritten script -> line of what the author wrote."""
    pairs = zip(_statements(_tree(python, code)), _statements(_tree(code, code)), strict=False)
    return {mine.lineno: theirs.lineno for mine, theirs in pairs}


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _tree(source: str, expression: str, *, shift: int = 0) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is the author's business
            tree = ast.parse(source)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        column = max(1, column - shift) if line == 1 else column
        where = f"line {line}, column {column}" if "\n" in expression.strip() else f"column {column}"
        raise ExpressionError(
            f"{_sentence(error.msg)} at {where}", expression=expression, line=line, column=column
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(
            "it is nested too deeply or holds characters that code cannot", expression=expression
        ) from None
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ExpressionError("it is nested too deeply; split it into several steps", expression=expression)


def _sentence(message: str) -> str:
    return message.split(". Perhaps")[0].rstrip(".?")


def _unparsed(tree: ast.AST, expression: str) -> str:
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError):
        raise ExpressionError("it cannot be written as one line of code", expression=expression) from None


def _refuse_reserved(tree: ast.AST, expression: str, *, script: bool = False) -> None:
    """Names starting with _ are ours (`_` alone and, in scripts, a script's own `_helper` are not)."""
    for node in ast.walk(tree):
        name = (
            getattr(node, "id", None)
            or getattr(node, "arg", None)
            or getattr(node, "attr", None)
            or getattr(node, "name", None)
        )
        if not isinstance(name, str) or not name.startswith("_") or name == "_":
            continue
        own_method = script and isinstance(node, ast.FunctionDef) and name.startswith("__")
        if own_method or (script and not name.startswith(("__", "_weft"))):
            continue
        raise ExpressionError(f"{name!r} is reserved: names that start with _ cannot be used", expression=expression)


def _bound(tree: ast.AST) -> set[str]:
    """Names the code itself gives a meaning to: loop variables, parameters, assignments, imports."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            bound.add(node.name)
    return bound


def _chains(tree: ast.AST, *, shift: int = 0) -> Iterator[Reference]:
    bound = _bound(tree)
    inner: set[int] = set()  # parts of a longer chain
    methods: dict[int, str] = {}
    for node in ast.walk(tree):  # parents before children
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inner.add(id(node.func))
            methods[id(node.func.value)] = node.func.attr
        if id(node) in inner or not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
            continue
        path = path_of(node)
        if path is None:
            continue
        below = node
        while not isinstance(below, ast.Name):
            below = below.value  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
            inner.add(id(below))  # pyright: ignore[reportUnknownArgumentType]
        if path.root not in bound:
            column = node.col_offset - (shift if node.lineno == 1 else 0)
            yield Reference(
                root=path.root, steps=path.steps, method=methods.get(id(node)), line=node.lineno, column=column
            )


def _modules(found: tuple[Reference, ...]) -> tuple[str, ...]:
    return tuple(sorted({reference.root for reference in found} & set(MODULES)))


class _Fields(ast.NodeTransformer):
    """`a.b` that is not a call becomes _weft_field(a, 'b', …), and `a[k]` _weft_item(a, k, …): null-safe, with errors that name the field."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        origin = _source(node.value)
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or (
            isinstance(node.value, ast.Name) and node.value.id in (*MODULES, "self")
        ):
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
    return (
        "this value"
        if isinstance(node, ast.Subscript) and constant_step(node.slice) is None
        else ast.unparse(node)[:80]
    )


def quoted(text: str) -> str:
    """A Python and JSON string literal."""
    return json.dumps(text)
