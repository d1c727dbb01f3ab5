"""What expressions, templates and scripts mean."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from graphs.definition import Json
from graphs.expressions import Evaluator, ExpressionError, Template
from graphs.expressions.syntax import BUILTINS

pytestmark = pytest.mark.anyio
SCOPE: dict[str, Json] = {
    "input": {
        "name": "bo",
        "orders": [{"total": 3, "paid": True}, {"total": 4, "paid": False}],
        "note": None,
        "half": "a\ud800b",
    },
    "nodes": {
        "a": {"items": [1, 2], "k": None, "x y": 1},
        "skipped": None,
        "fetch": {"status": 200, "items": {"get": 1}},
    },
    "vars": {"count": 2},
    "run": {"id": "r1"},
    "env": {},
    "errors": {"a": None},
    "order": {"sku": "s"},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("input.name", "bo"),
        ("input.name.upper()", "BO"),
        ("nodes.a.get('k')", None),
        ("nodes.a.get('none', 5)", 5),
        ("nodes.a['x y']", 1),
        ("nodes.a.items", [1, 2]),
        ("len(nodes.a.items)", 2),
        ("nodes.fetch.items.get", 1),
        ("sorted(nodes.a.keys())", ["items", "k", "x y"]),
        ("[o.total for o in input.orders if o.paid]", [3]),
        ("sum(o.total for o in input.orders)", 7),
        ("{o.total: o.paid for o in input.orders}", {"3": True, "4": False}),
        ("max(input.orders, key=lambda o: o.total).total", 4),
        ("input.orders[-1].total", 4),
        ("input.orders[0]['total'] + 1", 4),
        ("input.orders[vars.count - 2].total", 3),
        ("nodes.skipped.anything.at[3].all", None),
        ("nodes.skipped.anything.at[vars.count] is None", True),
        ("nodes.skipped.get('x')", None),
        ("nodes.skipped and nodes.skipped.total > 3", None),
        ("input.note or 'none'", "none"),
        ("'total' in input.orders[0]", True),
        ("order.sku + '!'", "s!"),
        ("errors.a.code", None),
        ("f'{input.name:>4}|{vars.count:.2f}|{input.name!r}'", "  bo|2.00|'bo'"),
        ("'%s-%d' % (input.name, vars.count)", "bo-2"),
        ("math.floor(2.5) + int(math.pi)", 5),
        ("re.sub('o', 'a', input.name)", "ba"),
        ("json.loads('[1]')", [1]),
        ("datetime.date(2027, 1, 31).isoformat()", "2027-01-31"),
        ("1 if vars.count > 1 else 2", 1),
        ("  \n vars.count\n  + 1 # more\n", 3),
        ("input.half", "a\ud800b"),
        ("input.half + '!'", "a\ud800b!"),
        ("10**30", 10**30),
        ("1e300 * 2", 2e300),
        ("True", True),
        ("None", None),
        ("'text'", "text"),
        ("(1, 2)", [1, 2]),
        ("[_ for _ in [1]]", [1]),
    ],
)
async def test_expressions_have_these_values(evaluator: Evaluator, expression: str, value: Json) -> None:
    assert await evaluator.evaluate(expression, SCOPE) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nodes.a.itms", "nodes.a has no field 'itms'; did you mean 'items'?"),
        ("len(nodes.a.itms)", "nodes.a has no field 'itms'; did you mean 'items'?"),
        ("input.nam + '!'", "input has no field 'nam'; did you mean 'name'?"),
        (
            "input.orders.total",
            "input.orders is a list, so it has no field 'total'; take one by index, as in [0], or write [x.… for x in …]",
        ),
        (
            "len(input.orders.total)",
            "input.orders is a list, so it has no field 'total'; take one by index, as in [0], or write [x.… for x in …]",
        ),
        ("input.orders[7]", "input.orders has no index 7; its length is 2"),
        ("input.orders[5 + 2]", "input.orders has no index 7; its length is 2"),
        ("input.name.first", "input.name is text, so it has no field 'first'"),
        ("vars.count.x + 1", "vars.count is a number, so it has no field 'x'"),
        ("inptu.name", "there is no name 'inptu'; did you mean input?"),
        ("not true", "there is no name 'true'; did you mean True?"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("input.note.upper()", "the value is null, so it has no 'upper'"),
        ("(1,", "'(' was never closed at column 1"),
        ("vars.count && 1", "invalid syntax at column 13"),
        ("1 +\n+ * 2", "invalid syntax at line 2, column 3"),
        ("a = 1", "invalid syntax. Maybe you meant '==' or ':=' instead of '=' at column 1"),
        ("input._secret", "'_secret' is reserved: names that start with _ cannot be used"),
        ("[0 for n in range(10**12) if n < 0]", "it ran longer than 0.5 s"),
        ("'a' * 10**10", "it needed more than 32 MB of memory"),
        ("'a' * 2 * 10**6", "its result has more than 1000000 characters of JSON"),
        ("x" * 2001, "an expression may have 2000 characters; this one has 2001"),
    ],
)
async def test_errors_say_what_and_how_to_fix(evaluator: Evaluator, expression: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        await evaluator.evaluate(expression, SCOPE)
    assert caught.value.message == message
    assert caught.value.expression
    assert caught.value.code == "expression"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("no holes", "no holes"),
        ("{{ input.orders }}", SCOPE["input"]["orders"]),
        ("{{ vars.count + 1 }}", 3),
        (" {{ vars.count }}", " 2"),
        ("a {{ input.name }} b", "a bo b"),
        ("{{ input.name }}{{ nodes.skipped }}{{ vars.count }}", "bo2"),
        ("x {{ [1, True, None, 'é'] }} {{ {'a': {'b': 1}} }}", 'x [1,true,null,"é"] {"a":{"b":1}}'),
        ('{"a": {"b": {{ vars.count }}}}', '{"a": {"b": 2}}'),
        ("{{ '{{' }} {{ \"}}\" }}", "{{ }}"),
        (
            {"a": ["{{ vars.count }}", {"b": "{{ len(input.orders) }}"}], "{{ vars.count }}": 1},
            {"a": [2, {"b": 2}], "{{ vars.count }}": 1},
        ),
        (None, None),
    ],
)
async def test_templates_render_to(evaluator: Evaluator, template: Json, value: Json) -> None:
    assert await evaluator.render(Template.compile(template), SCOPE) == value


async def test_a_failing_hole_is_named(evaluator: Evaluator) -> None:
    with pytest.raises(ExpressionError) as caught:
        await evaluator.render(Template.compile("a {{ vars.count + 1 }} b {{ 1 / 0 }} {{ f'''x\ny''' }}"), SCOPE)
    assert caught.value.expression == "1 / 0"


@pytest.mark.parametrize("text", ["a {{ input.x", "{{ }}", "{{ 'a }}", "{{ (1 }}", "{{ {1: 2 }}"])
async def test_broken_templates_are_refused_when_compiled(text: str) -> None:
    with pytest.raises(ExpressionError):
        Template.compile(text)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return input.name", "bo"),
        ("total = 0\nfor o in input.orders:\n    total += o.total\nreturn {'total': total}", {"total": 7}),
        ("import json\nreturn json.dumps(order)", '{"sku": "s"}'),
        ("input = input or {}\nreturn input.name", "bo"),
        ("vars.update({'x': 1})\nreturn vars.x", 1),
        ("def _double(x):\n    return x * 2\nreturn [_double(o['total']) for o in input.orders]", [6, 8]),
        ("class A:\n    def __init__(self, v):\n        self.v = v\nreturn A(3).v", 3),
        ("try:\n    return input.zzz\nexcept LookupError:\n    return 'none'", "none"),
        ("text = '''a\n  b'''\nreturn text", "a\n  b"),
        ("print('x' * 100000)", None),
        ("return math.sqrt(4)", 2.0),
        ("d = {}\nd['a'] = 1\nd['a'] += 1\nreturn d", {"a": 2}),
        ("for i, o in enumerate(input.orders):\n    pass\nelse:\n    return i", 1),
        ("", None),
    ],
)
async def test_scripts_return(evaluator: Evaluator, code: str, value: Json) -> None:
    assert await evaluator.script(code, SCOPE) == value


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\n\n\nreturn [o.totl for o in input.orders]", "line 4: o has no field 'totl'; did you mean 'total'?"),
        ("def f():\n    # a comment\n    return 1 / 0\nreturn f()", "line 3: ZeroDivisionError: division by zero"),
        ("return inptu", "line 1: there is no name 'inptu'; did you mean input?"),
        ("return 1 +", "invalid syntax at column 11"),
        ("x = 1\nretrun x", "invalid syntax at line 2, column 8"),
        ("while True: pass", "it ran longer than 0.7 s"),
        ("import os\nreturn dict(os.environ)", None),
    ],
)
async def test_script_errors_name_the_line(evaluator: Evaluator, code: str, message: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        await evaluator.script(code, SCOPE)
    assert message is None or caught.value.message == message


async def test_many_expressions_at_once_share_the_workers(evaluator: Evaluator) -> None:
    results = await asyncio.gather(*(evaluator.evaluate(f"{n} + vars.count", SCOPE) for n in range(200)))
    assert results == [n + 2 for n in range(200)]


async def test_a_cancelled_evaluation_leaves_the_others_alone(evaluator: Evaluator) -> None:
    tasks = [asyncio.create_task(evaluator.evaluate("[0 for _ in range(10**12)]", SCOPE)) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await evaluator.evaluate("1 + 1", SCOPE) == 2


async def test_the_list_of_builtins_is_the_one_of_the_sandbox(evaluator: Evaluator) -> None:
    for name in BUILTINS:
        assert await evaluator.evaluate(f"{name} is None", {}) is False
    for name in ("globals", "vars", "callable", "input", "__import__"):
        with pytest.raises(ExpressionError):
            await evaluator.evaluate(f"{name} is None", {})


async def test_no_process_starts_before_the_first_expression_that_needs_one() -> None:
    async with Evaluator() as evaluator:
        assert await evaluator.evaluate("input.name", SCOPE) == "bo"
        assert await evaluator.render(Template.compile("{{ input.name }} {{ 'x' }}"), SCOPE) == "bo x"
        assert evaluator._expressions._pool is None  # pyright: ignore[reportPrivateUsage]
        assert evaluator._scripts._pool is None  # pyright: ignore[reportPrivateUsage]


def test_importing_the_evaluator_does_not_import_the_sandbox() -> None:
    code = "import sys, graphs.expressions; assert 'pydantic_monty' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
