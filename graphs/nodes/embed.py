"""embed: makes vectors of texts, by the embedder that memories have."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import in_step
from graphs.nodetype import Context, Effect, Failure, Family, Templated
from memory.embedding import EmbeddingFailed

SUMMARY = "Make vectors of texts with the configured embedder. `vectors` has one of unit length per text, in their order."
FAMILY: Family = "ai"
EFFECT = Effect.READ  # may cost money, but asking twice changes nothing
LABELS = frozenset({"egress"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"texts": ["{{ input.title }}", "{{ input.body }}"]},
    {"texts": "{{ [input.question] }}", "query": True},
)
MOST_CHARACTERS = 1_000_000  # of all texts together


class Config(Closed):
    texts: Templated[tuple[str, ...]] = Field(min_length=1, max_length=1000, strict=False, description="what vectors are made of")
    query: bool = Field(default=False, description="the texts are questions, which some models embed otherwise")


def output(config: Config) -> Schema:
    vector: Schema = {"type": "array", "items": {"type": "number"}}
    properties: Schema = {
        "vectors": {"type": "array", "items": vector},
        "dimensions": {"type": "integer"},
        "provider": {"type": "string"},
        "model": {"type": "string"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    if (size := sum(map(len, config.texts))) > MOST_CHARACTERS:
        raise Failure("invalid", f"the texts have {size:,} characters; at most {MOST_CHARACTERS:,} are embedded in a step")
    access = await context.memories()
    with in_step():
        embedder = memories.embedder_of(access)
    try:
        vectors = await memories.embed(access, config.texts, query=config.query)
    except EmbeddingFailed as failed:
        raise memories.not_made(embedder, failed) from failed
    rounded: list[Json] = [[round(value, 6) for value in vector] for vector in vectors]
    return {"vectors": rounded, "dimensions": embedder.dimensions, "provider": embedder.provider, "model": embedder.model}
