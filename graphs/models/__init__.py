"""Language models: what a vendor module is, the vendors found by folder, and the one way to ask any of them.

A vendor is one module graphs/models/<vendor>.py with these names; `vendor:name` in a model's name chooses it:

    NEEDS: str                                     the settings to make it work, for a sentence
    BASE: str                                      the setting of its base URL, for a sentence; "" when it has none
    def configured(settings: ModelSettings) -> bool
    def default(settings: ModelSettings) -> str    the model when the operator named none; "" when only the operator can know
    def load() -> None                             imports what is slow to import; called once, in a thread
    async def ask(call: Call, settings: ModelSettings, outbound: Outbound) -> Reply

`ask` lets the errors of its SDK through; graphs/models/_failures.py makes Failures of them. Modules with an underscore are no vendors.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Protocol, cast

from pydantic import SecretStr

from graphs.definition import Json, Schema
from graphs.models._failures import caught, failure
from graphs.models._structured import Shape
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from store.postgres import Tenant

SCRIPTED = "scripted"
SHOWN = 20_000  # characters of a wrong answer that go back to the model
REPAIRS = 1  # rounds in which a model may mend an answer that does not fit the schema


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What the operator set. Keys are secret and do not show."""

    default: str | None = None  # "openai:gpt-5-mini"
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    memory: str = "none"  # what reads and sums up memories: none, auto (the default model) or "vendor:name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(input_tokens=self.input_tokens + other.input_tokens, output_tokens=self.output_tokens + other.output_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a vendor; `schema` is of an object, `model` has no vendor in front, `timeout` is in seconds."""

    model: str
    messages: tuple[Message, ...]
    schema: Schema | None
    temperature: float | None
    max_tokens: int | None
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the vendor sent: with a schema, `text` should be JSON. `cut` when the model ran out of tokens, `refusal` its words."""

    text: str
    usage: Usage
    cut: bool = False
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The answer. `json` fits the schema that was asked for and is None when none was; `model` is "vendor:name" or "scripted"."""

    text: str
    json: Json
    model: str
    usage: Usage


class Vendor(Protocol):
    """The shape of a vendor module."""

    NEEDS: str
    BASE: str

    def configured(self, settings: ModelSettings) -> bool: ...
    def default(self, settings: ModelSettings) -> str: ...
    def load(self) -> None: ...
    async def ask(self, call: Call, settings: ModelSettings, outbound: Outbound) -> Reply: ...


@cache
def vendors() -> dict[str, Vendor]:
    """Every vendor by name. Their SDKs are not imported yet."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: cast(Vendor, importlib.import_module(f"{__name__}.{name}")) for name in names}


class Models:
    """Asks models; one per process."""

    def __init__(self, settings: ModelSettings, outbound: Outbound) -> None:
        self._settings, self._outbound = settings, outbound
        self._loaded: set[str] = set()

    def of(self, tenant: Tenant) -> Models:
        """What an organization's steps ask with: their calls keep to its circuits and rate limits. Cheap to make."""
        view = Models(self._settings, self._outbound.of(tenant))
        view._loaded = self._loaded
        return view

    def secrets(self) -> tuple[str, ...]:
        """The operator's keys, to be blotted out wherever they turn up."""
        keys = (self._settings.openai_api_key, self._settings.anthropic_api_key)
        return tuple(key.get_secret_value() for key in keys if key is not None)

    def default(self) -> str:
        """The model of a step that names none: the operator's choice, else that of the first vendor with a key, else "scripted"."""
        if self._settings.default:
            return self._settings.default
        ready = (name for name, vendor in vendors().items() if name != SCRIPTED and vendor.configured(self._settings))
        name = next(ready, SCRIPTED)
        if name == SCRIPTED:
            return name
        model = vendors()[name].default(self._settings)
        if not model:
            raise Failure("model_missing", f"which model? The operator must set WEFT_MODEL={name}:<a model of that server>")
        return f"{name}:{model}"

    def real(self) -> str | None:
        """The default model; None when there is none but "scripted" and the operator did not choose that. Raises Failure as `default`."""
        chosen = self.default()
        return None if chosen == SCRIPTED and self._settings.default is None else chosen

    def for_memory(self) -> str | None:
        """The model that reads and sums up memories by itself; None: rules do. Raises Failure as `default`."""
        chosen = self._settings.memory
        return self.real() if chosen == "auto" else None if chosen == "none" else chosen

    async def complete(
        self,
        model: str | None,
        messages: Sequence[Message],
        *,
        output_schema: Schema | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 120.0,
    ) -> Completion:
        """Asks `model` ("vendor:name"; None for the default) within `timeout` seconds in all.

        With `output_schema` the answer is checked against it, and the model gets one chance to mend it.
        Raises Failure with a code that begins with "model_"."""
        full = model or self.default()
        name, vendor, bare = self._choose(full)
        await self._load(name, vendor)
        shape = Shape.of(output_schema) if output_schema is not None else None
        call = Call(
            model=bare,
            messages=tuple(messages),
            schema=shape.schema if shape else None,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=max(timeout - 2.0, timeout * 0.8),  # the network sees a silent server first, and its circuit hears of it
        )
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(full, vendor, call, shape)
        except TimeoutError:
            raise Failure("model_timeout", f"{full} did not answer within {timeout:g} s", retryable=True) from None

    async def _answer(self, full: str, vendor: Vendor, call: Call, shape: Shape | None) -> Completion:
        usage, wrong = Usage(), ""
        for left in range(REPAIRS, -1, -1):
            reply = await self._ask(full, vendor, call)
            usage += reply.usage
            if shape is None:
                return Completion(text=reply.text, json=None, model=full, usage=usage)
            value, wrong = shape.read(reply.text)
            if not wrong:
                return Completion(text=reply.text, json=value, model=full, usage=usage)
            if reply.cut:
                raise Failure("model_output", f"{full} ran out of tokens before its answer was complete; raise max_tokens")
            if left:
                said = Message(role="assistant", text=reply.text[:SHOWN] or "(nothing)")
                call = replace(call, messages=(*call.messages, said, Message(role="user", text=shape.mend(wrong))))
        raise Failure("model_output", f"{full} gave no answer that fits output_schema: {wrong}", retryable=True)

    async def _ask(self, full: str, vendor: Vendor, call: Call) -> Reply:
        try:
            reply = await vendor.ask(call, self._settings, self._outbound)
        except caught() as error:
            raise self._hidden(failure(full, vendor, error)) from None
        if reply.refusal is not None:
            raise Failure("model_refused", f"{full} refused to answer: {reply.refusal[:500]}")
        return reply

    def _hidden(self, shown: Failure) -> Failure:
        """Some servers repeat the key in their answer."""
        for secret in (self._settings.openai_api_key, self._settings.anthropic_api_key):
            if secret is not None and secret.get_secret_value():
                shown.message = shown.message.replace(secret.get_secret_value(), "***")
        return shown

    def _choose(self, full: str) -> tuple[str, Vendor, str]:
        name, _, bare = full.partition(":")
        vendor = vendors().get(name)
        if vendor is None or (not bare and name != SCRIPTED):
            known = ", ".join(f"{other}:<model>" for other in vendors() if other != SCRIPTED)
            raise Failure("model_unknown", f"{full!r} is not a model; write {known} or scripted")
        if not vendor.configured(self._settings):
            raise Failure("model_missing", f"{full} is not set up; the operator must set {vendor.NEEDS}")
        return name, vendor, bare

    async def _load(self, name: str, vendor: Vendor) -> None:
        """The SDKs take seconds to import and 100 MB: only when first asked, and beside the event loop."""
        if name not in self._loaded:
            await asyncio.to_thread(vendor.load)
            self._loaded.add(name)
