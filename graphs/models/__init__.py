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
from typing import TYPE_CHECKING, Protocol, cast

from pydantic import SecretStr

from graphs.definition import Json, Schema
from graphs.models._embedding import Paid
from graphs.models._failures import caught, failure
from graphs.models._known import known
from graphs.models._messages import (
    Call,
    Completion,
    Effort,
    Endpoint,
    Image,
    Limit,
    Message,
    Reply,
    Thoughts,
    ToolCall,
    ToolSpec,
    Usage,
)  # fmt: skip
from graphs.models._routes import INSTEAD, SCRIPTED, Route, chain, choose, fits, operators
from graphs.models._settings import ModelSettings
from graphs.models._spending import Bill, Caller, Till, estimate, longest, patiently
from graphs.models._structured import Shape, read
from graphs.models._thinking import bound
from graphs.nodetype import Failure
from graphs.outbound import Outbound
from memory.embedding import Counting, Embedder
from store import models
from store.models import Choices, Listed
from store.postgres import Tenant

if TYPE_CHECKING:
    from graphs.connections import Connections

__all__ = [
    "SCRIPTED", "Call", "Caller", "Completion", "Effort", "Endpoint", "Image", "Limit", "Message", "ModelSettings", "Models", "Reply",
    "Thoughts", "ToolCall", "ToolSpec", "Usage", "vendors",
]  # fmt: skip

NOBODY = Caller()
BUSY = 30.0  # seconds to wait for calls under way that hold the rest of a budget
WAITED = 60.0  # seconds; whoever asks us to wait longer is not waited for when another model can answer
UNUSABLE = frozenset(
    {"model_missing", "model_auth", "model_not_found", "model_quota", "model_no_images", "model_no_tools", "connection_missing"}
)
"""Failures of a model that was asked in another's place: the next one is, and in the end the first failure told."""
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
    """Asks models; one per process. `connections` opens those that an organization keeps keys of vendors in."""

    def __init__(self, settings: ModelSettings, outbound: Outbound, connections: Connections | None = None) -> None:
        self._settings, self._outbound, self._connections = settings, outbound, connections
        self._loaded: set[str] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._tenant: Tenant | None = None
        self._caller = Caller()

    def of(self, tenant: Tenant, caller: Caller = NOBODY) -> Models:
        """What an organization's steps ask with: by its registry, within its budgets, circuits and rate limits, and every call recorded.
        Cheap to make."""
        view = Models(self._settings, self._outbound.of(tenant), self._connections)
        view._loaded, view._settling, view._tenant, view._caller = self._loaded, self._settling, tenant, caller
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
        on_void: Callable[[], None] = lambda: None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = 120.0,
        first_timeout: float | None = None,
        agent: str | None = None,
        limits: Sequence[Limit] = (),
        effort: Effort | None = None,
        script: Sequence[Mapping[str, Json]] | None = None,
    ) -> Completion:
        """Asks `model` ("vendor:name"; None for the default) within `timeout` seconds in all.

        With `output_schema` the answer is checked against it; with `tools` the model may call some first, and then `calls` says which. It
        gets one chance to mend an answer that does not fit, or calls that cannot be made. With `on_text` the answer is streamed: pieces of
        text go there as they come, those of JSON where there is a schema, and the first must come within `first_timeout` seconds. `on_void`
        is told when what came so far is void, since the model mends it or another one answers.
        Raises Failure with a code that begins with "model_"."""
        shape = Shape.of(output_schema) if output_schema is not None else None
        call = Call(
            model="",
            messages=tuple(messages),
            schema=shape.schema if shape else None,
            tools=tuple(tools),
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=max(timeout - 2.0, timeout * 0.8),  # the network sees a silent server first, and its circuit hears of it
            first=first_timeout,
            on_text=on_text,
            on_void=on_void,
            effort=effort,
            script=tuple(script) if script is not None else None,
        )
        till = Till(self._tenant, self._caller, agent, (*self._caller.limits, *limits), self._settling) if self._tenant else None
        choices = await self._choices()
        first: Failure | None = None
        for full in chain(choices, model, self.default):
            try:
                return await self._complete(await self._route(full, choices, call), call, shape, till, timeout)
            except Failure as failure:
                long = (failure.retry_after or 0.0) > WAITED
                instead = failure.code in INSTEAD and (long or self._caller.last)
                instead = instead or (long and failure.code == "rate_limited")  # our own gate holds the calls back that long
                if not instead and not (first and failure.code in UNUSABLE):
                    raise
                first = first or failure
                on_void()
        assert first is not None  # noqa: S101  # a chain has at least one model
        raise first

    async def _complete(self, route: Route, call: Call, shape: Shape | None, till: Till | None, timeout: float) -> Completion:
        """One model of the chain, within its time."""
        fits(route, images=any(message.images for message in call.messages), tools=bool(call.tools))
        await self._load(route.name, route.vendor)
        on_text = None if route.known.streaming is False else call.on_text
        script = call.script if call.script is not None else route.script
        call = replace(call, model=route.model, messages=bound(call.messages, route.full), on_text=on_text, script=script)
        try:
            async with asyncio.timeout(timeout) as deadline:
                return await self._answer(route, call, shape, till, deadline)
        except TimeoutError:
            raise Failure("model_timeout", f"{route.full} did not answer within {timeout:g} s", retryable=True) from None

    async def _answer(self, route: Route, call: Call, shape: Shape | None, till: Till | None, deadline: asyncio.Timeout) -> Completion:
        usage, wrong, full = Usage(cost_usd=0.0), "", route.full
        for left in range(REPAIRS, -1, -1):
            reply, bill = await self._ask(route, call, till, deadline)
            calls, value, wrong = read(reply, call.tools, shape)
            if reply.refusal is not None:
                wrong = "model_refused"
            usage += (
                await bill.paid(reply.usage, "ok" if not wrong else wrong if reply.refusal else "model_output")
                if bill
                else priced(route, reply)
            )
            if reply.refusal is not None:
                raise Failure("model_refused", f"{full} refused to answer: {reply.refusal[:500]}")
            if reply.cut and (wrong or reply.calls):
                raise Failure("model_output", f"{full} ran out of tokens before its answer was complete; raise max_tokens")
            if not wrong:
                stop = "tool_calls" if calls else "length" if reply.cut else "stop"
                thoughts = Thoughts(model=full, parts=reply.thoughts) if calls and reply.thoughts else None
                return Completion(text=reply.text, json=value, model=full, usage=usage, calls=calls, stop=stop, thoughts=thoughts)
            if left:
                call.on_void()
                said = Message(role="assistant", text=reply.text[:SHOWN] or "(nothing)")
                mend = wrong if reply.calls or shape is None else shape.mend(wrong)
                call = replace(call, messages=(*call.messages, said, Message(role="user", text=mend)))
        what = "made no tool call that can be made" if shape is None else "gave no answer that fits output_schema"
        raise Failure("model_output", f"{full} {what}: {wrong}", retryable=True)

    async def _ask(self, route: Route, call: Call, till: Till | None, deadline: asyncio.Timeout) -> tuple[Reply, Bill | None]:
        patience = min(call.timeout / 2, BUSY)
        bill = await till.reserve(route, estimate(call), longest(route, call), call.timeout, patience) if till else None
        sent = call if bill is None else replace(call, max_tokens=bill.bounded(call), heard=bill.heard)
        try:
            return await route.vendor.ask(sent, route.endpoint, self._outbound), bill
        except caught() as error:
            shown = _hidden(failure(route, call, error), route.endpoint)
            if bill:
                await bill.failed(shown.code)
            raise shown from None
        except asyncio.CancelledError:
            if bill:
                await bill.failed("model_timeout" if deadline.expired() else "cancelled")
            raise

    def embedder(self, made: Embedder | None) -> Embedder | None:
        """What makes vectors on the organization's behalf: one that somebody charges for is paid for like a model that answers."""
        if self._tenant is None or made is None or not hasattr(made, "count"):
            return made
        till = Till(self._tenant, self._caller, None, self._caller.limits, self._settling)
        vendor = vendors()[made.provider]
        elsewhere = self._settings.openai_base_url is not None
        return Paid(cast(Counting, made), f"{made.provider}:{made.model}", vendor, self._tenant, till, elsewhere=elsewhere)

    async def _choices(self) -> Choices:
        tenant = self._tenant
        return await patiently(lambda: models.known(tenant)) if tenant else Choices()

    async def _route(self, full: str, choices: Choices, call: Call) -> Route:
        """Raises Failure when the model is unknown or not set up."""
        name, vendor, bare = choose(vendors(), full)
        listed = choices.models.get(full)
        endpoint = await self._endpoint(full, vendor, listed)
        turns = (listed.script if listed else None) or self._settings.scripts.get(bare) if name == SCRIPTED else None
        return Route(
            full=full,
            vendor=vendor,
            name=name,
            model=bare,
            known=known(full, listed, elsewhere=endpoint.base_url is not None),
            endpoint=endpoint,
            script=tuple(turns) if turns is not None else None,
        )

    async def _endpoint(self, full: str, vendor: Vendor, listed: Listed | None) -> Endpoint:
        """The organization's connection, its server that wants no key, or the operator's. A secret goes nowhere but to its own address."""
        if listed is None or (listed.connection is None and listed.base_url is None):
            return operators(self._settings, full, vendor)
        if listed.base_url is not None:
            return Endpoint(base_url=listed.base_url, trusted=False)
        if self._connections is None or self._tenant is None or listed.connection is None:
            raise Failure("connection_missing", f"{full} needs the connection {listed.connection!r}, and this process has no key folder")
        redactor = self._caller.redactor
        kind = getattr(vendor, "CONNECTION", full.partition(":")[0])
        opened = await self._connections.open(self._tenant, listed.connection, kind=kind, user_id=self._caller.user_id, redactor=redactor)
        key, base = opened.secret("api_key"), opened.settings.get("base_url")
        secret = SecretStr(key) if key else None
        return Endpoint(base_url=base, key=secret, trusted=False, settings=opened.settings, connection=listed.connection)

    async def _load(self, name: str, vendor: Vendor) -> None:
        """The SDKs take seconds to import and 100 MB: only when first asked, and beside the event loop."""
        if name not in self._loaded:
            await asyncio.to_thread(vendor.load)
            self._loaded.add(name)


def priced(route: Route, reply: Reply) -> Usage:
    price = route.known.price
    return replace(reply.usage, cost_usd=price.cost(reply.usage) if price else None)


def _hidden(shown: Failure, endpoint: Endpoint) -> Failure:
    """Some servers repeat the key in their answer."""
    if endpoint.key is not None and (secret := endpoint.key.get_secret_value()):
        shown.message = shown.message.replace(secret, "***")
    return shown
