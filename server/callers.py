"""Who sent a request: bearer API keys to actors, in the words of the MCP SDK."""

from __future__ import annotations

from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier

from graphs.runtime import Actor, Runtime
from server.auth import Caller, scopes_of
from store import identities
from store.errors import Unauthenticated


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
