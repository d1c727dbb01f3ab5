"""What is said to models and what they answer: messages, images, tools and their calls, and what a call used and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from graphs.definition import Closed, Json, Schema

Role = Literal["system", "user", "assistant", "tool"]
MEDIA = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
MAX_TEXT = 400_000  # characters of one message, about 100,000 tokens
MAX_IMAGE = 7_000_000  # characters of base64: 5 MB, what the vendors take
MAX_MESSAGES = 2_000

Effort = Literal["low", "medium", "high"]
"""How much a model thinks before it answers."""
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]  # what all vendors take


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`data` is base64 without line breaks."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool that a model may call; `schema` is of its arguments, an object."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model asks for. `id` ties the result to it."""

    id: str
    name: str
    arguments: dict[str, Json] = field(default_factory=dict[str, Json])

    def to_json(self) -> dict[str, Json]:
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thoughts:
    """What a model thought before it called tools, in the form of its vendor, who may have signed it: it goes back with the results,
    unchanged, and to no other model than `model` ("vendor:name")."""

    model: str
    parts: tuple[dict[str, Json], ...]

    def to_json(self) -> dict[str, Json]:
        return {"model": self.model, "parts": list(self.parts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`calls` and `thoughts` are of an assistant; with role tool, `text` is the result of the call `call_id`."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    thoughts: Thoughts | None = None

    def to_json(self) -> dict[str, Json]:
        """For journals; `of_json` reads it back."""
        said: dict[str, Json] = {"role": self.role, "text": self.text}
        if self.images:
            said["images"] = [{"media_type": image.media_type, "data": image.data} for image in self.images]
        if self.calls:
            said["calls"] = [call.to_json() for call in self.calls]
        if self.call_id is not None:
            said["call_id"] = self.call_id
        if self.thoughts is not None:
            said["thoughts"] = self.thoughts.to_json()
        return said

    @classmethod
    def of_json(cls, said: Json) -> Message:
        """Raises pydantic.ValidationError, which is a ValueError, for anything else than what `to_json` gives."""
        return MessageForm.model_validate(said).message()


class ImageForm(Closed):
    """An image as authors and journals write it."""

    media_type: MEDIA
    data: str = Field(min_length=4, max_length=MAX_IMAGE, pattern=r"^[A-Za-z0-9+/]+={0,2}$", description="base64")


class CallForm(Closed):
    id: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)


class ThoughtsForm(Closed):
    model: str = Field(min_length=1, max_length=200)
    parts: tuple[dict[str, Any], ...] = Field(min_length=1, max_length=1000, strict=False)


class MessageForm(Closed):
    """A message as authors and journals write it."""

    role: Role
    text: str = Field(default="", max_length=MAX_TEXT)
    images: tuple[ImageForm, ...] = Field(default=(), max_length=20, strict=False)
    calls: tuple[CallForm, ...] = Field(default=(), max_length=128, strict=False, description="of an assistant: the tools it asked for")
    call_id: str | None = Field(default=None, max_length=200, description="of role tool: the call whose result `text` is")
    thoughts: ThoughtsForm | None = Field(default=None, description="of an assistant: those of the output with the calls")

    def message(self) -> Message:
        return Message(
            role=self.role,
            text=self.text,
            images=tuple(Image(media_type=image.media_type, data=image.data) for image in self.images),
            calls=tuple(ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in self.calls),
            call_id=self.call_id,
            thoughts=Thoughts(model=self.thoughts.model, parts=self.thoughts.parts) if self.thoughts else None,
        )


class ToolForm(Closed):
    """A tool as authors write it."""

    name: ToolName
    description: str = Field(default="", max_length=10_000)
    schema_: Schema = Field(
        default_factory=lambda: {"type": "object", "properties": {}}, alias="schema", description="JSON Schema of an object"
    )

    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=self.description, schema=self.schema_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`input_tokens` counts all of the input; `cached_tokens` of them were read from the vendor's cache and `written_tokens` put into it.
    `cost_usd` is None when nobody knows the price."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            written_tokens=self.written_tokens + other.written_tokens,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )

    def to_json(self) -> dict[str, Json]:
        """What a step's output says of it."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "cost_usd": self.cost_usd,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A spending limit of its own within a run; `key` names it there, such as "agent:<position>"."""

    key: str
    usd: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The answer. `json` fits the schema that was asked for and is None when none was, or when the model calls tools first; `model` is
    "vendor:name" or "scripted"; `stop` is "stop", "tool_calls", or "length" when it ran out of tokens; `thoughts` come only with calls, to
    go back with their results."""

    text: str
    json: Json
    model: str
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    stop: str = "stop"
    thoughts: Thoughts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a vendor is asked, and with which key. `trusted`: the operator chose the address, so it may be a private one."""

    base_url: str | None = None
    key: SecretStr | None = None
    trusted: bool = True
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])
    connection: str | None = None  # which says all that


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a vendor. `schema` is of an object, `model` has no vendor in front, times are in seconds. With `on_text` the answer
    is streamed and every piece of text, with a schema of its JSON, goes there as it comes; `on_void` is told when those are void, and
    `heard` of all pieces, those of thoughts and calls too. `first` is how long the first piece may take. `script`: see scripted.py."""

    model: str
    messages: tuple[Message, ...]
    schema: Schema | None = None
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float = 120.0
    first: float | None = None
    on_text: Callable[[str], None] | None = None
    on_void: Callable[[], None] = lambda: None
    heard: Callable[[str], None] | None = None
    effort: Effort | None = None
    script: tuple[Mapping[str, Json], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A tool call as the vendor sent it: `arguments` is text that should be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the vendor sent: with a schema, `text` should be JSON. `cut` when the model ran out of tokens, `refusal` its words, `thoughts`
    as of Thoughts."""

    text: str
    usage: Usage
    calls: tuple[Wish, ...] = ()
    cut: bool = False
    refusal: str | None = None
    thoughts: tuple[dict[str, Json], ...] = ()
