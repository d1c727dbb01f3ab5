"""Parsing of expressions and scripts: whether they are code, and what they refer to. Nothing is evaluated."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

from graphs.definition import Json
from graphs.expressions.paths import ExpressionError, Path, path_of

MAX_EXPRESSION = 2000
MAX_SCRIPT = 100_000
MAX_DEPTH = 100  # of the syntax tree; the host walks and prints it, and Python's own recursion ends near 1000
MODULES = ("datetime", "json", "math", "re")  # importable by name alone

# Every name that pydantic-monty 1.4.0 knows by itself (tests/expressions/test_evaluator.py asks it).
PLAIN = frozenset({ast.Constant, ast.Load, ast.BinOp, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.IfExp, ast.List, ast.Dict})
WARNED = re.compile(r"\\|[0-9][A-Za-z_]")  # odd escapes and `1or 2`: warnings that are the author's business
DOTTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
BUILTINS = frozenset(
    re.findall(
        r"\w+",
        """ArithmeticError AssertionError AttributeError BaseException Ellipsis Exception FileExistsError FileNotFoundError
        ImportError IndexError IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError
        NameError NotADirectoryError NotImplemented NotImplementedError OSError OverflowError PermissionError RecursionError
        RuntimeError StopIteration SyntaxError SystemExit TimeoutError TypeError UnboundLocalError UnicodeDecodeError
        UnicodeEncodeError ValueError ZeroDivisionError abs all any bin bool bytes chr complex dict divmod enumerate eval exec
        filter float format frozenset getattr hasattr hash hex id int isinstance iter len list locals map max min next object
        oct open ord pow print property range repr reversed round set setattr slice sorted str sum tuple type zip""",
    )
)


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
    """Parsed code: a plain path, a literal, or something for the sandbox. Holds no tree: thousands are cached."""

    text: str
    path: Path | None = None
    constant: tuple[Json] | None = None
    references: tuple[Reference, ...] = ()
    methods: tuple[str, ...] = ()  # methods it calls on values
    modules: tuple[str, ...] = ()  # modules it names without importing them
    shadowed: tuple[str, ...] = ()  # names a script assigns itself and also reads, perhaps before that

    @property
    def sandboxed(self) -> bool:
        """It cannot be resolved by the host."""
        return self.path is None and self.constant is None


@lru_cache(maxsize=4096)
def parse(expression: str) -> Code:
    """Parses one expression. ExpressionError with the column when it is not valid Python or uses a reserved name."""
    if len(expression) > MAX_EXPRESSION:
        message = f"an expression may have {MAX_EXPRESSION} characters; this one has {len(expression)}"
        raise ExpressionError(message, expression=expression[:200])
    text = expression.strip()
    if not text:
        raise ExpressionError("the expression is empty", expression=expression)
    if DOTTED.fullmatch(text) and (code := _dotted(text)):
        return code
    root = expression_tree(text, expression)
    facts = _Facts(_flat(root, expression), expression, shift=1)
    path = path_of(root)
    if path and path.root not in MODULES:
        return Code(text=expression, path=path, references=facts.references)
    if isinstance(root, ast.Constant) and (root.value is None or isinstance(root.value, (bool, int, float, str))):
        return Code(text=expression, constant=(root.value,))
    return Code(text=expression, references=facts.references, methods=facts.methods, modules=facts.modules)


def expression_tree(text: str, expression: str) -> ast.expr:
    """The tree of one expression, written as an author would."""
    # in brackets, so that an expression may go over several lines
    tree = tree_of(f"({text}\n)", expression, shift=1)
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        raise ExpressionError("write one expression, not statements", expression=expression)
    return tree.body[0].value


def _dotted(text: str) -> Code | None:
    """`a.b.c`, the most frequent expression, without the parser."""
    root, *steps = text.split(".")
    if root in MODULES or any(keyword.iskeyword(step) for step in (root, *steps)):
        return None
    reference = Reference(root=root, steps=tuple(steps))
    return Code(text=text, path=Path(root=root, steps=reference.steps), references=(reference,))


@lru_cache(maxsize=64)
def parse_script(code: str) -> Code:
    """Parses the body of a function, `return` allowed."""
    if len(code) > MAX_SCRIPT:
        message = f"a script may have {MAX_SCRIPT} characters; this one has {len(code)}"
        raise ExpressionError(message, expression=code[:200])
    facts = _Facts(_flat(tree_of(code, code), code), code, script=True)
    return Code(
        text=code,
        references=facts.references,
        methods=facts.methods,
        modules=facts.modules,
        shadowed=tuple(sorted(facts.read & facts.bound)),
    )


def references(expression: str) -> tuple[Reference, ...]:
    """The chains an expression reads from names it does not bind itself. ExpressionError when it does not parse."""
    return parse(expression).references


def tree_of(source: str, expression: str, *, shift: int = 0) -> ast.Module:
    """The tree of a source. ExpressionError with line and column, `shift` columns to the left in the first line."""
    try:
        if not WARNED.search(source):
            return ast.parse(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        column = max(1, column - shift) if line == 1 else column
        where = f"line {line}, column {column}" if "\n" in expression.strip() else f"column {column}"
        raise ExpressionError(f"{_sentence(error.msg)} at {where}", expression=expression, line=line, column=column) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("it is nested too deeply or holds characters that code cannot", expression=expression) from None


def _flat(tree: ast.AST, expression: str) -> list[ast.AST]:
    """All nodes of the tree, parents before children."""
    found: list[ast.AST] = []
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        found += level
        level = _children(level)
        if not level:
            return found
    raise ExpressionError("it is nested too deeply; split it into several steps", expression=expression)


def _sentence(message: str) -> str:
    return message.split(". Perhaps")[0].rstrip(".?")


def _children(nodes: list[ast.AST]) -> list[ast.AST]:
    """As ast.iter_child_nodes, in half the time, and without the contexts (Load, Store), which are read where they matter."""
    found: list[ast.AST] = []
    for node in nodes:
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if name != "ctx":
                    found.append(value)
            elif isinstance(value, list):
                found += [inner for inner in value if isinstance(inner, ast.AST)]  # pyright: ignore[reportUnknownVariableType]
    return found


class _Facts:
    """What a tree says of names, gathered in one walk: parents before children."""

    def __init__(self, nodes: list[ast.AST], expression: str, *, shift: int = 0, script: bool = False) -> None:
        self._expression, self._script, self._shift = expression, script, shift
        self.bound: set[str] = set()  # loop variables, parameters, assignments, imports: names the code gives a meaning to
        self.read: set[str] = set()
        self._inner: set[int] = set()  # parts of a longer chain
        self._called: dict[int, str] = {}
        self._chains: list[Reference] = []
        methods: dict[str, None] = {}
        for node in nodes:
            kind = type(node)
            if kind is ast.Name or kind is ast.Attribute or kind is ast.Subscript:
                self._see_chain(node)  # pyright: ignore[reportArgumentType]
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    self._inner.add(id(node.func))
                    self._called[id(node.func.value)] = node.func.attr
                    self._refuse(node.func.attr)
                    if not (isinstance(node.func.value, ast.Name) and node.func.value.id in MODULES):
                        methods[node.func.attr] = None
            elif kind not in PLAIN:
                self._see_binding(node)
        self.methods = tuple(methods)
        self.references = tuple(chain for chain in self._chains if chain.root not in self.bound)
        self.modules = tuple(sorted({chain.root for chain in self.references} & set(MODULES)))

    def _see_chain(self, node: ast.Name | ast.Attribute | ast.Subscript) -> None:
        if isinstance(node, ast.Attribute):
            self._refuse(node.attr)
        elif isinstance(node, ast.Name):
            self._refuse(node.id)
            if isinstance(node.ctx, ast.Load):
                self.read.add(node.id)
            else:
                self.bound.add(node.id)
        path = None if id(node) in self._inner else path_of(node)
        if path is None:
            return
        below: ast.expr = node
        while isinstance(below, (ast.Attribute, ast.Subscript)):
            below = below.value
            self._inner.add(id(below))
        column = node.col_offset - (self._shift if node.lineno == 1 else 0)
        method = self._called.get(id(node))
        self._chains.append(Reference(root=path.root, steps=path.steps, method=method, line=node.lineno, column=column))

    def _see_binding(self, node: ast.AST) -> None:
        name: str | None = None
        if isinstance(node, (ast.arg, ast.keyword)):
            name = node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = node.name
            if name.startswith("__") and self._script:  # a method such as __init__
                return
        elif isinstance(node, ast.alias):
            name = (node.asname or node.name).split(".")[0]
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            name = node.name
        if name:
            self._refuse(name)
            if not isinstance(node, ast.keyword):
                self.bound.add(name)

    def _refuse(self, name: str) -> None:
        """Names starting with _ are ours (`_` alone and, in scripts, a script's own `_helper` are not)."""
        if not name.startswith("_") or name == "_" or (self._script and not name.startswith(("__", "_weft"))):
            return
        raise ExpressionError(f"{name!r} is reserved: names that start with _ cannot be used", expression=self._expression)
