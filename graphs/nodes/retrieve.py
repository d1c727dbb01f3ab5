"""retrieve: finds the pieces of documents that answer a question, as quoted data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import Wanted, hit_view, in_step, quoted
from graphs.nodetype import Context, Effect, Family, Templated

SUMMARY = "Find pieces of imported documents. `text` is them quoted for a prompt (never for `system`), `chunks` the same as data."
FAMILY: Family = "action"
EFFECT = Effect.READ
LABELS = frozenset({"private", "untrusted"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = ({"query": "{{ input.question }}", "collection": "handbook", "k": 6},)

Count = Annotated[int, Field(ge=1, le=100)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Config(Closed):
    query: str = Field(max_length=4000, description="a question, or words")
    collection: str | None = Field(default=None, max_length=500, description="only of this collection")
    scope: str | None = Field(default=None, max_length=220, description="only there; without it all that whoever started the run may read")
    source: str | None = Field(default=None, max_length=500, description="only from there")
    k: Templated[Count] = Field(default=8, description="pieces at most")
    token_budget: Templated[Tokens] | None = Field(default=None, description="of all pieces together")


def output(config: Config) -> Schema:
    hits: Schema = {"type": "array", "items": {"type": "object"}}
    properties: Schema = {"text": {"type": "string"}, "chunks": hits, "found_by": {"type": "string"}, "tokens": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    with in_step():
        found = await memories.recall(await context.memories(), Wanted(**dict(config), kinds=("document",)))
    hits = [hit_view(found, hit) for hit in found.recalled.hits]
    return {"text": quoted(found), "chunks": hits, "found_by": found.how, "tokens": found.recalled.tokens}
