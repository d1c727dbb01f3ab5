"""When a run may begin and beside which others: delay, deadline, priority and concurrency key of a start, rendered and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from graphs.definition import Json, seconds
from graphs.documents import is_object
from graphs.expressions import Evaluator, ExpressionError, Template
from graphs.expressions.template import as_text
from store.errors import Invalid

MAX_KEY = 500  # characters of a rendered concurrency key
PRIORITIES = range(-100, 101)
YEARS = range(1970, 9999)  # of a deadline; beyond, some zone has a year that neither Python nor JSON can write


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a start may say itself: `delay` (like "10m") and `priority` instead of the workflow's, `deadline` (an ISO 8601 instant) beside
    the workflow's: the sooner one counts."""

    delay: str | None = None
    deadline: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Fields of a new run; `timeout` and `delay` in seconds."""

    priority: int
    timeout: float | None
    delay: float | None
    deadline: datetime | None
    concurrency_key: str | None
    concurrency_limit: int | None

    def fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What is known of a run before it is there."""

    workflow: str
    version: int | None
    mode: str
    input: Json


UNTIMED = Timing()


async def admission(
    evaluator: Evaluator, definition: Json, begin: Begin, *, variables: Mapping[str, str], timing: Timing = UNTIMED
) -> Admission:
    """Raises Invalid naming the setting or argument that does not do for this input. A test run waits for nothing, but is checked alike."""
    settings: dict[str, Any] = definition.get("settings") or {}
    scope = _scope(definition, begin, variables)
    timeout: str | None = settings.get("timeout")
    own = timing.priority if timing.priority is not None else settings.get("priority", 0)
    made = Admission(
        priority=_priority(own),
        timeout=seconds(timeout) if timeout else None,
        delay=_delay(timing.delay if timing.delay is not None else settings.get("start_delay")),
        deadline=_sooner(
            await _deadline(evaluator, settings.get("deadline"), scope),
            _instant(timing.deadline, "deadline") if timing.deadline is not None else None,
        ),
        concurrency_key=await _key(evaluator, settings.get("concurrency"), scope, begin.workflow),
        concurrency_limit=settings["concurrency"].get("limit", 1) if settings.get("concurrency") else None,
    )
    return replace(made, delay=None, concurrency_key=None, concurrency_limit=None) if begin.mode == "test" else made


def _scope(definition: Json, begin: Begin, variables: Mapping[str, str]) -> dict[str, Json]:
    schema: dict[str, Any] = definition.get("input") or {}
    declared: dict[str, Json] = schema.get("properties") or {}
    given = {**dict.fromkeys(declared), **begin.input} if is_object(begin.input) else begin.input
    run = {"workflow": begin.workflow, "version": begin.version, "mode": begin.mode}
    return {"input": given, "env": dict(variables), "run": run}


def _priority(priority: int) -> int:
    if priority not in PRIORITIES:
        raise Invalid(f"priority is {priority}; it is a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    return priority


def _delay(text: str | None) -> float | None:
    try:
        return (seconds(text) or None) if text is not None else None
    except ValueError as error:
        raise Invalid(f"delay: {error}") from None


async def _deadline(evaluator: Evaluator, template: str | None, scope: Mapping[str, Json]) -> datetime | None:
    if template is None:
        return None
    value = await _rendered(evaluator, template, scope, "settings.deadline")
    if value is None or value == "":
        return None  # the input names none
    if not isinstance(value, str):
        raise Invalid(f"settings.deadline gives {as_text(value)[:100]}, which is not text; {WANTED}")
    return _instant(value, "settings.deadline")


WANTED = "write an ISO 8601 instant with a time zone, such as 2027-01-31T09:00:00Z"


def _instant(text: str, what: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text.strip())
        instant = parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        instant = None
    if instant is None or instant.year not in YEARS:
        raise Invalid(f"{what} is {text[:100]!r}; {WANTED}")
    return instant


def _sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment), default=None)


async def _key(evaluator: Evaluator, concurrency: Json, scope: Mapping[str, Json], workflow: str) -> str | None:
    """Workflows never share a key, whatever it renders to."""
    if not concurrency:
        return None
    key = as_text(await _rendered(evaluator, concurrency["key"], scope, "settings.concurrency.key"))
    if not key:
        raise Invalid(f"settings.concurrency.key ({concurrency['key']}) is empty for this input; runs need a key to queue up under")
    if len(key) > MAX_KEY:
        raise Invalid(f"settings.concurrency.key gives {len(key):,} characters for this input; at most {MAX_KEY} are taken")
    return f"{workflow}:{key}"


async def _rendered(evaluator: Evaluator, template: str, scope: Mapping[str, Json], what: str) -> Json:
    try:
        return await evaluator.render(Template.compile(template), scope)
    except ExpressionError as error:
        raise Invalid(f"{what}: {error}") from error
