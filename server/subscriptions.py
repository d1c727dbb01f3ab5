"""Tells listening MCP clients what changed, within one organization only: not even the moment of a change shows elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.subscriptions import ResourceUpdated

PRIVATE = "weft://chats/"  # resources that are their user's alone
Whose = tuple[str, str]  # organization and user; ("…", "") is everybody of the organization


class OrganizationBus:
    """A SubscriptionBus that delivers an event to the listeners of the organization whose request published it; an event about what is
    private only to those of the same user."""

    def __init__(self) -> None:
        self._buses: dict[Whose, InMemorySubscriptionBus] = {}
        self._listeners: dict[Whose, int] = {}

    async def publish(self, event: ServerEvent) -> None:
        org, user = _caller()
        private = isinstance(event, ResourceUpdated) and event.uri.startswith(PRIVATE)
        if bus := self._buses.get((org, user if private else "")):
            await bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        org, user = _caller()
        leaves = [self._join(whose, listener) for whose in {(org, ""), (org, user)}]

        def leave() -> None:
            for one in leaves:
                one()

        return leave

    def _join(self, whose: Whose, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        unsubscribe = self._buses.setdefault(whose, InMemorySubscriptionBus()).subscribe(listener)
        self._listeners[whose] = self._listeners.get(whose, 0) + 1
        open_ = True

        def leave() -> None:
            nonlocal open_
            unsubscribe()
            if open_:
                open_ = False
                self._listeners[whose] -= 1
                if not self._listeners[whose]:
                    del self._listeners[whose], self._buses[whose]

        return leave


def _caller() -> Whose:
    """Of the request being handled; stdio has one caller and therefore one organization."""
    token = get_access_token()
    return (str((token.claims or {}).get("org", "")), str(token.subject)) if token else ("", "")
