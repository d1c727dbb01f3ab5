"""recall: finds what is remembered, as quoted data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import Wanted, hit_view, in_step, quoted
from graphs.nodetype import Context, Effect, Family, Templated

SUMMARY = "Find what is remembered. `text` is the hits quoted for a prompt (never for `system`), `memories` the same as data."
FAMILY: Family = "action"
EFFECT = Effect.READ
LABELS = frozenset({"private", "untrusted"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"query": "{{ input.question }}", "k": 8, "token_budget": 2000},
    {
        "query": "{{ input.question }}",
        "kinds": ["fact", "conversation"],
        "scope": "conversation:{{ input.conversation }}",
        "least_trust": 3,
    },
)

Count = Annotated[int, Field(ge=1, le=100)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Config(Closed):
    query: str = Field(max_length=4000, description="a question, or words")
    kinds: tuple[str, ...] | None = Field(default=None, max_length=8, strict=False, description="only of these kinds")
    scope: str | None = Field(default=None, max_length=220, description="only there; without it all that whoever started the run may read")
    source: str | None = Field(default=None, max_length=500, description="only from there")
    labels: tuple[str, ...] = Field(default=(), max_length=20, strict=False, description="having all of them")
    least_trust: int = Field(default=1, ge=1, le=3, description="3: only what a person said; 2: also agents; 1: also from outside")
    as_of: Templated[AwareDatetime] | None = Field(default=None, strict=False, description="what was true then")
    k: Templated[Count] = Field(default=8, description="hits at most")
    token_budget: Templated[Tokens] | None = Field(default=None, description="of all quotes together")


def output(config: Config) -> Schema:
    hits: Schema = {"type": "array", "items": {"type": "object"}}
    properties: Schema = {"text": {"type": "string"}, "memories": hits, "found_by": {"type": "string"}, "tokens": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    with in_step():
        found = await memories.recall(await context.memories(), Wanted(**dict(config)))
    hits = [hit_view(found, hit) for hit in found.recalled.hits]
    return {"text": quoted(found), "memories": hits, "found_by": found.how, "tokens": found.recalled.tokens}
