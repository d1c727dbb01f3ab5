"""Tells listening MCP clients that a list changed, within one organization only: not even the moment of a change shows elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent


class OrganizationBus:
    """A SubscriptionBus that delivers an event to the listeners of the organization whose request published it."""

    def __init__(self) -> None:
        self._buses: dict[str, InMemorySubscriptionBus] = {}
        self._listeners: dict[str, int] = {}

    async def publish(self, event: ServerEvent) -> None:
        if bus := self._buses.get(_organization()):
            await bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        org = _organization()
        unsubscribe = self._buses.setdefault(org, InMemorySubscriptionBus()).subscribe(listener)
        self._listeners[org] = self._listeners.get(org, 0) + 1
        open_ = True

        def leave() -> None:
            nonlocal open_
            unsubscribe()
            if open_:
                open_ = False
                self._listeners[org] -= 1
                if not self._listeners[org]:
                    del self._listeners[org], self._buses[org]

        return leave


def _organization() -> str:
    """Of the request being handled; stdio has one caller and therefore one organization."""
    token = get_access_token()
    return str((token.claims or {}).get("org", "")) if token else ""
