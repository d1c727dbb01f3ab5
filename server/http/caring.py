"""HTTP operations that care for memories: quarantine, and what a scope keeps for how long."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from graphs import memories
from graphs.definition import Json
from graphs.memories import Access, Hidden, Kept, Selection
from server.auth import Scope
from server.http.operations import Body, Call, Operation, Query
from server.http.shapes import Shape

PATH = "/api/v1/memories"


class Quarantined(Shape):
    """What is hidden, or seen again; with `done` false it was only counted."""

    count: int
    kinds: dict[str, int]
    done: bool
    by: str | None = None
    reason: str | None = None


class MemoryPolicy(Shape):
    """`own`: what was set for this scope; `policy`: what holds, with the defaults."""

    scope: str
    own: dict[str, Any] | None
    policy: dict[str, Any]


class Hide(Body):
    ids: list[str] = Field(default=[], max_length=1000)
    query: str | None = Field(default=None, min_length=1, max_length=4000)
    source: str | None = Field(default=None, min_length=1, max_length=500)
    subject: str | None = Field(default=None, min_length=1, max_length=200)
    scope: str | None = Field(default=None, max_length=220)
    expect: int | None = Field(default=None, ge=0, description="without it they are only counted")
    reason: str = Field(default="not trusted", min_length=1, max_length=500)
    release: bool = Field(default=False, description="the other way round: show them again")


class PolicyQuery(Query):
    scope: str = Field(default=memories.OWN, max_length=220)


class PutPolicy(Body):
    scope: str = Field(default=memories.OWN, max_length=220)
    policy: dict[str, Any] | None = Field(description="keep_days, half_life_days, most, window, enabled; null: the defaults")


def _access(call: Call[Any, Any]) -> Access:
    return memories.access(call.caller.runtime, call.caller.actor)


async def quarantine(call: Call[Hide, Query]) -> Json:
    body = call.body
    chosen = Selection(ids=body.ids, query=body.query, source=body.source, subject=body.subject, scope=body.scope)
    if body.release:
        return hidden_view(await memories.release(_access(call), chosen, expect=body.expect))
    return hidden_view(await memories.hide(_access(call), chosen, expect=body.expect, reason=body.reason))


async def policy(call: Call[None, PolicyQuery]) -> Json:
    return policy_view(await memories.policy(_access(call), call.query.scope))


async def put_policy(call: Call[PutPolicy, Query]) -> Json:
    return policy_view(await memories.put_policy(_access(call), call.body.scope, call.body.policy))


def hidden_view(found: Hidden) -> dict[str, Any]:
    return {"count": found.count, "kinds": dict(found.kinds), "done": found.done, "by": found.by, "reason": found.reason}


def policy_view(kept: Kept) -> dict[str, Any]:
    return {"scope": kept.scope, "own": None if kept.own is None else dict(kept.own), "policy": kept.policy.model_dump()}


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST", path=f"{PATH}/quarantine", name="quarantineMemories", summary="Hide memories, or show them again",
        scope=Scope.MEMORY_WRITE, run=quarantine, answer=Quarantined, body=Hide,
    ),
    Operation(
        method="GET", path=f"{PATH}/policy", name="getMemoryPolicy", summary="How long a scope keeps what",
        scope=Scope.MEMORY_READ, run=policy, answer=MemoryPolicy, query=PolicyQuery,
    ),
    Operation(
        method="PUT", path=f"{PATH}/policy", name="putMemoryPolicy", summary="Set how long a scope keeps what",
        scope=Scope.MEMORY_WRITE, run=put_policy, answer=MemoryPolicy, body=PutPolicy,
    ),
)  # fmt: skip
