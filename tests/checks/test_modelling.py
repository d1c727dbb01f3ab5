"""Models that a definition names, held to what the organization lets its steps ask."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.checks import Known, check
from graphs.expressions import Evaluator
from store.models import Choices, Listed

pytestmark = pytest.mark.anyio
MODELS = {"openai:a": Listed(name="openai:a", alias="fast"), "openai:b": Listed(name="openai:b", enabled=False)}


def flow(model: str) -> dict[str, Any]:
    return {"name": "flow", "nodes": [{"id": "ask", "type": "llm", "config": {"prompt": "x", "model": model}}], "edges": []}


@pytest.mark.parametrize(
    ("model", "only", "code", "better"),
    [
        ("@fast", True, None, None),
        ("openai:a", True, None, None),
        ("openai:c", False, None, None),
        ("{{ input.model }}", True, None, None),
        ("@fats", False, "unknown_model", "@fast"),
        ("openai:b", False, "model_not_allowed", "openai:a"),
        ("openai:c", True, "model_not_allowed", "openai:a"),
    ],
)
async def test_a_model_that_may_not_be_asked_is_a_problem_with_a_fix(
    evaluator: Evaluator, model: str, only: bool, code: str | None, better: str | None
) -> None:
    report = await check(flow(model), evaluator, Known(models=Choices(only_listed=only, models=MODELS)))
    assert [one.code for one in report.diagnostics if one.severity == "error"] == ([code] if code else [])
    for one in report.diagnostics:
        assert one.pointer == "/nodes/0/config/model"
        assert [change["value"] for change in one.patch] == [better]


async def test_what_nobody_knows_is_not_checked(evaluator: Evaluator) -> None:
    assert not [one for one in (await check(flow("@any"), evaluator)).diagnostics if one.code == "unknown_model"]
