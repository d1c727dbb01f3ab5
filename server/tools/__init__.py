"""The MCP tools, found by folder: a module server/tools/<tool>.py is the tool <tool>.

A tool is one module with these names (tests/server/test_tools.py holds them to it):

    DESCRIPTION: str                  one to three sentences for the model, at most 500 characters
    ANNOTATIONS: ToolAnnotations      all four hints said outright
    SCOPE: Scope                      the one scope a caller needs
    async def run(ctx: Context, …)    annotated arguments become the closed input schema; `caller_of(ctx)` says who calls

and, where it applies:

    CORE = True                       clients that load tools lazily load this one at once
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol, cast

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations

from server.auth import Caller, Scope

Ctx = Context[Any, Any]


class Door(Protocol):
    """What a tool may ask of the server it runs in."""

    def caller(self) -> Caller: ...


def caller_of(ctx: Ctx) -> Caller:
    """Who sent the call being handled."""
    return cast(Door, ctx.mcp_server).caller()


def hints(*, read_only: bool, destructive: bool = False, idempotent: bool = True, open_world: bool = False) -> ToolAnnotations:
    """Annotations with every hint said outright: what is left out reads as dangerous to clients."""
    return ToolAnnotations(read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=open_world)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToolFile:
    """A module of server/tools/ as the server sees it; there is one for each, so that it is equal to itself only."""

    name: str
    description: str
    annotations: ToolAnnotations
    scope: Scope
    core: bool
    run: Callable[..., Awaitable[CallToolResult | InputRequiredResult]]


@cache
def tool_files() -> Mapping[str, ToolFile]:
    """Every tool by name, in alphabetical order."""
    return found_in(__name__, __path__)


def found_in(package: str, path: Iterable[str]) -> Mapping[str, ToolFile]:
    """The tools of a folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(path))
    return MappingProxyType({name: _load(package, name) for name in names})


def _load(package: str, name: str) -> ToolFile:
    module: Any = importlib.import_module(f"{package}.{name}")
    return ToolFile(
        name=name,
        description=module.DESCRIPTION,
        annotations=module.ANNOTATIONS,
        scope=module.SCOPE,
        core=getattr(module, "CORE", False),
        run=module.run,
    )
