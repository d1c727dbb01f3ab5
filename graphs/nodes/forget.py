"""forget: removes memories with all that was derived from them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import Selection, in_step
from graphs.nodetype import Context, Effect, Family

SUMMARY = "Forget memories by ids, query, source or subject, with all that was derived from them; a receipt without their words stays."
FAMILY: Family = "action"
EFFECT = Effect.WRITE_IDEMPOTENT
LABELS = frozenset({"irreversible"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"subject": "{{ input.customer }}", "reason": "asked for by the customer"},
    {"source": "https://example.com/handbook", "scope": "organization"},
)


class Config(Closed):
    ids: tuple[str, ...] = Field(default=(), max_length=1000, strict=False, description="these")
    query: str | None = Field(default=None, max_length=4000, description="what holds all of these words")
    source: str | None = Field(default=None, max_length=500, description="what came from there")
    subject: str | None = Field(default=None, max_length=200, description="all about, by or with a person or thing")
    scope: str | None = Field(default=None, max_length=220, description="only there; without it all that whoever started the run may write")
    reason: str = Field(default="a workflow", min_length=1, max_length=500, description="for the receipt")

    @model_validator(mode="after")
    def _one(self) -> Config:
        if sum(bool(way) for way in (self.ids, self.query, self.source, self.subject)) != 1:
            raise ValueError("give exactly one of ids, query, source and subject")
        return self


def output(config: Config) -> Schema:
    properties: Schema = {"count": {"type": "integer"}, "kinds": {"type": "object"}, "receipt_id": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    chosen = Selection(ids=config.ids, query=config.query, source=config.source, subject=config.subject, scope=config.scope)
    with in_step():
        found = await memories.forget(await context.memories(), chosen, reason=config.reason, key=context.idempotency_key)
    return {"count": found.count, "kinds": dict(found.kinds), "receipt_id": found.receipt_id}
