"""Who is calling and what they may do: roles to scopes, one scope per tool and route, default deny."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from graphs.runtime import Actor, Runtime
from store.errors import Denied


class Scope(StrEnum):
    """What a tool or a route needs. Each has exactly one."""

    READ = "read"  # see workflows, runs, tasks and the guide
    RUN = "run"  # start and control runs, send events, reset circuits
    TASK = "task"  # answer questions put to people
    AUTHOR = "author"  # write, test and publish workflows; run a definition that was never published
    MEMORY_READ = "memory:read"  # recall and read memories of the scopes that are one's own or everybody's
    MEMORY_WRITE = "memory:write"  # remember and forget; the role says in whose scopes
    ADMIN = "admin"  # the house: workers, limits of the organization


ROLES: Mapping[str, frozenset[Scope]] = MappingProxyType(
    {
        "viewer": frozenset({Scope.READ, Scope.MEMORY_READ}),
        "operator": frozenset({Scope.READ, Scope.RUN, Scope.TASK, Scope.MEMORY_READ, Scope.MEMORY_WRITE}),
        "builder": frozenset({Scope.READ, Scope.RUN, Scope.TASK, Scope.AUTHOR, Scope.MEMORY_READ, Scope.MEMORY_WRITE}),
        "owner": frozenset(Scope),
    }
)


def scopes_of(role: str) -> frozenset[Scope]:
    """The scopes of a role; none for a role that does not exist."""
    return ROLES.get(role, frozenset())


def need(role: str, scope: Scope) -> None:
    """Raises Denied, naming the roles that would do."""
    if scope not in scopes_of(role):
        able = " or ".join(other for other, scopes in ROLES.items() if scope in scopes)
        raise Denied(f"Your role is {role!r} and this needs the scope {scope.value!r}; ask for an API key of a user who is {able}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One authenticated request: the house it reached and the person behind it."""

    runtime: Runtime
    actor: Actor

    def may(self, scope: Scope) -> bool:
        return scope in scopes_of(self.actor.role)

    def need(self, scope: Scope) -> None:
        """Raises Denied, naming the roles that would do."""
        need(self.actor.role, scope)
