"""Whose memories: the organization's, a user's, an agent's, a conversation's, a workflow's, a run's; and who may read and write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from store import memories
from store.errors import Denied, Invalid, NotFound
from store.memories import Scope
from store.postgres import Session

Kind = Literal["organization", "user", "agent", "conversation", "workflow", "run"]
KINDS: tuple[Kind, ...] = ("organization", "user", "agent", "conversation", "workflow", "run")
ROLES = ("viewer", "operator", "builder", "owner")  # each may what those before it may
WRITERS: dict[str, str] = {
    "organization": "builder",
    "agent": "builder",
    "workflow": "builder",
    "conversation": "operator",
    "run": "operator",
}
"""The least role that writes to a scope of this kind when it belongs to everybody; one's own scopes everybody writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """On whose behalf: a user with the role the organization gave it. A run has the principal of whoever started it."""

    user_id: str | None
    role: str


def readable(scope: Scope, principal: Principal) -> bool:
    """A private scope is its user's alone, whatever the role of others."""
    return scope.user_id is None or scope.user_id == principal.user_id


def writable(scope: Scope, principal: Principal) -> bool:
    if scope.user_id is not None:
        return scope.user_id == principal.user_id
    least = WRITERS.get(scope.kind, "owner")
    return principal.role in ROLES and ROLES.index(principal.role) >= ROLES.index(least)


async def find(session: Session, principal: Principal, kind: Kind, name: str = "", *, private: bool = False) -> Scope:
    """The scope, to read from. Raises NotFound when there is none, and just the same when it is somebody else's."""
    name, user_id = _named(principal, kind, name, private=private)
    scope = await memories.find_scope(session, kind=kind, name=name, user_id=user_id)
    if scope is None:
        raise NotFound(f"Nothing is remembered in the {kind} scope {name!r}.", kind=kind, name=name)
    return scope


async def make(session: Session, principal: Principal, kind: Kind, name: str = "", *, private: bool = False) -> Scope:
    """The scope, to write to; made when it is new. Raises Denied when the principal's role does not allow it."""
    name, user_id = _named(principal, kind, name, private=private)
    wanted = Scope(id=0, kind=kind, name=name, user_id=user_id)
    if not writable(wanted, principal):
        raise Denied(f"Writing to the {kind} scope takes the role {WRITERS[kind]}, and you are {principal.role}.")
    return await memories.make_scope(session, kind=kind, name=name, user_id=user_id)


async def visible(session: Session, principal: Principal, *, kind: Kind | None = None) -> list[Scope]:
    """All scopes that the principal may read, the oldest first."""
    return await memories.visible_scopes(session, user_id=principal.user_id, kind=kind)


async def get(session: Session, principal: Principal, scope_id: int) -> Scope:
    """By its id. Raises NotFound when there is none, or it is somebody else's."""
    scope = await memories.get_scope(session, scope_id)
    if scope is None or not readable(scope, principal):
        raise NotFound("There is no such scope of memories.")
    return scope


def _named(principal: Principal, kind: Kind, name: str, *, private: bool) -> tuple[str, str | None]:
    if kind not in KINDS:
        raise Invalid(f"A scope is one of {', '.join(KINDS)}, not {kind!r}.")
    if kind == "organization":
        if name or private:
            raise Invalid("The organization's scope has no name, and is everybody's.")
        return "", None
    if kind == "user":
        if principal.user_id is None:
            raise Invalid("Nobody's own memories: this principal is no user.")
        if name not in ("", principal.user_id):
            raise Denied("The memories of another user are that user's alone.")
        return principal.user_id, principal.user_id
    if not 1 <= len(name) <= 200:
        raise Invalid(f"The {kind} scope takes a name of 1 to 200 characters.")
    if private and principal.user_id is None:
        raise Invalid("A private scope belongs to a user, and this principal is none.")
    return name, principal.user_id if private else None
