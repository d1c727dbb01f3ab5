"""reembed: makes vectors of memories by the configured embedder, a stretch at a time; at the end recall goes over to them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import in_step
from graphs.nodetype import Context, Effect, Family, Wait
from memory.embedding import EmbeddingFailed

SUMMARY = "Make the vectors of memories anew by the configured embedder, a stretch at a time; recall uses them once all are made."
FAMILY: Family = "action"
EFFECT = Effect.WRITE_IDEMPOTENT
LABELS = frozenset({"private", "egress"})
WAITS = True
RETRY = Retry(max_attempts=20, max_delay="1m")
EXAMPLES: tuple[dict[str, Any], ...] = ({"model": "{{ input.model }}", "after": "{{ last.after if last else None }}"},)
PAUSE = 5.0  # seconds until another worker, or this one started anew, may have the embedder that is wanted


class Config(Closed):
    model: str = Field(min_length=1, max_length=300, description="provider and model, as in static:static-minilm-256")
    after: str | None = Field(default=None, max_length=50, description="`after` of the stretch before")


def output(config: Config) -> Schema:
    count: Schema = {"type": "integer"}
    properties: Schema = {"done": count, "total": count, "after": {"type": ["string", "null"]}, "more": {"type": "boolean"}}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    access = await context.memories()
    with in_step():
        embedder = memories.embedder_of(access)
    if (mine := f"{embedder.provider}:{embedder.model}") != config.model:
        await context.progress(f"waits for a worker whose embedder is {config.model}; this one has {mine} (WEFT_EMBEDDER)")
        await context.wait(Wait(kind="timer", due_in=PAUSE))
        return {"done": 0, "total": 0, "after": config.after, "more": True}
    try:
        with in_step():
            found = await memories.reembed(access, config.after)
    except EmbeddingFailed as failed:
        raise memories.not_made(embedder, failed) from failed
    await context.progress(f"{found.done:,} of {found.total:,} memories have vectors", current=found.done, total=found.total)
    return {"done": found.done, "total": found.total, "after": found.after, "more": found.more}
