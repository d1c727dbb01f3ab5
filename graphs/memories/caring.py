"""Caring for what is remembered: hiding what is not trusted any more and showing it again, and how long a scope keeps what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphs.memories.forgetting import MOST_IDS, Selection
from graphs.memories.reach import Access, check_lengths, parse_scope, readable, spelled
from memory import policies, quarantine, scopes
from memory.forget import Choice
from memory.policies import Policy
from memory.quarantine import Moved
from memory.recall import MOST_QUESTION
from store.errors import Conflict, Denied, Invalid
from store.memories import Scope

HIDERS = ("builder", "owner")  # of scopes that are everybody's; one's own are one's own
RELEASERS = ("owner",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What is hidden, or seen again; `done`: not only counted. `by` and `reason` are what is noted of it."""

    count: int
    kinds: Mapping[str, int]
    done: bool
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """`own`: what was set for this scope; `policy`: what holds, with the defaults."""

    scope: str
    own: Mapping[str, Any] | None
    policy: Policy


async def hide(access: Access, selection: Selection, *, expect: int | None = None, reason: str = "not trusted") -> Hidden:
    """Counts what would be hidden, and with `expect` hides it if there is so much. Raises Invalid, Conflict, Denied."""
    within, choice = await _chosen(access, selection, HIDERS, "hide")
    by = access.principal.user_id
    found = await quarantine.hide(access.tenant, within, choice, reason=reason, by=by, dry_run=True)
    if _asked(found, expect):
        found = await quarantine.hide(access.tenant, within, choice, reason=reason, by=by)
    return _told(access, found, expect, reason)


async def release(access: Access, selection: Selection, *, expect: int | None = None) -> Hidden:
    """The same the other way round: they are seen again, trusted as before. Raises Invalid, Conflict, Denied."""
    within, choice = await _chosen(access, selection, RELEASERS, "show what is hidden")
    found = await quarantine.release(access.tenant, within, choice, dry_run=True)
    if _asked(found, expect):
        found = await quarantine.release(access.tenant, within, choice)
    return _told(access, found, expect, None)


async def policy(access: Access, scope: str) -> Kept:
    """How long a scope keeps what. Raises Invalid, NotFound."""
    found = await _scope(access, scope)
    own = await policies.own(access.tenant, found.id)
    return Kept(scope=spelled(found), own=own or None, policy=policies.read(own))


async def put_policy(access: Access, scope: str, own: Mapping[str, Any] | None) -> Kept:
    """Sets it; None: the defaults. Raises Invalid with what is wrong, Denied, NotFound."""
    kind, name, private = parse_scope(scope)
    policies.read(own)
    found = await scopes.make(access.tenant, access.principal, kind, name, private=private)
    if not may(access, found, HIDERS):
        raise Denied(f"The policy of a scope of everybody's is set by {' and '.join(HIDERS)}s, and you are {access.principal.role}.")
    return Kept(scope=spelled(found), own=own, policy=await policies.put(access.tenant, found.id, own))


async def _scope(access: Access, scope: str) -> Scope:
    kind, name, private = parse_scope(scope)
    return await scopes.find(access.tenant, access.principal, kind, name, private=private)


async def _chosen(access: Access, selection: Selection, roles: Sequence[str], what: str) -> tuple[list[Scope], Choice]:
    check_lengths(selection.scope, selection.source, selection.subject)
    if len(selection.ids) > MOST_IDS or len(selection.query or "") > MOST_QUESTION:
        raise Invalid(f"at most {MOST_IDS:,} ids, or a query of {MOST_QUESTION:,} characters, at a time")
    choice = Choice(ids=selection.ids, query=selection.query, source=selection.source, subject=selection.subject)
    readable_ = await readable(access, selection.scope)
    within = [scope for scope in readable_ if may(access, scope, roles)]
    if readable_ and not within:
        raise Denied(f"In a scope of everybody's only {' and '.join(roles)}s {what}, and you are {access.principal.role}.")
    return within, choice


def may(access: Access, scope: Scope, roles: Sequence[str]) -> bool:
    return scope.user_id == access.principal.user_id if scope.user_id is not None else access.principal.role in roles


def _asked(found: Moved, expect: int | None) -> bool:
    if expect is not None and len(found.ids) != expect:
        raise Conflict(f"there are {len(found.ids)} of them now and not {expect}; nothing was changed", count=len(found.ids))
    return expect is not None


def _told(access: Access, found: Moved, expect: int | None, reason: str | None) -> Hidden:
    done = expect is not None
    return Hidden(
        count=len(found.ids),
        kinds=found.counts,
        done=done,
        by=access.principal.user_id if done else None,
        reason=reason if done else None,
    )
