"""Weft's own tools, lent to runs: each call with the rights that the user on whose behalf the run goes has at that moment."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from graphs.definition import Json
from graphs.runtime import Actor, HouseTool, Runtime
from store import identities
from store.postgres import Tenant

LENT = "server.lent"  # read when the first run asks for a tool: it takes a second, and most processes never need it


class OwnTools:
    """The House of graphs/runtime.py."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def specs(self, role: str) -> Sequence[HouseTool]:
        return importlib.import_module(LENT).specs(role)

    async def call(
        self,
        tenant: Tenant,
        user_id: str,
        run_id: str,
        tool: str,
        arguments: dict[str, Json],
        *,
        depth: int = 0,
        key: str | None = None,
        show: Callable[[str, Json], None] | None = None,
    ) -> Json:
        lent: Any = await asyncio.to_thread(importlib.import_module, LENT)
        user = await identities.get_user(tenant, user_id)
        actor = Actor(tenant=tenant, user_id=user.id, user_name=user.name, role=user.role, via="chat", depth=depth + 1, run_id=run_id)
        return await lent.call(self._runtime, actor, run_id, tool, arguments, key=key, show=show)
