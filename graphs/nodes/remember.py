"""remember: keeps a text, or an item of a kind of memory, for later runs and conversations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from graphs import memories
from graphs.definition import Closed, Json, Retry, Schema
from graphs.documents import is_array, is_object
from graphs.memories import Remembrance, in_step, outcome_view
from graphs.nodetype import Context, Effect, Family
from graphs.nodetype import Templated as T

SUMMARY = "Remember a text and what it says, or an item of a kind. The same once more changes nothing; newer facts supersede older ones."
FAMILY: Family = "action"
EFFECT = Effect.WRITE_IDEMPOTENT
LABELS = frozenset({"private"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"text": "{{ input.message }}", "speaker": "{{ input.name }}", "scope": "conversation:{{ input.conversation }}", "origin": "user"},
    {"kind": "fact", "item": {"subject": "{{ input.name }}", "predicate": "lives_in", "object": "{{ input.city }}"}, "origin": "agent"},
)


class Config(Closed):
    text: str | None = Field(default=None, max_length=1_000_000, description="what to remember; a long one is kept in pieces")
    kind: str | None = Field(default=None, max_length=20, description="of `item`, or `document` for a text")
    item: dict[str, Json] | None = Field(default=None, description="instead of text: the fields of the kind")
    scope: str = Field(
        default="user", max_length=220, description="user, organization, or agent:, conversation:, workflow:, run: and a name"
    )
    origin: T[Literal["user", "agent", "tool", "web", "document"]] = Field(
        default="tool", description="whose words these are; what a person did not say is believed less"
    )
    source: str | None = Field(default=None, max_length=500, description="a URL, a file; without it this run and step")
    speaker: str | None = Field(default=None, max_length=200, description="who said it")
    labels: tuple[str, ...] = Field(default=(), max_length=20, strict=False)

    @model_validator(mode="after")
    def _one(self) -> Config:
        if (self.text is None) == (self.item is None):
            raise ValueError("give text, or kind and item; one of the two")
        return self


def output(config: Config) -> Schema:
    ids: Schema = {"type": "array", "items": {"type": "string"}}
    properties: Schema = {"scope": {"type": "string"}, **dict.fromkeys(("created", "known", "concluded", "superseded", "contested"), ids)}
    required = list(properties)
    properties |= {"concluded_by": {"type": "string"}, "usage": {"type": "object"}}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    wanted = Remembrance(
        text=config.text,
        kind=config.kind,
        item=_once(config, context.idempotency_key),
        scope=config.scope,
        origin=config.origin,
        source=config.source or f"run {context.run_id} {context.position}",
        speaker=config.speaker,
        labels=config.labels,
    )
    with in_step():
        kept = await memories.remember(await context.memories(), wanted)
    nothing: dict[str, Json] = {name: [] for name in ("known", "concluded", "superseded", "contested")}
    return {**nothing, **outcome_view(kept)}


def _once(config: Config, key: str) -> dict[str, Json] | None:
    """Messages without an id get one of this step, so that a repeated step does not say them twice."""
    messages = (config.item or {}).get("messages")
    if config.item is None or config.kind != "conversation" or not is_array(messages):
        return config.item
    named = [
        {"id": f"{key[-400:]}/{number}", **one} if is_object(one) and not one.get("at") else one for number, one in enumerate(messages)
    ]
    return {**config.item, "messages": named}
