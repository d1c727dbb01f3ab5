"""summarize: sums up texts, or a conversation that is remembered."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from graphs import memories
from graphs.definition import Closed, Duration, Json, Retry, Schema, seconds
from graphs.memories import Remembrance, in_step
from graphs.models import vendors
from graphs.nodetype import Context, Effect, Family, Templated
from memory.summarizing import Length

SUMMARY = (
    "Sum up texts, or a remembered conversation, of any length: by the model, or by rules where there is none. `earlier` is gone on with."
)
FAMILY: Family = "ai"
LABELS = frozenset({"egress", "private", "untrusted"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"text": "{{ nodes.fetch.body }}", "words": 100, "points": 3},
    {"session": "main", "scope": "conversation:{{ input.conversation }}", "model": "rules"},
)
RULES = "rules"

Words = Annotated[int, Field(ge=10, le=2000)]
Points = Annotated[int, Field(ge=0, le=20)]


class Config(Closed):
    text: str | None = Field(default=None, max_length=1_000_000, description="what to sum up")
    texts: Templated[tuple[str, ...]] | None = Field(default=None, strict=False, max_length=1000, description="several, in their order")
    session: str | None = Field(default=None, max_length=500, description="or a conversation that is remembered in `scope`")
    scope: str = Field(default="user", max_length=220, description="of the conversation; also where the summary is kept")
    earlier: str | None = Field(default=None, max_length=100_000, description="a summary of what came before, which this one goes on from")
    words: Templated[Words] = Field(default=150, description="at most")
    points: Templated[Points] = Field(default=5, description="key points at most")
    remember: bool = Field(default=False, description="keep it as a memory of kind summary; of a conversation only what is new is read")
    model: str | None = Field(default=None, max_length=200, description='"vendor:name"; "rules" for none; without it the default model')
    timeout: Duration = Field(default="2m", description="of each call of the model")

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | None) -> str | None:
        if model and "{{" not in model and model not in ("scripted", RULES):
            vendor, _, name = model.partition(":")
            if vendor not in vendors() or not name:
                raise ValueError(f"{model!r} is not a model; write rules, or vendor:name with a vendor of {', '.join(vendors())}")
        return model

    @model_validator(mode="after")
    def _one(self) -> Config:
        if sum(given is not None for given in (self.text, self.texts, self.session)) != 1:
            raise ValueError("give exactly one of text, texts and session")
        if self.earlier is not None and self.session is not None:
            raise ValueError("a conversation knows its earlier summary itself; leave `earlier` out")
        return self


def effect(config: Config) -> Effect:
    return Effect.WRITE_IDEMPOTENT if config.remember else Effect.READ


def output(config: Config) -> Schema:
    strings: Schema = {"type": "array", "items": {"type": "string"}}
    counted: Schema = {"type": "object", "properties": {"input_tokens": {"type": "integer"}, "output_tokens": {"type": "integer"}}}
    properties: Schema = {
        "text": {"type": "string"}, "key_points": strings, "by": {"type": "string"}, "parts": {"type": "integer"}, "usage": counted,
        "memory_ids": strings,
    }  # fmt: skip
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    by = memories.sums(context.models, config.model, timeout=seconds(config.timeout))
    length = Length(words=config.words, points=config.points)
    ids: list[str] = []
    if config.session is not None:
        with in_step():
            found, kept = await memories.sum_up_conversation(
                await context.memories(), config.scope, config.session, by, length, keep=config.remember
            )
        ids = [one.id for one in kept] if config.remember else []
    else:
        found = await memories.sum_up_texts(config.texts or (config.text or "",), by, length, config.earlier)
        if config.remember and found.text.strip():
            item = {"text": found.text, "key_points": list(found.key_points)}
            source = f"run {context.run_id} {context.position}"
            wanted = Remembrance(kind="summary", item=item, scope=config.scope, origin="tool", source=source, author=by.model)
            with in_step():
                outcome = (await memories.remember(await context.memories(), wanted)).kept
            ids = [*outcome.created, *outcome.known]
    usage = {"input_tokens": by.usage.input_tokens, "output_tokens": by.usage.output_tokens}
    await context.progress(f"summed up by {by.model} in {by.parts} parts")
    return {
        "text": found.text, "key_points": list(found.key_points), "by": by.model, "parts": by.parts, "usage": usage, "memory_ids": ids,
    }  # fmt: skip
