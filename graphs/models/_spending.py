"""What a call may cost is set aside before it, watched while it is answered, and replaced by what it did cost."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from graphs.models._messages import Call, Limit, Usage
from graphs.models._routes import SCRIPTED, Route
from graphs.models._thinking import BUDGETS
from graphs.nodetype import Failure
from graphs.redaction import Redactor
from store import identities, spending
from store.errors import NotFound, Unavailable, WeftError
from store.postgres import Tenant
from store.spending import Reserved

T = TypeVar("T")
logger = logging.getLogger(__name__)
BYTES = 3  # of text in a token, at least: what an estimate must not fall short of
IMAGE = 1_700  # tokens of a picture, at most
MESSAGE = 16  # tokens around each message
ANSWER = 16_384  # tokens of an answer that are set aside where nobody says how long it may get
LEAST = 256  # tokens of an answer that is worth beginning
SLACK = 64  # tokens by which an answer may seem longer than it is
LATE = 60.0  # seconds after its time-out that a call counts as lost
PAUSES = (0.05, 1.0)  # seconds between two looks whether a budget has room again
SPEED = 500.0  # tokens in a second, of a fast model
COUNTED = frozenset({"model_timeout", "model_cut", "model_bad_answer", "model_too_large", "budget_exceeded", "cancelled"})
"""Endings after which the vendor may have counted something, although nothing was heard."""
TIMES, BESIDE = 20, 100_000  # a count above so many times what was set aside, and so many tokens beside it, is none of this call
PATIENCE = 60.0  # seconds to go on trying to write down what a call has cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf calls are made. `last`: if this one fails, its step is not tried again."""

    user_id: str | None = None
    run_id: str | None = None
    position: str | None = None
    attempt: int | None = None
    workflow: str | None = None
    last: bool = True
    limits: tuple[Limit, ...] = ()  # that the steps around it have set
    redactor: Redactor | None = field(default=None, repr=False)

    def row(self, route: Route, agent: str | None) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "run_id": self.run_id,
            "position": self.position,
            "attempt": self.attempt,
            "workflow": self.workflow,
            "agent": agent,
            "model": route.full,
            "vendor": route.name,
        }


class Till:
    """Where the calls of one completion are paid."""

    def __init__(
        self, tenant: Tenant, caller: Caller, agent: str | None, limits: Sequence[Limit], settling: set[asyncio.Task[None]]
    ) -> None:
        self._tenant, self._caller, self._agent, self._limits, self._settling = tenant, caller, agent, limits, settling

    async def reserve(self, route: Route, tokens: int, most: int, seconds: float, patience: float) -> Bill:
        """Sets aside what a call of so many `tokens`, answered with `most`, can cost, for so many `seconds`; waits up to `patience` seconds
        while calls under way hold what is missing. Raises Failure: budget_exceeded, model_price_unknown."""
        price = route.known.price
        end = time.monotonic() + patience
        while True:
            found = await patiently(
                lambda: spending.reserve(
                    self._tenant,
                    self._caller.row(route, self._agent),
                    input_tokens=tokens,
                    most=most,
                    least=min(LEAST, most),
                    prices=price.worst(tokens) if price else None,
                    limits=[{"key": limit.key, "usd": limit.usd, "tokens": limit.tokens} for limit in self._limits],
                    seconds=seconds + LATE,
                )
            )
            if found.verdict == "granted" and found.id and found.output is not None:
                bounds = (found.output if found.purses else None, most)
                return Bill(self._tenant, found.id, tokens, found.output, bounds, route, self._settling)
            if found.verdict != "busy" or time.monotonic() > end:
                raise refusal(found, route, await self._name(found))
            await spending.expire(self._tenant)  # what it waits for may be calls of a process that died
            await asyncio.sleep(random.uniform(*PAUSES))  # noqa: S311 spreading load is not cryptography

    async def _name(self, found: Reserved) -> str | None:
        """Of the user whose budget it is."""
        if found.kind != "user" or found.subject is None:
            return found.subject
        with suppress(NotFound):
            return (await identities.get_user(self._tenant, found.subject)).name
        return found.subject


class Bill:
    """One call under way: how many tokens it may answer with, and what it has said so far."""

    def __init__(
        self,
        tenant: Tenant,
        id: str,
        input_tokens: int,
        granted: int,
        bounds: tuple[int | None, int],
        route: Route,
        settling: set[asyncio.Task[None]],
    ) -> None:
        self._tenant, self._id, self._input, self._granted, self._bounds = tenant, id, input_tokens, granted, bounds
        self._route, self._settling = route, settling
        self._began = time.monotonic()
        self._pieces = self._characters = 0

    def bounded(self, call: Call) -> int | None:
        """The bound of the answer that goes to the vendor: what the budgets leave, else the author's as far as the model goes."""
        budgeted, most = self._bounds
        return budgeted if budgeted is not None else most if call.max_tokens is not None else None

    def heard(self, text: str) -> None:
        """Counts a piece of the answer. Raises Failure when it has surely become longer than what was set aside."""
        self._pieces += 1
        self._characters += len(text)
        if self._said > self._granted + SLACK:
            message = f"stopped in the middle of its answer: it has become longer than the {self._granted:,} tokens set aside for it"
            raise Failure("budget_exceeded", message)

    @property
    def _said(self) -> int:
        """Tokens of the answer so far, at least: a piece is one or more, and a token rarely more than eight characters."""
        return max(self._pieces, self._characters // 8)

    async def paid(self, usage: Usage, outcome: str = "ok") -> Usage:
        """The vendor has answered; what that was and cost. A vendor that does not count, or counts what cannot be, is taken at our
        estimate: budgets hold whatever an answer says of itself."""
        counted = self._credible(usage) and (usage != Usage() or self._route.name == SCRIPTED)
        if not counted:
            usage = Usage(input_tokens=self._input, output_tokens=max(self._said, self._characters // BYTES))
        usage = replace(usage, cost_usd=self._cost(usage))
        await self._settle(usage, outcome, estimated=not counted)
        return usage

    def _credible(self, usage: Usage) -> bool:
        parts = (usage.cached_tokens, usage.written_tokens)
        ceiling = (self._input + self._granted) * TIMES + BESIDE
        return (
            min(usage.input_tokens, usage.output_tokens, *parts) >= 0
            and sum(parts) <= usage.input_tokens
            and usage.input_tokens + usage.output_tokens <= ceiling
        )

    def _cost(self, usage: Usage) -> float | None:
        price = self._route.known.price
        return price.cost(usage) if price else None

    async def failed(self, outcome: str) -> None:
        """No answer. A vendor that refused has counted nothing. Of one that broke off nobody knows what it has: it counts as the input and
        what was heard, or, when nothing was, as what a fast model says in that time; what is no answer of a model has no tokens."""
        if not self._pieces and outcome not in COUNTED:
            return await self._settle(Usage(), outcome, estimated=False)
        nothing = 0 if outcome == "model_bad_answer" else round(SPEED * (time.monotonic() - self._began))
        said = max(self._said, self._characters // BYTES) if self._pieces else nothing
        await self._settle(Usage(input_tokens=self._input, output_tokens=min(said, self._granted)), outcome, estimated=True)

    async def _settle(self, usage: Usage, outcome: str, *, estimated: bool) -> None:
        """Beside whoever waits: a step that is cancelled has been paid for all the same."""
        told = patiently(
            lambda: spending.settle(
                self._tenant,
                self._id,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                cost=self._cost(usage),
                estimated=estimated,
                outcome=outcome,
                duration_ms=round((time.monotonic() - self._began) * 1000),
            )
        )
        task = asyncio.ensure_future(_quietly(told))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)


async def _quietly(told: Awaitable[None]) -> None:
    """What cannot be written down stays counted at what was set aside for it; the answer is paid for and goes on."""
    try:
        await told
    except WeftError as wrong:
        logger.error("what a call of a model has cost could not be written down: %s", wrong.message)


async def patiently(act: Callable[[], Awaitable[T]]) -> T:
    """Tries again while Postgres does not answer, for a minute. For what may be done twice."""
    end, delay = time.monotonic() + PATIENCE, PAUSES[0]
    while True:
        try:
            return await act()
        except Unavailable:
            if time.monotonic() + delay > end:
                raise
        await asyncio.sleep(delay)
        delay = min(delay * 2, PAUSES[1])


def estimate(call: Call) -> int:
    """Tokens of the input, rather too many than too few."""
    texts = [message.text for message in call.messages]
    texts += [json.dumps(asked.arguments) + asked.name for message in call.messages for asked in message.calls]
    texts += [json.dumps(message.thoughts.parts) for message in call.messages if message.thoughts]
    texts += [json.dumps(tool.schema) + tool.name + tool.description for tool in call.tools]
    texts += [json.dumps(call.schema)] if call.schema is not None else []
    pictures = sum(len(message.images) for message in call.messages)
    parts = len(call.messages) + len(call.tools)
    return sum(-(-len(text.encode()) // BYTES) for text in texts) + pictures * IMAGE + parts * MESSAGE


def longest(route: Route, call: Call) -> int:
    """Tokens of the answer at most: what the author allows, as far as the model can."""
    ceiling = route.known.max_output
    wanted = call.max_tokens or ANSWER + (BUDGETS[call.effort] if call.effort else 0)
    return min(wanted, ceiling) if ceiling else wanted


def refusal(found: Reserved, route: Route, subject: str | None) -> Failure:
    """Says which budget, its limit, and what is spent of it."""
    whose, full = _whose(found, subject), route.full
    if found.verdict == "unpriced":
        price = "--kind embedding --input-price …" if route.embeds else "--input-price … --output-price …"
        message = f"{whose} counts money, and nobody knows the price of {full}; set one: weft models set {full} {price}"
        return Failure("model_price_unknown", message)
    parts: list[str] = []
    details: dict[str, Any] = {"budget": found.kind, "subject": found.subject, "period": found.period}
    if found.usd_limit is not None and found.usd is not None:
        parts.append(f"${found.usd:.6g} of ${found.usd_limit:.6g}")
        details |= {"usd_limit": found.usd_limit, "usd": found.usd}
    if found.token_limit is not None and found.tokens is not None:
        parts.append(f"{found.tokens:,} of {found.token_limit:,} tokens")
        details |= {"token_limit": found.token_limit, "tokens": found.tokens}
    held = ", and calls under way hold more" if found.usd_reserved or found.tokens_reserved else ""
    message = f"{whose} does not pay for a call to {full} any more: spent {' and '.join(parts)}{held}"
    return Failure("budget_exceeded", message, details=details, retryable=found.verdict == "busy")


def _whose(found: Reserved, subject: str | None) -> str:
    of = {"day": "of the day ", "month": "of the month ", "total": ""}.get(found.period or "", "")
    match found.kind:
        case "organization":
            return f"the budget {of}of the organization"
        case "run":
            return f"the budget of run {found.subject} (settings.budget)"
        case "limit":
            return f"the limit {str(found.subject).partition(' ')[2] or found.subject} of the run"
        case _:
            return f"the budget {of}of {found.kind} {subject}"
