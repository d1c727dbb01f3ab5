"""consolidate: one pass of keeping memories in order, on behalf of whoever started the run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.memories import in_step
from graphs.nodetype import Context, Effect, Family, Templated

SUMMARY = "Keep memories in order, a part at a time: sum up conversations, merge entities, link duplicates, forget what is not kept."
FAMILY: Family = "action"
EFFECT = Effect.WRITE_IDEMPOTENT
LABELS = frozenset({"private", "egress"})
RETRY = Retry(max_attempts=5)
EXAMPLES: tuple[dict[str, Any], ...] = ({"work": ["merge", "link", "sum_up"], "whose": "own"}, {"work": ["forget"]})

Work = Literal["forget", "embed", "merge", "link", "sum_up"]


ALL: tuple[Work, ...] = ("forget", "embed", "merge", "link", "sum_up")
COUNTS = ("summed_up", "merged", "linked", "forgotten", "embedded")


class Config(Closed):
    work: tuple[Work, ...] = Field(
        default=("forget", "embed", "merge", "link", "sum_up"),
        min_length=1,
        max_length=5,
        strict=False,
        description="what is done, in this order",
    )
    whose: Templated[Literal["own", "shared", "all"]] = Field(
        default="all", description="memories of whoever started the run, those of everybody that they may write, or both"
    )
    so_far: Templated[dict[str, Json]] | None = Field(default=None, description="output of the step before, whose counts are added to")


def output(config: Config) -> Schema:
    properties: Schema = {name: {"type": "integer"} for name in COUNTS}
    properties["more"] = {"type": "boolean"}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    with in_step():
        done = await memories.consolidate(await context.memories(), config.work, config.whose)
    before = config.so_far or {}
    counts: dict[str, Json] = {}
    for name in COUNTS:
        known = before.get(name)
        counts[name] = getattr(done, name) + (known if isinstance(known, int) else 0)
    told = ", ".join(f"{name.replace('_', ' ')}: {number}" for name, number in counts.items() if number)
    await context.progress(told or "nothing to do")
    return {**counts, "more": done.more}
