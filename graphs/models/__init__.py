"""Language models: what a vendor module is, the vendors found by folder, and the one way to ask any of them.

A vendor is one module graphs/models/<vendor>.py with these names; `vendor:name` in a model's name chooses it:

    NEEDS: str                                     the settings to make it work, for a sentence
    BASE: str                                      the setting of its base URL, for a sentence; "" when it has none
    def endpoint(settings: ModelSettings) -> Endpoint | None     where the operator's key is for; None when it is not set up
    def default(settings: ModelSettings) -> str    the model when the operator named none; "" when only the operator can know
    def load() -> None                             imports what is slow to import; called once, in a thread
    async def ask(call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply

`ask` lets the errors of its SDK through; graphs/models/_failures.py makes Failures of them. Modules with an underscore are no vendors.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol, cast

from graphs.definition import Json, Schema
from graphs.models._failures import caught, failure
from graphs.models._messages import Call, Completion, Endpoint, Image, Limit, Message, Reply, ToolCall, ToolSpec, Usage
from graphs.models._settings import ModelSettings
from graphs.models._structured import Shape, read_calls
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from store.postgres import Tenant

__all__ = [
    "SCRIPTED", "Call", "Completion", "Endpoint", "Image", "Limit", "Message", "ModelSettings", "Models", "Reply", "ToolCall", "ToolSpec",
    "Usage", "vendors",
]  # fmt: skip

SCRIPTED = "scripted"
SHOWN = 20_000  # characters of a wrong answer that go back to the model
REPAIRS = 1  # rounds in which a model may mend an answer that does not fit the schema, or a call that cannot be made


class Vendor(Protocol):
    """The shape of a vendor module."""

    NEEDS: str
    BASE: str

    def endpoint(self, settings: ModelSettings) -> Endpoint | None: ...
    def default(self, settings: ModelSettings) -> str: ...
    def load(self) -> None: ...
    async def ask(self, call: Call, endpoint: Endpoint, outbound: Outbound) -> Reply: ...


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
        ready = (name for name, vendor in vendors().items() if name != SCRIPTED and vendor.endpoint(self._settings))
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
        tools: Sequence[ToolSpec] = (),
        on_text: Callable[[str], None] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 120.0,
        first_timeout: float | None = None,
        agent: str | None = None,
        limits: Sequence[Limit] = (),
        script: Sequence[Mapping[str, Json]] | None = None,
    ) -> Completion:
        """Asks `model` ("vendor:name"; None for the default) within `timeout` seconds in all.

        With `output_schema` the answer is checked against it; with `tools` the model may call some first, and then `calls` says which. It
        gets one chance to mend an answer that does not fit, or calls that cannot be made. With `on_text` the answer is streamed: pieces of
        text go there as they come, and the first must come within `first_timeout` seconds. What was streamed before a failure is void.
        Raises Failure with a code that begins with "model_"."""
        full = model or self.default()
        name, vendor, bare, endpoint = self._choose(full)
        await self._load(name, vendor)
        shape = Shape.of(output_schema) if output_schema is not None else None
        call = Call(
            model=bare,
            messages=tuple(messages),
            schema=shape.schema if shape else None,
            tools=tuple(tools),
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=max(timeout - 2.0, timeout * 0.8),  # the network sees a silent server first, and its circuit hears of it
            first=first_timeout,
            on_text=on_text,
            script=tuple(script) if script is not None else self._script(name, bare),
        )
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(full, vendor, call, shape, endpoint)
        except TimeoutError:
            raise Failure("model_timeout", f"{full} did not answer within {timeout:g} s", retryable=True) from None

    async def _answer(self, full: str, vendor: Vendor, call: Call, shape: Shape | None, endpoint: Endpoint) -> Completion:
        usage, wrong = Usage(cost_usd=0.0), ""
        for left in range(REPAIRS, -1, -1):
            reply = await self._ask(full, vendor, call, endpoint)
            usage += reply.usage
            calls, value = (), None
            if reply.calls:
                calls, wrong = read_calls(reply.calls, call.tools)
            elif shape is not None:
                value, wrong = shape.read(reply.text)
            else:
                wrong = ""
            if reply.cut and (wrong or reply.calls):
                raise Failure("model_output", f"{full} ran out of tokens before its answer was complete; raise max_tokens")
            if not wrong:
                stop = "tool_calls" if calls else "length" if reply.cut else "stop"
                return Completion(text=reply.text, json=value, model=full, usage=usage, calls=calls, stop=stop)
            if left:
                said = Message(role="assistant", text=reply.text[:SHOWN] or "(nothing)")
                mend = wrong if reply.calls or shape is None else shape.mend(wrong)
                call = replace(call, messages=(*call.messages, said, Message(role="user", text=mend)))
        what = "made no tool call that can be made" if shape is None else "gave no answer that fits output_schema"
        raise Failure("model_output", f"{full} {what}: {wrong}", retryable=True)

    async def _ask(self, full: str, vendor: Vendor, call: Call, endpoint: Endpoint) -> Reply:
        try:
            reply = await vendor.ask(call, endpoint, self._outbound)
        except caught() as error:
            raise _hidden(failure(full, vendor, error), endpoint) from None
        if reply.refusal is not None:
            raise Failure("model_refused", f"{full} refused to answer: {reply.refusal[:500]}")
        return reply

    def _script(self, name: str, bare: str) -> tuple[Mapping[str, Json], ...] | None:
        turns = self._settings.scripts.get(bare) if name == SCRIPTED else None
        return tuple(turns) if turns is not None else None

    def _choose(self, full: str) -> tuple[str, Vendor, str, Endpoint]:
        name, _, bare = full.partition(":")
        vendor = vendors().get(name)
        if vendor is None or (not bare and name != SCRIPTED):
            known = ", ".join(f"{other}:<model>" for other in vendors() if other != SCRIPTED)
            raise Failure("model_unknown", f"{full!r} is not a model; write {known} or scripted")
        endpoint = vendor.endpoint(self._settings)
        if endpoint is None:
            raise Failure("model_missing", f"{full} is not set up; the operator must set {vendor.NEEDS}")
        return name, vendor, bare, endpoint

    async def _load(self, name: str, vendor: Vendor) -> None:
        """The SDKs take seconds to import and 100 MB: only when first asked, and beside the event loop."""
        if name not in self._loaded:
            await asyncio.to_thread(vendor.load)
            self._loaded.add(name)


def _hidden(shown: Failure, endpoint: Endpoint) -> Failure:
    """Some servers repeat the key in their answer."""
    if endpoint.key is not None and (secret := endpoint.key.get_secret_value()):
        shown.message = shown.message.replace(secret, "***")
    return shown
