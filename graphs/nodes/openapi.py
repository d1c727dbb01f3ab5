"""openapi: calls an operation of an API that an uploaded OpenAPI document describes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Json, Schema
from graphs.nodetype import Context, Effect, Family
from graphs.remote import steps
from graphs.remote.steps import Call

SUMMARY = "Call an operation of an API with an uploaded OpenAPI document (connection of kind openapi). Output: `data`, `status`."
FAMILY: Family = "action"
LABELS = frozenset({"egress", "untrusted"})
CONNECTS = frozenset({"openapi"})
EFFECT = Effect.WRITE_ONCE  # until the operation is known: `settle`
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"connection": "shop", "operation": "getOrder", "arguments": {"order_id": "{{ input.order_id }}"}},
    {"connection": "shop", "operation": "createRefund", "arguments": {"body": {"amount": "{{ nodes.classify.amount }}"}}},
)


class Config(Call):
    connection: str = Field(min_length=1, max_length=64, description="of kind openapi")
    operation: str = Field(min_length=1, max_length=200, description="its operationId")
    arguments: dict[str, Json] = Field(default_factory=dict, description="parameters by name, and `body`")


async def settle(config: Config, context: Context) -> Effect:
    return await context.remote.effect(config.connection, config.operation)


def output(config: Config) -> Schema:
    return steps.output(status={"type": "integer"}, data={}, media_type={"type": "string"})


async def run(config: Config, context: Context) -> Json:
    return await steps.call(context, "openapi", config.connection, config.operation, config)
