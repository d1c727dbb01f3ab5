"""script: runs Python in the sandbox."""

from __future__ import annotations

import keyword
from typing import Any

from pydantic import Field, field_validator

from graphs.definition import Closed, Json, Schema
from graphs.inputs import problems
from graphs.nodes.llm import check_schema
from graphs.nodetype import Code, Context, Effect, Failure, Family

SUMMARY = "Run Python in a sandbox, without network or files. What `return` gives is the output; input, nodes, vars are in scope."
FAMILY: Family = "action"
EFFECT = Effect.PURE
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"code": "totals = {}\nfor order in input.orders:\n    totals[order.sku] = totals.get(order.sku, 0) + order.count\nreturn totals"},
    {
        "code": "return {'due': price * (1 + rate)}",
        "values": {"price": "{{ nodes.fetch.body.price }}", "rate": 0.2},
        "output_schema": {"type": "object", "properties": {"due": {"type": "number"}}, "required": ["due"]},
    },
)
ROOTS = frozenset({"input", "nodes", "errors", "vars", "run", "env"})


class Config(Closed):
    code: Code = Field(description="the body of a function; never rendered as a template")
    values: dict[str, Json] = Field(default_factory=dict, max_length=100, description="more names for the code -> value or template")
    output_schema: Schema | None = Field(default=None, description="JSON Schema that the result must fit")

    @field_validator("values")
    @classmethod
    def _names(cls, values: dict[str, Json]) -> dict[str, Json]:
        for name in values:
            if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
                raise ValueError(f"{name!r} cannot be a name in Python code; use letters, digits and _, not beginning with _")
            if name in ROOTS:
                raise ValueError(f"{name!r} is already in scope; choose another name")
        return values

    @field_validator("output_schema")
    @classmethod
    def _schema(cls, schema: Schema | None) -> Schema | None:
        if schema is not None:
            check_schema(schema)
        return schema


def output(config: Config) -> Schema:
    return config.output_schema if config.output_schema is not None else {}


async def run(config: Config, context: Context) -> Json:
    result = await context.script(config.code, config.values)
    if config.output_schema is not None and (found := problems(config.output_schema, result)):
        listed = "; ".join(f"{item['pointer'] or '/'}: {item['message']}" for item in found)
        raise Failure("script_output", f"what the script returned does not fit output_schema: {listed}")
    return result
