"""The script step: Python in the sandbox, with its own names and a checked result."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from graphs.catalogue import node_types
from graphs.expressions import Evaluator
from graphs.models import Models, ModelSettings
from graphs.nodetype import Effect, Failure
from graphs.outbound import Outbound, Policy
from tests.nodes.context import FakeContext, perform

pytestmark = pytest.mark.anyio
SCRIPT = node_types()["script"]


@asynccontextmanager
async def surroundings() -> AsyncGenerator[FakeContext]:
    scope = {"input": {"orders": [{"sku": "a", "count": 2}, {"sku": "a", "count": 3}]}}
    async with Outbound(Policy()) as outbound, Evaluator(processes=1) as evaluator:
        yield FakeContext(outbound=outbound, models=Models(ModelSettings(), outbound), evaluator=evaluator, scope=scope)


async def test_a_script_computes_from_the_scope_and_its_values() -> None:
    async with surroundings() as context:
        assert await perform("script", SCRIPT.examples[0], context) == {"a": 5}
        values = {"price": 10, "rate": 0.5}
        assert await perform("script", {"code": "return {'due': price * (1 + rate)}", "values": values}, context) == {"due": 15.0}


async def test_braces_in_code_are_code() -> None:
    async with surroundings() as context:
        assert await perform("script", {"code": "return '{{ input }}'"}, context) == "{{ input }}"


async def test_a_result_that_does_not_fit_its_schema_fails() -> None:
    config = {"code": "return {'due': 'soon'}", "output_schema": {"type": "object", "properties": {"due": {"type": "number"}}}}
    async with surroundings() as context:
        with pytest.raises(Failure, match="/due: 'soon' is not of type 'number'") as failed:
            await perform("script", config, context)
    assert (failed.value.code, failed.value.retryable) == ("script_output", False)


@pytest.mark.parametrize("name", ["input", "nodes", "_x", "a-b", "1a", "class", ""])
def test_names_that_code_cannot_use_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"cannot be a name|already in scope"):
        SCRIPT.config.model_validate({"code": "return 1", "values": {name: 1}})


def test_the_output_schema_is_what_is_declared_or_anything() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    assert SCRIPT.output(SCRIPT.config.model_validate({"code": "return 1"})) == {}
    assert SCRIPT.output(SCRIPT.config.model_validate({"code": "return 1", "output_schema": schema})) == schema
    assert SCRIPT.effect(SCRIPT.config.model_validate({"code": "return 1"})) is Effect.PURE
