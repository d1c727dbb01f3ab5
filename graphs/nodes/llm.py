"""llm: asks a language model, for text or for an object that fits a schema."""

from __future__ import annotations

import re
from typing import Annotated, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, ValidationInfo, field_validator, model_validator

from graphs.definition import Closed, Duration, Json, Retry, Schema, seconds
from graphs.documents import is_array, is_object, is_text
from graphs.models import Completion, Effort, Image, Limit, Message, vendors
from graphs.models._messages import MAX_MESSAGES, MessageForm, ToolForm
from graphs.models.scripted import check_turns
from graphs.nodetype import QUOTED, Context, Effect, Failure, Family, Templated

SUMMARY = "Ask a language model. With `output_schema` the output is an object that fits it; otherwise `text`, with `model` and `usage`."
FAMILY: Family = "ai"
EFFECT = Effect.READ  # costs money, but asking twice changes nothing
LABELS = frozenset({"egress"})
RETRY = Retry(max_attempts=3)
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "prompt": "Classify this ticket: {{ input.ticket }}",
        "output_schema": {
            "type": "object",
            "properties": {"kind": {"enum": ["refund", "other"]}, "amount": {"type": "number"}},
            "required": ["kind"],
        },
    },
    {
        "system": "You answer in one sentence.",
        "prompt": "Summarize: {{ nodes.fetch.body }}",
        "model": "openai:gpt-5-mini",
        "max_tokens": 500,
    },
)
MAX_PROMPT = 400_000  # characters, about 100,000 tokens

Temperature = Annotated[float, Field(ge=0, le=2)]  # bounds inside of Templated: they are not for the text of a template
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


ALIAS = re.compile(r"@[a-z][a-z0-9_-]{0,63}")
DATA_URL = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+={0,2})")
MAX_IMAGES = 20


class LimitForm(Closed):
    key: str = Field(min_length=1, max_length=300)
    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)


FORMS: dict[str, type[Closed]] = {"messages": MessageForm, "tools": ToolForm, "limits": LimitForm}
"""What the items of these lists are. Their schemas would make the description of this step thrice as long for whoever writes a prompt."""

Items = Templated[list[dict[str, Any]]]


class Config(Closed):
    prompt: str | None = Field(default=None, min_length=1, max_length=MAX_PROMPT, description="what is asked, after `messages`")
    system: str | None = Field(default=None, max_length=MAX_PROMPT, description="instructions; keep what comes from outside out of it")
    messages: Items = Field(default=[], description="the conversation before: [{role, text, images, calls, call_id}]")
    images: tuple[str, ...] = Field(default=(), max_length=MAX_IMAGES, strict=False, description='"data:image/png;base64,…"')
    tools: Items = Field(default=[], description="[{name, description, schema}]; `calls` in the output are for you to make")
    model: str | None = Field(default=None, max_length=200, description='"vendor:name", e.g. "openai:gpt-5-mini"; without it the default')
    output_schema: Schema | None = Field(default=None, description="JSON Schema of the output")
    temperature: Templated[Temperature] | None = Field(default=None, description="left out for models that take none")
    max_tokens: Templated[Tokens] | None = Field(default=None, description="of the answer")
    effort: Effort | None = Field(default=None, description="of its thinking; left out for models that do not think")
    timeout: Duration = Field(default="2m", description="of the call")
    first_timeout: Duration | None = Field(default=None, description="of the first piece of the answer")
    agent: str | None = Field(default=None, max_length=200, description="in whose name the call is counted")
    limits: Items = Field(default=[], description="[{key, usd, tokens}] shared in the run")
    script: Items = Field(default=[], description="of the model scripted:<name>: [{text, calls, json}]")

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | None) -> str | None:
        if model and "{{" not in model and model != "scripted" and not ALIAS.fullmatch(model):
            vendor, _, name = model.partition(":")
            if vendor not in vendors() or not name:
                raise ValueError(f"{model!r} is not a model; write vendor:name with a vendor of {', '.join(vendors())}")
        return model

    @field_validator("images")
    @classmethod
    def _data(cls, images: tuple[str, ...]) -> tuple[str, ...]:
        for number, url in enumerate(images):
            if "{{" not in url and not DATA_URL.fullmatch(url):
                raise ValueError(f"image {number + 1} is no data URL; write data:image/png;base64,… (png, jpeg, gif or webp)")
        return images

    @field_validator("script")
    @classmethod
    def _turns(cls, script: list[dict[str, Any]] | str) -> list[dict[str, Any]] | str:
        if isinstance(script, list):
            check_turns([turn for turn in script if not _templated(turn)])
        return script

    @field_validator("messages", "tools", "limits")
    @classmethod
    def _forms(cls, items: list[dict[str, Any]] | str, info: ValidationInfo) -> list[dict[str, Any]] | str:
        if isinstance(items, list) and len(items) > MAX_MESSAGES:
            raise ValueError(f"{len(items)} are too many; at most {MAX_MESSAGES}")
        for item in items if isinstance(items, list) else ():
            if not _templated(item):
                FORMS[info.field_name or ""].model_validate(item)
        return items

    @model_validator(mode="after")
    def _asks(self) -> Config:
        if self.prompt is None and not self.messages:
            raise ValueError("give `prompt`, or `messages`")
        return self

    @field_validator("output_schema")
    @classmethod
    def _schema(cls, schema: Schema | None) -> Schema | None:
        if schema is not None:
            check_schema(schema)
        return schema


def _templated(value: Json) -> bool:
    """Whether the value is known only when the step runs."""
    if is_object(value):
        return any(_templated(part) for part in value.values())
    if is_array(value):
        return any(_templated(part) for part in value)
    return is_text(value) and "{{" in value


def check_schema(schema: Schema) -> None:
    """Raises ValueError when it is not a JSON Schema, or one that points outside of itself."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as wrong:
        where = "/".join(str(part) for part in wrong.absolute_path)
        raise ValueError(f"not a JSON Schema, at {where or 'its root'}: {wrong.message[:200]}") from None
    _local(schema)


def _local(part: Json) -> None:
    if is_object(part):
        reference = part.get("$ref")
        if is_text(reference) and not reference.startswith("#"):
            raise ValueError(f"$ref {reference[:100]!r} points outside of the schema; put what it means into $defs")
    for inner in part.values() if is_object(part) else part if is_array(part) else ():
        _local(inner)


COUNTED: Schema = {
    "type": "object",
    "properties": {
        "input_tokens": {"type": "integer"},
        "output_tokens": {"type": "integer"},
        "cached_tokens": {"type": "integer"},
        "cost_usd": {"type": ["number", "null"]},
    },
}
CALL: Schema = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "arguments": {"type": "object"}},
    "required": ["id", "name", "arguments"],
}


def output(config: Config) -> Schema:
    properties: Schema = {"text": {"type": "string"}}
    if config.tools:
        if config.output_schema is not None:
            properties["json"] = {"anyOf": [config.output_schema, {"type": "null"}]}
        properties["calls"] = {"type": "array", "items": CALL, "default": []}
    elif config.output_schema is not None:
        return config.output_schema
    properties |= {"model": {"type": "string"}, "usage": COUNTED}
    if config.tools:
        properties["stop"] = {"enum": ["stop", "tool_calls", "length"]}
    required = list(properties)
    if config.tools:
        properties["thoughts"] = {"type": "object"}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    asked = said(config)
    if any(message.role == "system" and QUOTED in message.text for message in asked):
        message = "`system` holds recalled memories, which may be anybody's words; put them into `prompt`"
        raise Failure("memory_in_system", message)
    live = Live(context)
    answer = await context.models.complete(
        config.model,
        asked,
        output_schema=config.output_schema,
        tools=[ToolForm.model_validate(tool).spec() for tool in config.tools],
        on_text=live.say,
        on_void=live.void,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        timeout=seconds(config.timeout),
        first_timeout=seconds(config.first_timeout) if config.first_timeout else None,
        agent=config.agent,
        limits=[Limit(**limit) for limit in config.limits],
        effort=config.effort,
        script=config.script or None,
    )
    await context.progress(f"answered by {answer.model}, tokens: {answer.usage.input_tokens} in, {answer.usage.output_tokens} out")
    return shaped(config, answer)


class Live:
    """What is shown of an answer as it is written. The first piece of every attempt takes the place of what was told of another: one that
    was broken off with its process has the same number."""

    def __init__(self, context: Context) -> None:
        self._context, self._void = context, True

    def say(self, text: str) -> None:
        self._context.live("text", {"text" if self._void else "delta": text})
        self._void = False

    def void(self) -> None:
        self._void = True


def said(config: Config) -> list[Message]:
    """The conversation that goes to the model."""
    messages = [Message(role="system", text=config.system)] if config.system else []
    messages += [Message.of_json(one) for one in config.messages]
    if config.prompt is not None or config.images:
        messages.append(Message(role="user", text=config.prompt or "", images=tuple(_image(url) for url in config.images)))
    return messages


def _image(url: str) -> Image:
    found = DATA_URL.fullmatch(url)
    if found is None:
        raise Failure("bad_config", 'images: give each as "data:image/png;base64,…" (png, jpeg, gif or webp)')
    return Image(media_type=found[1], data=found[2])


def shaped(config: Config, answer: Completion) -> Json:
    """With tools everything is told, so that whoever makes the calls can go on."""
    if not config.tools:
        usage = answer.usage.to_json()
        return answer.json if config.output_schema is not None else {"text": answer.text, "model": answer.model, "usage": usage}
    told: dict[str, Json] = {"text": answer.text, "calls": [call.to_json() for call in answer.calls]}
    if config.output_schema is not None:
        told["json"] = answer.json
    if answer.thoughts is not None:
        told["thoughts"] = answer.thoughts.to_json()
    return {**told, "model": answer.model, "usage": answer.usage.to_json(), "stop": answer.stop}
