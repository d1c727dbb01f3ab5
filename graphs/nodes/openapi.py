"""openapi: calls an operation of an API that an uploaded OpenAPI document describes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs.definition import Closed, Duration, Json, Schema, seconds
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Call an operation of an API with an uploaded OpenAPI document (connection of kind openapi). Output: `data`, `status`."
FAMILY: Family = "action"
LABELS = frozenset({"egress", "untrusted"})
CONNECTS = frozenset({"openapi"})
EFFECT = Effect.WRITE_ONCE  # until the operation is known: `settle`
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"connection": "shop", "operation": "getOrder", "arguments": {"order_id": "{{ input.order_id }}"}},
    {"connection": "shop", "operation": "createRefund", "arguments": {"body": {"amount": "{{ nodes.classify.amount }}"}}},
)


class Config(Closed):
    connection: str = Field(min_length=1, max_length=64, description="of kind openapi")
    operation: str = Field(min_length=1, max_length=200, description="its operationId")
    arguments: dict[str, Json] = Field(default_factory=dict, description="parameters by name, and `body`")
    timeout: Duration = Field(default="60s", description="of the call")
    approved: str | None = Field(default=None, max_length=200, description="only while this approval of it holds; agents fill it in")


async def settle(config: Config, context: Context) -> Effect:
    return await context.remote.effect(config.connection, config.operation)


def output(config: Config) -> Schema:
    properties: Schema = {
        "status": {"type": "integer"},
        "data": {},
        "media_type": {"type": "string"},
        "notes": {"type": "array", "items": {"type": "string"}},
        "untrusted": {"const": True},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    return await context.remote.call(
        config.connection,
        config.operation,
        config.arguments,
        kind="openapi",
        key=context.idempotency_key,
        seconds=seconds(config.timeout),
        approved=config.approved,
    )
