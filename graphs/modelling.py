"""What people do with models: list them, give them prices and keys, choose the default, see what was spent, and set budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from graphs.definition import Closed, Json
from graphs.models import SCRIPTED, Caller, Message, Models, vendors
from graphs.models._known import PRICED, SHIPPED, VERIFIED, Model, known
from graphs.models.scripted import check_turns
from graphs.nodetype import Failure
from graphs.outbound.transport import check_url
from graphs.pinning import nearest
from graphs.runtime import Actor, Runtime
from memory.embedding import Embedder, EmbeddingFailed
from store import connections, identities, models, pages, spending
from store.errors import Invalid, NotFound
from store.models import Kind, Listed
from store.postgres import Tenant
from store.spending import Budget, CallRow, Used

KINDS = ("organization", "user", "agent", "workflow")
PERIODS = ("day", "month", "total")
MARKS = ("day", "model", "vendor", "user", "workflow", "agent", "run", "outcome")
ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")
SPAN = timedelta(days=30)
PRICES = ("input_price", "output_price", "cached_price", "written_price")
MOST = 1_000_000.0  # USD

BudgetKind = Literal["organization", "user", "agent", "workflow"]
Period = Literal["day", "month", "total"]
Mark = Literal["day", "model", "vendor", "user", "workflow", "agent", "run", "outcome"]


class ModelForm(Closed):
    """What an organization says of a model; what it leaves out is as shipped. Prices are USD for a million tokens."""

    kind: Kind | None = Field(default=None, description="chat: it answers; embedding: it makes vectors, and has no output_price")
    alias: str | None = Field(default=None, max_length=64, description='another name for steps, written "@alias"')
    connection: str | None = Field(default=None, max_length=64, description="whose key and address are used; without it the operator's")
    base_url: str | None = Field(default=None, max_length=1000, description="of a server that wants no key")
    context: int | None = Field(default=None, ge=1, le=100_000_000, description="tokens")
    max_output: int | None = Field(default=None, ge=1, le=10_000_000, description="tokens of an answer")
    tools: bool | None = None
    vision: bool | None = None
    json_schema: bool | None = None
    streaming: bool | None = None
    input_price: float | None = Field(default=None, ge=0, le=1_000_000)
    output_price: float | None = Field(default=None, ge=0, le=1_000_000)
    cached_price: float | None = Field(default=None, ge=0, le=1_000_000, description="of input read from the vendor's cache")
    written_price: float | None = Field(default=None, ge=0, le=1_000_000, description="of input put into that cache")
    enabled: bool = True
    script: list[dict[str, Any]] | None = Field(default=None, max_length=1000, description="turns of a model scripted:<name>")

    @field_validator("alias")
    @classmethod
    def _alias(cls, alias: str | None) -> str | None:
        if alias is not None and not ALIAS.fullmatch(alias):
            raise ValueError("small letters, digits, - and _, a letter first, and without the @")
        return alias

    @field_validator("script")
    @classmethod
    def _turns(cls, script: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        check_turns(script or ())
        return script

    @model_validator(mode="after")
    def _together(self) -> ModelForm:
        if self.kind == "embedding":
            return self._vectors()
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("give input_price and output_price together")
        if self.input_price is None and (self.cached_price is not None or self.written_price is not None):
            raise ValueError("cached_price and written_price go with input_price and output_price")
        if self.connection is not None and self.base_url is not None:
            raise ValueError("the address is that of the connection: leave out base_url")
        return self

    def _vectors(self) -> ModelForm:
        """Which model makes vectors, and by whose key, is the operator's choice; what it costs is told here."""
        for field in ("alias", "connection", "base_url", "script", "max_output", "written_price", "cached_price"):
            if getattr(self, field) is not None:
                raise ValueError(f"a model of kind embedding has no {field}: it is asked as the operator set it up (WEFT_EMBEDDER)")
        if self.output_price:
            raise ValueError("a model of kind embedding answers nothing: leave out output_price")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A model as people see it. `listed`: as the organization has it; None for one that is only shipped. `known`: with what is shipped."""

    name: str
    listed: Listed | None
    known: Model

    @property
    def unverified(self) -> bool:
        """Whether its price is as shipped, and nobody has compared that with the vendor's list."""
        own = self.listed is not None and self.listed.input_price is not None
        paid = self.known.price is not None and (self.known.price.input or self.known.price.output)
        return bool(paid) and not own and self.name not in VERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """`default` is what a step asks that names no model, and `operators` what it would be without a choice of the organization."""

    models: Sequence[Shown]
    default: str
    operators: str
    fallbacks: tuple[str, ...]
    only_listed: bool
    priced: str = PRICED


async def registry(runtime: Runtime, actor: Actor) -> Registry:
    """What is listed first, then what is shipped and known."""
    choices = await models.known(actor.tenant)
    names = [*choices.models, *(name for name in SHIPPED if name not in choices.models)]
    shown = [
        Shown(name=name, listed=(listed := choices.models.get(name)), known=known(name, listed, elsewhere=_moved(listed))) for name in names
    ]
    operators = _default(runtime.models)
    return Registry(
        models=shown,
        default=choices.default or operators,
        operators=operators,
        fallbacks=choices.fallbacks,
        only_listed=choices.only_listed,
    )


def _moved(listed: Listed | None) -> bool:
    return listed is not None and listed.base_url is not None


def _default(asked: Models) -> str:
    try:
        return asked.default()
    except Failure as failure:
        return f"none: {failure.message}"


async def put(runtime: Runtime, actor: Actor, name: str, form: ModelForm) -> Shown:
    """Lists a model or replaces what was said of it. Raises Invalid, Conflict when its alias is taken, NotFound for its connection."""
    _named(name)
    if form.kind is None and name in SHIPPED and SHIPPED[name].kind == "embedding":
        form = formed({**form.model_dump(), "kind": "embedding"})
    if form.script is not None and not name.startswith(f"{SCRIPTED}:"):
        raise Invalid(f"A script belongs to a model {SCRIPTED}:<name>, and this is {name}.")
    if form.connection is not None:
        there = await connections.kinds(actor.tenant)
        if form.connection not in there:
            raise NotFound(f"There is no connection {form.connection!r}. " + nearest(form.connection, there, "There are"))
    if form.base_url is not None:
        _addressed(form.base_url)
    listed = Listed(name=name, **form.model_dump())
    if form.kind == "embedding" and form.input_price is not None:
        listed = replace(listed, output_price=0.0)
    await models.put(actor.tenant, listed)
    return Shown(name=name, listed=listed, known=known(name, listed, elsewhere=_moved(listed)))


async def change(runtime: Runtime, actor: Actor, name: str, changes: dict[str, Json]) -> Shown:
    """Replaces only what is given; None takes it back to what is shipped. Of a shipped price one part can be corrected. Raises as `put`."""
    before = (await models.known(actor.tenant)).models.get(name) or Listed(name=name)
    fields = {field: getattr(before, field) for field in ModelForm.model_fields}
    price = known(name, before, elsewhere=_moved(before)).price
    if price is not None and before.input_price is None and any(changes.get(field) is not None for field in PRICES):
        fields |= dict(zip(PRICES, (price.input, price.output, price.cached, price.written), strict=True))
    shipped = SHIPPED.get(name)
    kind = changes.get("kind") or before.kind or (shipped.kind if shipped else None)
    return await put(runtime, actor, name, formed({**fields, "kind": kind, **changes}))


def formed(given: dict[str, Json]) -> ModelForm:
    """Raises Invalid."""
    try:
        return ModelForm.model_validate(given)
    except ValidationError as wrong:
        problem = wrong.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in problem["loc"])
        raise Invalid(f"{where + ': ' if where else ''}{problem['msg'].removeprefix('Value error, ')}.") from None


async def remove(runtime: Runtime, actor: Actor, name: str) -> None:
    """Takes a model off the list; raises NotFound with the nearest names. What was spent on it stays on the books."""
    if not await models.remove(actor.tenant, name):
        there = (await models.known(actor.tenant)).models
        raise NotFound(f"The model {name[:200]!r} is not listed here. " + nearest(name, there, "Listed are"))


async def choose(
    runtime: Runtime, actor: Actor, *, default: str | None, fallbacks: Sequence[str] = (), only_listed: bool = False
) -> Registry:
    """`default` None: the operator's. Raises Invalid for names that could never be asked."""
    listed = (await models.known(actor.tenant)).models
    for name in (*((default,) if default else ()), *fallbacks):
        _named(name)
        if known(name, listed.get(name)).kind == "embedding":
            raise Invalid(f"{name} makes vectors and answers nothing. Which model memories have is the operator's choice: WEFT_EMBEDDER.")
    for name in (*((default,) if default else ()), *fallbacks) if only_listed else ():
        if name not in listed or not listed[name].enabled:
            raise Invalid(f"{name} is not among the listed models, and only those may be asked: list it first (weft models set {name}).")
    if len(set(fallbacks)) != len(fallbacks) or default in fallbacks:
        raise Invalid("A model is in the chain twice.")
    await models.choose(actor.tenant, default=default, fallbacks=tuple(fallbacks), only_listed=only_listed)
    return await registry(runtime, actor)


async def test(runtime: Runtime, actor: Actor, name: str) -> str:
    """Asks the model for one word, which costs a little; a sentence that says how it went. Raises Invalid with what is wrong."""
    asked = runtime.models.of(actor.tenant, Caller(user_id=actor.user_id))
    made = runtime.embedder
    if made is not None and name == f"{made.provider}:{made.model}":
        return await _tested(asked.embedder(made))
    try:
        answer = await asked.complete(name, [Message(role="user", text="Answer with the word: ok")], max_tokens=256, timeout=30)
    except Failure as failure:
        raise Invalid(f"{failure.message}.") from None
    return f"{answer.model} answered, {answer.usage.input_tokens} tokens in and {answer.usage.output_tokens} out"


async def _tested(embedder: Embedder | None) -> str:
    assert embedder is not None  # noqa: S101  # that of memories
    try:
        (vector,) = await embedder.embed(["ok"])
    except EmbeddingFailed as failed:
        raise Invalid(f"{failed}") from None
    return f"{embedder.provider}:{embedder.model} answered with a vector of {len(vector)} numbers"


def _named(name: str) -> None:
    vendor, _, bare = name.partition(":")
    if len(name) > 200 or vendor not in vendors() or not (bare or vendor == SCRIPTED):
        there = ", ".join(f"{other}:<model>" for other in vendors())
        raise Invalid(f"{name[:200]!r} is not a model; write {there}.")


def _addressed(url: str) -> None:
    import httpx2

    try:
        check_url(httpx2.URL(url))
    except (httpx2.InvalidURL, Failure):
        raise Invalid("base_url is not the address of a server; write for example https://models.example.com/v1.") from None


# -- what was spent ----------------------------------------------------------------------------------------------------------------


async def usage(
    actor: Actor,
    *,
    by: str = "day",
    since: datetime | None = None,
    until: datetime | None = None,
    model: str | None = None,
    run_id: str | None = None,
    workflow: str | None = None,
    agent: str | None = None,
    user: str | None = None,
    limit: int = 100,
) -> list[Used]:
    """Of the last 30 days where nothing else is said. Raises Invalid."""
    if by not in MARKS:
        raise Invalid(f"usage is told by {', '.join(MARKS)}, not by {by[:50]!r}.")
    await spending.expire(actor.tenant)
    start = since or datetime.now(UTC) - SPAN
    return await spending.usage(
        actor.tenant, by=by, since=start, until=until, model=model, run_id=run_id, workflow=workflow, agent=agent, user=user, limit=limit
    )


async def unverified(runtime: Runtime, actor: Actor, since: datetime) -> list[str]:
    """Models asked since then whose cost goes by a shipped price that nobody has verified."""
    asked = await spending.usage(actor.tenant, by="model", since=since, limit=1000)
    shown = {model.name for model in (await registry(runtime, actor)).models if model.unverified}
    return sorted(str(used.mark) for used in asked if used.mark in shown and used.cost_usd)


async def calls(actor: Actor, *, run_id: str | None = None, limit: int = 50, cursor: str | None = None) -> tuple[list[CallRow], str | None]:
    """One row per call to a vendor, newest first; and the cursor of the next page."""
    (place,) = pages.place(cursor, str)
    limit = pages.limited(limit)
    before = None if place is None else str(place)
    found = await spending.calls(actor.tenant, run_id=run_id, before=before, limit=limit, viewer=actor.user_id)
    return found[:limit], pages.cursor(found[limit - 1].id) if len(found) > limit else None


# -- budgets -----------------------------------------------------------------------------------------------------------------------


async def budgets(actor: Actor) -> list[Budget]:
    """With what is spent of each in the period under way."""
    await spending.expire(actor.tenant)
    return await spending.budgets(actor.tenant)


async def set_budget(
    actor: Actor, *, kind: str, subject: str = "", period: str = "month", usd: float | None = None, tokens: int | None = None
) -> list[Budget]:
    """`subject`: the name of the user, agent or workflow; none for the organization. Raises Invalid, NotFound."""
    if usd is None and tokens is None:
        raise Invalid("A budget is an amount of usd, of tokens, or both.")
    if (usd is not None and not 0 <= usd <= MOST) or (tokens is not None and not 0 <= tokens <= 10**15):
        raise Invalid(f"A budget is from 0 to {MOST:,.0f} USD, and tokens from 0.")
    subject = await _subject(actor.tenant, kind, subject, period)
    await spending.set_budget(actor.tenant, kind=kind, subject=subject, period=period, usd=usd, tokens=tokens)
    return await budgets(actor)


async def remove_budget(actor: Actor, *, kind: str, subject: str = "", period: str = "month") -> None:
    """Raises NotFound."""
    name = await _subject(actor.tenant, kind, subject, period)
    if not await spending.remove_budget(actor.tenant, kind=kind, subject=name, period=period):
        raise NotFound(f"There is no budget of the {kind} {subject} for that period; weft models budgets lists them.".replace("  ", " "))


async def _subject(tenant: Tenant, kind: str, subject: str, period: str) -> str:
    if kind not in KINDS:
        raise Invalid(f"{kind[:50]!r} has no budgets; {', '.join(KINDS)} have.")
    if period not in PERIODS:
        raise Invalid(f"{period[:50]!r} is no period; write {', '.join(PERIODS)}.")
    if (kind == "organization") != (subject == ""):
        raise Invalid("A budget of the organization has no subject." if subject else f"Whose budget is it? Give the name of the {kind}.")
    if len(subject) > 200:
        raise Invalid("That name is too long.")
    if kind != "user":
        return subject
    user = await identities.find_user(tenant, subject)
    if user is None:
        raise NotFound(f"There is no user {subject!r} here.")
    return user.id
