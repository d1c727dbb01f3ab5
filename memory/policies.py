"""How long memories of each kind are kept, how they fade, and how much of a conversation is at hand. Fading ranks; only retention deletes.

A scope's own policy is JSON beside it and replaces these defaults field by field:
{"keep_days": {"turn": 90}, "half_life_days": {"turn": 30}, "most": {"turn": 10000}, "window": {"messages": 40, "tokens": 8000}}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from store import retention
from store.errors import Invalid
from store.postgres import Session

Days = Annotated[float, Field(le=100_000, allow_inf_nan=False)]
Number = Annotated[int, Field(le=1_000_000_000)]


class Window(BaseModel):
    """What of a conversation is handed to a model: the last so many messages, within so many tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: int = Field(default=40, ge=1, le=10_000)
    tokens: int = Field(default=8_000, ge=1, le=10_000_000)


class Policy(BaseModel):
    """Per row kind. `keep_days`: older ones go, pinned ones stay; `most`: of more than so many the oldest, least important go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_days: dict[str, Days] = Field(default_factory=dict)
    half_life_days: dict[str, Days | None] = Field(default_factory=dict)
    most: dict[str, Number] = Field(default_factory=dict)
    window: Window = Window()
    enabled: bool = True


def read(policy: Mapping[str, Any] | None) -> Policy:
    """Raises Invalid with what is wrong."""
    try:
        made = Policy.model_validate(policy or {})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        known = ", ".join(Policy.model_fields)
        raise Invalid(f"This policy is not valid: {wrong}. A policy has {known}.") from None
    unknown = ({*made.keep_days, *made.half_life_days, *made.most}) - set(retention.KINDS)
    if unknown:
        there_are = ", ".join(retention.KINDS)
        raise Invalid(f"A policy names kinds of memory that there are not: {', '.join(sorted(unknown))}; there are {there_are}.")
    if any(value < 0.001 for value in (*made.keep_days.values(), *(value for value in made.half_life_days.values() if value is not None))):
        raise Invalid("keep_days and half_life_days of a policy are 0.001 or more.")
    if any(value < 0 for value in made.most.values()):
        raise Invalid("most of a policy is 0 or more.")
    return made


async def of_scope(session: Session, scope_id: int) -> Policy:
    return read(await retention.policy(session, scope_id))


async def own(session: Session, scope_id: int) -> dict[str, Any]:
    """What was set for the scope itself; empty: the defaults hold."""
    return await retention.policy(session, scope_id)


async def put(session: Session, scope_id: int, policy: Mapping[str, Any] | None) -> Policy:
    """Gives a scope its policy; None: the defaults."""
    made = read(policy)
    await retention.put_policy(session, scope_id, dict(policy) if policy is not None else None)
    return made


async def due(session: Session, scope_id: int, policy: Policy, *, now: datetime | None = None, limit: int = 1000) -> list[retention.Due]:
    """What the policy no longer keeps: expired, too old, or too many; only expired when it is not enabled. Pinned memories are never
    among them."""
    keep, most = (policy.keep_days, policy.most) if policy.enabled else ({}, {})
    return await retention.due(session, scope_id, keep, most, now=now, limit=limit)
