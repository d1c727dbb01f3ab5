"""Operations on circuits: see which targets are doing badly, say that one is well again, and limit how often one is called."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from store import circuits as rows
from store import pages
from store.circuits import Circuit
from store.errors import Invalid, NotFound
from store.pages import Page
from store.postgres import Tenant

if TYPE_CHECKING:
    from graphs.runtime import Actor, Runtime

STATES = ("closed", "open", "half_open")
PERIODS = {"s": 1, "min": 60, "h": 3600}
RATE = re.compile(r"([0-9]{1,7})/(s|min|h)")
TARGET = re.compile(r"(https?):/{1,2}((?:[a-z0-9_-][a-z0-9_.-]{0,252}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)(?:/.*)?")
USUAL = {"http": ":80", "https": ":443"}


def target(text: str) -> str:
    """The key of a circuit for an origin or any URL of it, as people write them. Raises Invalid."""
    found = TARGET.fullmatch(text.strip().lower())
    if found is None:
        raise Invalid(f"{text[:200]!r} is not a target; write the origin of what is called, for example https://api.example.com")
    host, colon, port = found[2].rpartition(":") if re.search(r":[0-9]+$", found[2]) else (found[2], "", "")
    number = f"{colon}{int(port)}" if port else ""
    return f"{found[1]}://{host.removesuffix('.')}" + ("" if number == USUAL[found[1]] else number)


def rate(text: str, burst: int | None) -> tuple[int, int, int]:
    """Calls, seconds and burst of a limit such as 10/s; without `burst`, what comes to one second. Raises Invalid."""
    found = RATE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise Invalid(f"{text[:100]!r} is not a rate; write for example 10/s, 600/min or 1000/h")
    calls, seconds = int(found[1]), PERIODS[found[2]]
    return calls, seconds, burst or math.ceil(calls / seconds)


async def page(tenant: Tenant, *, state: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Circuit]:
    """By target: every one that has ever failed of late, or has a limit."""
    if state is not None and state not in STATES:
        raise Invalid(f"state {state!r} is none of {', '.join(STATES)}")
    (place,) = pages.place(cursor, str)
    after = None if place is None else str(place)
    limit = pages.limited(limit)
    found, total = await rows.page(tenant, state=state, after=after, limit=limit)
    return Page(items=found[:limit], next_cursor=pages.cursor(found[limit - 1].target) if len(found) > limit else None, total=total)


async def reset(tenant: Tenant, key: str) -> Circuit:
    """Closes a circuit, and ends a pause that its target has asked for. Raises NotFound."""
    from graphs.outbound.breaker import Reset, after  # the HTTP library takes long to import: `weft circuits` does without

    found = await rows.change(tenant, key, lambda circuit: after(circuit, Reset(), circuit.now), make=False)
    if found is None:
        raise _nothing(key)
    return found


async def limit(tenant: Tenant, key: str, text: str, burst: int | None) -> Circuit:
    """Sets how often a target is called, over all runs and workers of the organization."""
    calls, seconds, at_once = rate(text, burst)
    await rows.limit(tenant, key, calls=calls, seconds=seconds, burst=at_once)
    return await _get(tenant, key)


async def unlimit(tenant: Tenant, key: str) -> Circuit:
    """Raises NotFound where there is no limit."""
    if not await rows.unlimit(tenant, key):
        raise NotFound(f"there is no rate limit for {key} here; GET /api/v1/circuits and `weft circuits` list what there is")
    return await _get(tenant, key)


def forget(runtime: Runtime, actor: Actor) -> None:
    """This process sees a change at once; the others within a second."""
    gate = runtime.outbound.of(actor.tenant).gate
    if gate is not None:
        gate.forget()


async def _get(tenant: Tenant, key: str) -> Circuit:
    found = await rows.change(tenant, key, lambda circuit: circuit, make=False)
    if found is None:
        raise _nothing(key)
    return found


def _nothing(key: str) -> NotFound:
    return NotFound(f"there is no circuit for {key} here; GET /api/v1/circuits and `weft circuits` list what there is")
