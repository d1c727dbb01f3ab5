"""Who is calling and what they may do: API keys to actors, roles to scopes, one scope per tool and route, default deny."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier

from graphs.runtime import Actor, Runtime
from store import identities
from store.errors import Denied, Unauthenticated


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


class ApiKeys(TokenVerifier):
    """Turns a bearer API key into the identity it was made for. The organization comes from the key and from nowhere else."""

    def __init__(self, keys: identities.Keys) -> None:
        self._keys = keys

    async def verify_token(self, token: str) -> AccessToken | None:
        """None for every key that does not open the door: malformed, unknown, revoked and expired alike."""
        identity = await self._keys.verify(token)
        if identity is None:
            return None
        claims: dict[str, Any] = {
            "iss": f"weft:{identity.org_id}",
            "org": identity.org_id,
            "name": identity.user_name,
            "role": identity.role,
        }
        scopes = sorted(scope.value for scope in scopes_of(identity.role))
        return AccessToken(token="", client_id=identity.key_id, subject=identity.user_id, scopes=scopes, claims=claims)


def actor_of(runtime: Runtime, token: AccessToken, via: str) -> Actor:
    """The person a verified token stands for."""
    claims = token.claims or {}
    return Actor(
        tenant=runtime.database.tenant(claims["org"]), user_id=str(token.subject), user_name=claims["name"], role=claims["role"], via=via
    )


def current(runtime: Runtime, local: Actor | None) -> Caller:
    """Who sent the message being handled: the owner of its API key; without one `local`, which only stdio has. Raises Unauthenticated."""
    token = get_access_token()
    if token is not None:
        return Caller(runtime=runtime, actor=actor_of(runtime, token, "mcp"))
    if local is None:
        raise Unauthenticated(
            "No valid API key came with the request; send the header “Authorization: Bearer <key>” (weft key create makes one)."
        )
    return Caller(runtime=runtime, actor=local)
