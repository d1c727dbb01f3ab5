"""Whether code is code: its syntax, what the sandbox cannot compile, methods that do not exist, and what other languages would write."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator

from graphs.checks.diagnostic import Diagnostic, quoted, replace
from graphs.checks.sites import Site
from graphs.expressions import Evaluator, ExpressionError, parse
from graphs.expressions.paths import FOREIGN, nearest
from graphs.expressions.syntax import Code, parse_script
from graphs.expressions.template import Hole, split

TOKEN = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|===|!==|&&|\|\||\?\?|\?\.|<>|!=|==|<=|>=|!|[A-Za-z_$][\w$]*|\s+|.""",
    re.DOTALL,
)
MAX_REPAIRS = 100
OPERATORS = {"===": "==", "!==": "!=", "&&": "and", "||": "or", "??": "or", "?.": ".", "!": "not ", "<>": "!="}
WORDS: dict[str, str] = {**FOREIGN, "AND": "and", "OR": "or", "NOT": "not", "typeof": "type", "new": "", "const": "", "let": "", "var": ""}
METHODS = {
    "toUpperCase": "upper",
    "toLowerCase": "lower",
    "trim": "strip",
    "trimStart": "lstrip",
    "trimEnd": "rstrip",
    "startsWith": "startswith",
    "endsWith": "endswith",
    "indexOf": "find",
    "lastIndexOf": "rfind",
    "replaceAll": "replace",
    "push": "append",
    "slice": "",
    "substring": "",
    "toString": "",
    "includes": "",
    "length": "",
}
KNOWN_METHODS = {
    name
    for kind in (str, list, dict, tuple, set, frozenset, int, float, bytes, datetime.datetime, datetime.timedelta, re.Match, re.Pattern)
    for name in dir(kind)
    if not name.startswith("_")
}
KNOWN_METHODS.difference_update(  # the sandbox has them not
    ("format_map", "maketrans", "translate", "is_integer", "as_integer_ratio", "fromhex")
)
CALL = re.compile(r"([A-Za-z_][\w.]*(?:\[[^\[\]]*\][\w.]*)*)\.(includes|toString|length)(\(([^()]*)\))?")


def parse_sites(sites: list[Site]) -> tuple[list[tuple[Site, Code]], list[Diagnostic]]:
    """The code that parses, and what is wrong with the rest."""
    good: list[tuple[Site, Code]] = []
    problems: list[Diagnostic] = []
    for site in sites:
        if site.kind != "code" and (fixed := _without_braces(site)):
            problems.append(_bad(site, "an expression is written without {{ }}", fixed))
            continue
        try:
            code = parse_script(site.text) if site.kind == "code" else parse(site.text.strip())
        except ExpressionError as error:
            fixed = None if site.kind == "code" or len(problems) > MAX_REPAIRS else _pythonic(site.text.strip())
            problems.append(_bad(site, error.message, fixed))
            continue
        unknown = list(_unknown_methods(site, code))
        problems.extend(unknown)
        if not unknown:
            good.append((site, code))
    return good, problems


async def compile_sites(good: list[tuple[Site, Code]], evaluator: Evaluator) -> list[Diagnostic]:
    """What the sandbox cannot compile; one feed where all is well. Nothing is evaluated."""
    expressions = {site.text.strip() for site, code in good if site.kind != "code" and code.sandboxed}
    scripts = {site.text for site, _ in good if site.kind == "code"}
    if not expressions and not scripts:
        return []
    refused = await evaluator.syntax(expressions, scripts)
    return [
        _bad(site, refused[text], None) for site, _ in good if (text := site.text if site.kind == "code" else site.text.strip()) in refused
    ]


def _bad(site: Site, message: str, fixed: str | None) -> Diagnostic:
    patch = (replace(site.pointer, site.with_code(fixed)),) if fixed else ()
    name = "the script" if site.kind == "code" else quoted(site.text.strip(), 100)
    suggestions = (fixed,) if fixed else ()
    return Diagnostic(code="bad_expression", pointer=site.pointer, message=f"{name}: {message}", suggestions=suggestions, patch=patch)


def _without_braces(site: Site) -> str | None:
    """An expression with holes in it, as the expression that was meant."""
    if "{{" not in site.text:
        return None
    if site.kind == "hole":
        inner = re.fullmatch(r"\s*\{\{?\s*(.+?)\s*\}?\}\s*", site.text, re.DOTALL)
        return inner[1] if inner and _parses(inner[1]) and not _parses(site.text.strip()) else None
    try:
        text = "".join(part.text.strip() if isinstance(part, Hole) else part for part in split(site.text))
    except ExpressionError:
        return None
    return text.strip() if _parses(text) else _pythonic(text.strip())


def _parses(text: str) -> bool:
    try:
        parse(text.strip())
    except ExpressionError:
        return False
    return True


def _pythonic(text: str) -> str | None:
    """The expression in Python, where it was written as in JavaScript, SQL or a shell, or has a bracket too few or too many."""
    if len(text) > 2000:
        return None
    for change in REWRITES:
        tried = change(text).strip()
        if tried and tried != text and _parses(tried) and not parse(tried).constant:
            return tried
    return None


def _tokens(text: str) -> str:
    """Operators and words of other languages, outside of string literals."""
    result: list[str] = []
    for token in TOKEN.findall(text):
        if token.startswith("`") and len(token) > 1:
            result.append("f" + repr(re.sub(r"\$\{([^{}]*)\}", r"{\1}", token[1:-1])))
        elif token in ("&&", "||", "??"):
            before = "" if result and result[-1].isspace() else " "
            result.append(f"{before}{OPERATORS[token]} ")
        elif not (token.isspace() and result and result[-1].endswith(" ")):
            result.append(OPERATORS.get(token) or WORDS.get(token) or ("" if token in WORDS else token))
    return "".join(result)


def _ternary(text: str) -> str:
    found = re.fullmatch(r"([^?]+)\?([^?:]+):([^?:]+)", text)
    return f"{found[2].strip()} if {found[1].strip()} else {found[3].strip()}" if found else text


def _assignment(text: str) -> str:
    return re.sub(r"(?<![=!<>:])=(?!=)", "==", text)


def _wrapped(text: str) -> str:
    """Without the `${…}`, `$`, `=` or `;` around it."""
    inner = re.fullmatch(r"=?\s*\$?\{(.*)\}", text, re.DOTALL)
    return re.sub(r"\$\.?(?=[a-z])", "", (inner[1] if inner else text).lstrip("=").rstrip("; "))


def _balanced(text: str) -> str:
    """With the brackets closed that are open, and without those that close nothing."""
    pairs, waiting, kept = {"(": ")", "[": "]", "{": "}"}, list[str](), list[str]()
    for token in TOKEN.findall(text):
        if token in pairs:
            waiting.append(pairs[token])
        elif token in pairs.values():
            if not waiting or waiting[-1] != token:
                continue
            waiting.pop()
        kept.append(token)
    return "".join(kept) + "".join(reversed(waiting))


def _quotes(text: str) -> str:
    """With the typographic quotes of word processors made plain, and a string closed that is open."""
    text = re.sub("[‘’‚]", "'", re.sub("[“”„]", '"', text))
    for quote in "'\"":
        if text.count(quote) % 2:
            return text + quote
    return text


REWRITES: tuple[Callable[[str], str], ...] = (
    _wrapped,
    _tokens,
    lambda text: _ternary(_tokens(_wrapped(text))),
    lambda text: _tokens(_wrapped(text)),
    _assignment,
    lambda text: _assignment(_tokens(_wrapped(text))),
    _balanced,
    _quotes,
    lambda text: _balanced(_quotes(_tokens(_wrapped(text)))),
    lambda text: re.sub(r"[.\s+\-*/,&|]+$", "", text),
)


def _unknown_methods(site: Site, code: Code) -> Iterator[Diagnostic]:
    """Calls of methods that no value here has, such as JavaScript's."""
    for name in code.methods:
        if name in KNOWN_METHODS or (site.kind == "code" and name not in METHODS):  # a script has modules and classes too
            continue
        new = METHODS.get(name) or next(iter(nearest(name, KNOWN_METHODS)), "")
        fixed = re.sub(rf"\.{name}\(", f".{new}(", site.text.strip()) if new else _called(site.text.strip(), name)
        hint = f"; did you mean .{new}()?" if new else ""
        ok = fixed != site.text.strip() and (_parses(fixed) if site.kind != "code" else True)
        yield _bad(site, f"there is no method .{name}(){hint}", fixed if ok else None)


def _called(text: str, name: str) -> str:
    """`x.includes(y)` as `y in x`, `x.toString()` as `str(x)`."""

    def change(found: re.Match[str]) -> str:
        if found[2] == "includes" and found[4]:
            return f"({found[4]} in {found[1]})"
        return f"str({found[1]})" if found[2] == "toString" else found[0]

    fixed = CALL.sub(change, text)
    return fixed.removeprefix("(").removesuffix(")") if fixed.startswith("(") and fixed.count("(") == 1 else fixed


def measured(text: str) -> str | None:
    """`x.length` as `len(x)`."""
    fixed = CALL.sub(lambda found: f"len({found[1]})" if found[2] == "length" and not found[3] else found[0], text)
    return fixed if fixed != text and _parses(fixed) else None
