"""Whatever a user writes into an expression, a template or a script: the host is unharmed and the answer comes in bounded time."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from graphs.definition import Json
from graphs.expressions import Evaluator, ExpressionError, Template
from tests.expressions.hostile import EXPRESSIONS, SCRIPTS

pytestmark = pytest.mark.anyio
SCOPE: dict[str, Json] = {"input": {"a": 1}, "nodes": {}, "vars": {}, "run": {}, "env": {}, "errors": {}}
BOUND = 6.0  # seconds: limit of the feed, grace of the watchdog, and a slow machine
SECRETS = ("root:x:", "HOME", "PATH=")


async def bounded(work: Awaitable[Json], source: str) -> None:
    """Either a small JSON value or an ExpressionError of one sentence, in time."""
    began = time.monotonic()
    try:
        text = json.dumps(await work)
    except ExpressionError as error:
        text = error.message
        assert "Traceback" not in text
        assert len(text) < 2000
    assert time.monotonic() - began < BOUND, source[:80]
    assert len(text) < 7_000_000
    assert not any(secret in text for secret in SECRETS), source[:80]


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.timeout(240)
async def test_hostile_expressions_leave_the_host_unharmed(evaluator: Evaluator) -> None:
    before = peak()
    for source in EXPRESSIONS:
        await bounded(evaluator.evaluate(source, SCOPE), source)
    assert await evaluator.evaluate("1 + input.a", SCOPE) == 2
    assert peak() - before < 200, "MB the host grew by"


@pytest.mark.timeout(240)
async def test_hostile_templates_leave_the_host_unharmed(evaluator: Evaluator) -> None:
    async def rendered(source: str) -> Json:
        return await evaluator.render(Template.compile({"x": [f"a {{{{ {source} }}}} b {{{{ 1 + 1 }}}}"]}), SCOPE)

    before = peak()
    for source in EXPRESSIONS:
        await bounded(rendered(source), source)
    assert await evaluator.render(Template.compile("{{ 1 + input.a }}"), SCOPE) == 2
    assert peak() - before < 200, "MB the host grew by"


@pytest.mark.timeout(240)
async def test_hostile_scripts_leave_the_host_unharmed(evaluator: Evaluator) -> None:
    before = peak()
    for source in (*SCRIPTS, *(f"return ({expression})" for expression in EXPRESSIONS)):
        await bounded(evaluator.script(source, SCOPE), source)
    assert await evaluator.script("return 1 + input.a", SCOPE) == 2
    assert peak() - before < 200, "MB the host grew by"
    assert not Path("/tmp/weft-was-here").exists()


async def test_compiling_evaluates_nothing(evaluator: Evaluator) -> None:
    async def compiled(source: str) -> Json:
        return await evaluator.syntax([source, "1 + 1"])

    for source in EXPRESSIONS:
        began = time.monotonic()
        await bounded(compiled(source), source)
        assert time.monotonic() - began < 2.0, source[:80]
