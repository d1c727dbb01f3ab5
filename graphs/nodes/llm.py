"""llm: asks a language model, for text or for an object that fits a schema."""

from __future__ import annotations

from typing import Annotated, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, field_validator

from graphs.definition import Closed, Duration, Json, Retry, Schema, seconds
from graphs.documents import is_array, is_object, is_text
from graphs.models import Message, vendors
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


class Config(Closed):
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    system: str | None = Field(default=None, max_length=MAX_PROMPT, description="instructions; keep what comes from outside out of it")
    model: str | None = Field(default=None, max_length=200, description='"vendor:name", e.g. "openai:gpt-5-mini"; without it the default')
    output_schema: Schema | None = Field(default=None, description="JSON Schema of the output")
    temperature: Templated[Temperature] | None = Field(default=None, description="left out for models that take none")
    max_tokens: Templated[Tokens] | None = Field(default=None, description="of the answer")
    timeout: Duration = Field(default="2m", description="of the call")

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | None) -> str | None:
        if model and "{{" not in model and model != "scripted":
            vendor, _, name = model.partition(":")
            if vendor not in vendors() or not name:
                raise ValueError(f"{model!r} is not a model; write vendor:name with a vendor of {', '.join(vendors())}")
        return model

    @field_validator("output_schema")
    @classmethod
    def _schema(cls, schema: Schema | None) -> Schema | None:
        if schema is not None:
            check_schema(schema)
        return schema


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


def output(config: Config) -> Schema:
    if config.output_schema is not None:
        return config.output_schema
    counted: Schema = {"type": "object", "properties": {"input_tokens": {"type": "integer"}, "output_tokens": {"type": "integer"}}}
    properties: Schema = {"text": {"type": "string"}, "model": {"type": "string"}, "usage": counted}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def run(config: Config, context: Context) -> Json:
    if config.system and QUOTED in config.system:
        message = "`system` holds recalled memories, which may be anybody's words; put them into `prompt`"
        raise Failure("memory_in_system", message)
    asked = [Message(role="user", text=config.prompt)]
    answer = await context.models.complete(
        config.model,
        [Message(role="system", text=config.system), *asked] if config.system else asked,
        output_schema=config.output_schema,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        timeout=seconds(config.timeout),
    )
    usage = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
    await context.progress(f"answered by {answer.model}, tokens: {usage['input_tokens']} in, {usage['output_tokens']} out")
    return answer.json if config.output_schema is not None else {"text": answer.text, "model": answer.model, "usage": usage}
