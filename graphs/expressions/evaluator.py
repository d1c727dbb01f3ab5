"""Evaluates expressions, templates and scripts: plain paths here, everything else in the sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import TracebackType

from graphs.definition import Json
from graphs.documents import is_array, is_object, is_text
from graphs.expressions.paths import ExpressionError, unknown_name
from graphs.expressions.rewriting import quoted, rewritten, rewritten_script, statement_lines
from graphs.expressions.sandbox import Failed, Limits, Sandbox
from graphs.expressions.syntax import Code, Reference, parse, parse_script
from graphs.expressions.template import Template, plain_value

EXPRESSION = Limits(seconds=0.5, memory=32 * 2**20)
SCRIPT = Limits(seconds=5.0, memory=128 * 2**20)
MAX_INPUT = 20_000_000  # characters of JSON handed to the sandbox
FEED = 1000  # codes compiled at once
MAX_DEPTH = 200  # of a result

# The sandbox has no lone surrogates, JSON has: they travel as private-use characters of plane 16, only when there are any.
SURROGATE = re.compile("[\ud800-\udfff]")
STAND_IN = re.compile("[\U0010d800-\U0010dfff]")


class Evaluator:
    """Evaluates user code. Starts no process before the first expression that needs one; expressions and scripts have workers apart."""

    def __init__(self, processes: int = 2, *, script_limits: Limits = SCRIPT) -> None:
        self._expressions = Sandbox(processes=processes, limits=EXPRESSION)
        self._scripts = Sandbox(processes=processes, limits=script_limits)

    async def __aenter__(self) -> Evaluator:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self._expressions.__aexit__(kind, error, trace)
        finally:
            await self._scripts.__aexit__(kind, error, trace)

    async def evaluate(self, expression: str, scope: Mapping[str, Json]) -> Json:
        """Value of one expression, written without braces. Raises ExpressionError."""
        code = parse(expression)
        if not code.sandboxed:
            return plain_value(code, scope)
        return (await self._values((code,), scope))[0]

    async def render(self, template: Template, scope: Mapping[str, Json]) -> Json:
        """The template with its holes filled; one sandbox feed at most. Raises ExpressionError."""
        if template.plain:
            return template.resolve(scope)
        hard = [code for code in template.codes if code.sandboxed]
        found = iter(await self._values(hard, scope))
        return template.build([next(found) if code.sandboxed else plain_value(code, scope) for code in template.codes])

    async def script(self, code: str, scope: Mapping[str, Json]) -> Json:
        """What the body of a function returns. Raises ExpressionError."""
        parsed = parse_script(code)
        found = (*parsed.references, *(Reference(root=name, steps=()) for name in parsed.shadowed))
        names = sorted({reference.root for reference in found} & scope.keys())
        body = "".join(f"    {line}\n" for line in rewritten_script(code).split("\n"))
        header = "".join(f"import {name}\n" for name in parsed.modules if name not in scope)
        bound = ", ".join(f"{name}=None" for name in names)
        run = "_weft_out(_weft_main(**_weft_json.loads(_weft_data)))"
        try:
            return _decoded(await self._scripts.feed(f"{header}def _weft_main({bound}):\n{body}{run}", _packed(found, scope)))
        except Failed as failure:
            raise _script_error(failure, parsed, header, scope) from None

    async def syntax(self, expressions: Iterable[str], scripts: Iterable[str] = ()) -> dict[str, str]:
        """Which of these (valid Python) codes the sandbox cannot compile, and why. Nothing is evaluated; one feed for a thousand."""
        found = [(text, f"({text}\n)") for text in expressions if parse(text).sandboxed]
        found += [(text, rewritten_script(text).replace("\n", "\n ")) for text in scripts]
        refused: dict[str, str] = {}
        for start in range(0, len(found), FEED):
            refused |= await self._refused(found[start : start + FEED])
        return refused

    async def _refused(self, codes: list[tuple[str, str]]) -> dict[str, str]:
        if not codes:
            return {}
        source = "".join(f"def _weft_{number}():\n {python}\n" for number, (_, python) in enumerate(codes))
        try:
            await self._expressions.feed(source + "''")
        except Failed as failure:
            if len(codes) == 1:
                return {codes[0][0]: failure.message}
            half = len(codes) // 2
            return {**await self._refused(codes[:half]), **await self._refused(codes[half:])}
        return {}

    async def _values(self, codes: Iterable[Code], scope: Mapping[str, Json]) -> list[Json]:
        codes = tuple(codes)
        found = tuple(reference for code in codes for reference in code.references)
        roots = [name for name in {reference.root for reference in found} if name in scope]
        modules = sorted({name for code in codes for name in code.modules if name not in scope})
        lines = [f"import {name}\n" for name in modules]
        lines.append("_weft_scope = _weft_json.loads(_weft_data)\n")
        lines += [f"{name} = _weft_scope[{quoted(name)}]\n" for name in roots]
        lines.append("_weft_all = []\n")
        owners: dict[int, Code] = {}
        count = len(lines)
        for code in codes:
            python = rewritten(code.text)
            lines.append(f"_weft_all.append({python})\n")
            owners.update(dict.fromkeys(range(count + 1, count + 2 + python.count("\n")), code))
            count += 1 + python.count("\n")
        try:
            return _decoded(await self._expressions.feed("".join(lines) + "_weft_out(_weft_all)", _packed(found, scope)))
        except Failed as failure:
            culprit = owners.get(failure.line or 0) or (codes[0] if len(codes) == 1 else None)
            message = _named(failure.message, scope)
            raise ExpressionError(message, expression=culprit.text if culprit else "; ".join(code.text for code in codes)[:500]) from None


def _named(message: str, scope: Mapping[str, Json]) -> str:
    """Says which names there are when one was not found."""
    found = re.fullmatch(r"name '(\w+)' is not defined", message)
    return unknown_name(found[1], scope) if found else message


def _script_error(failure: Failed, parsed: Code, header: str, scope: Mapping[str, Json]) -> ExpressionError:
    message, details = _named(failure.message, scope), {}
    if failure.line is not None:
        offset = header.count("\n") + 1
        line = statement_lines(parsed.text, rewritten_script(parsed.text)).get(failure.line - offset)
        if line is not None:
            message, details = f"line {line}: {message}", {"line": line}
    return ExpressionError(message, expression=parsed.text[:500], **details)


def _packed(found: Iterable[Reference], scope: Mapping[str, Json]) -> str:
    """The JSON text of what the references read: whole roots, but of an object under `nodes`, `input`, … only the fields that are named."""
    wanted: dict[str, set[str] | None] = {}
    for reference in found:
        if reference.root not in scope:
            continue
        first = reference.steps[0] if reference.steps and isinstance(scope[reference.root], dict) else None
        fields = wanted.setdefault(reference.root, set())
        if not isinstance(first, str):
            wanted[reference.root] = None
        elif fields is not None:
            fields.add(first)
    data = {root: scope[root] if fields is None else _part(scope[root], fields) for root, fields in wanted.items()}
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise ExpressionError(f"what it reads is not JSON: {error}") from None
    if len(text) > MAX_INPUT:
        raise ExpressionError(f"what it reads has {len(text)} characters of JSON; {MAX_INPUT} are allowed")
    return SURROGATE.sub(lambda found: chr(ord(found[0]) + 0x100000), text)


def _part(value: dict[str, Json], fields: set[str]) -> dict[str, Json]:
    if fields <= value.keys():
        return {field: value[field] for field in fields}
    return {key: inner if key in fields else None for key, inner in value.items()}  # all the keys, so that the error can name them


def _decoded(text: str) -> Json:
    depth = deepest = 0
    if text.count("[") + text.count("{") > MAX_DEPTH:
        for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
            depth += (bracket in "[{") - (bracket in "]}")
            deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Failed(f"its result is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a whole number of more than 4300 digits
        raise Failed("its result is no JSON that can be kept") from None
    return _with_surrogates(value) if "\\udbf6" in text or "\\udbf7" in text else value


def _with_surrogates(value: Json) -> Json:
    if is_text(value):
        return STAND_IN.sub(lambda found: chr(ord(found[0]) - 0x100000), value)
    if is_array(value):
        return [_with_surrogates(inner) for inner in value]
    if is_object(value):
        return {_with_surrogates(key): _with_surrogates(inner) for key, inner in value.items()}
    return value
