"""The tools of server/tools and server/chat_tools, called from inside a run instead of over MCP: same arguments, scopes and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType, SimpleNamespace
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent

from graphs import fixes, lending
from graphs.definition import Json, Schema
from graphs.nodetype import Effect, Failure
from graphs.runtime import Actor, HouseTool, Runtime
from server.auth import Caller, need, scopes_of
from server.chat_tools import chat_tool_files
from server.excerpts import explain
from server.refusals import did_you_mean, readable, told
from server.toolbox import build_tool
from server.tools import ToolFile, tool_files
from store.errors import Unavailable, WeftError

UNKNOWN = "Postgres went away during the call, and nobody can say whether it was done"


class LentContext(Context[Any, Any]):
    """What a tool asks of its request, where there is none: who calls, and nobody to be asked by elicitation."""

    def __init__(self, caller: Caller, run_id: str, show: Callable[[str, Json], None] | None) -> None:
        super().__init__(mcp_server=None)
        self._caller, self._run_id, self._show = caller, run_id, show

    _caller: Caller
    _run_id: str
    _show: Callable[[str, Json], None] | None

    @property
    def mcp_server(self) -> Any:
        return SimpleNamespace(caller=lambda: self._caller)

    @property
    def request_context(self) -> Any:
        return SimpleNamespace(meta={"progress_token": self._run_id} if self._show else {}, protocol_version=None)

    @property
    def client_capabilities(self) -> None:
        return None

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._show is not None:
            self._show("progress", {"current": progress, "total": total, "message": message})

    async def notify_tools_changed(self) -> None:
        """Clients read the list again after a minute."""

    async def notify_resources_changed(self) -> None:
        """Clients read the list again after a while."""


@cache
def files() -> Mapping[str, ToolFile]:
    """Every tool that is lent, by name."""
    every = {**tool_files(), **chat_tool_files()}
    return MappingProxyType({name: every[name] for name in sorted(every) if name in lending.EFFECTS})


@cache
def _tool(name: str) -> Tool:
    return build_tool(files()[name])


@cache
def specs(role: str) -> tuple[HouseTool, ...]:
    """The tools that a role may use."""
    scopes = scopes_of(role)
    return tuple(
        HouseTool(name=name, description=file.description, schema=_schema(name), effect=lending.EFFECTS[name])
        for name, file in files().items()
        if file.scope in scopes
    )


def _schema(name: str) -> Schema:
    """With what an agent must say, though others need not."""
    schema = _tool(name).parameters
    exact = lending.EXACT.get(name)
    return {**schema, "required": [*schema.get("required", ()), exact]} if exact else schema


async def call(
    runtime: Runtime,
    actor: Actor,
    run_id: str,
    name: str,
    arguments: dict[str, Json],
    *,
    key: str | None,
    show: Callable[[str, Json], None] | None,
) -> Json:
    """What the tool answers: its structured content, else its text. Raises Failure with the words a model would read."""
    if name not in files():
        raise Failure("unknown_tool", f"There is no tool {name!r}.{did_you_mean(name, files())}")
    context = LentContext(Caller(runtime=runtime, actor=actor), run_id, show)
    await fixes.check(actor.tenant, run_id, (key or "").partition("/")[2].partition("~")[0], name, arguments, beside=True)
    given = {"idempotency_key": _key(key), **arguments} if name in lending.KEYED and key else arguments
    try:
        need(actor.role, files()[name].scope)
        result: CallToolResult = await _tool(name).run(given, context, convert_result=True)
    except WeftError as error:
        raise _failure(name, error) from error
    except UnexpectedToolError as error:
        cause = error.__cause__
        raise (_failure(name, cause) if isinstance(cause, WeftError) else Failure("internal", str(told(name, cause or error)))) from error
    except ToolError as error:
        raise Failure("bad_arguments", str(readable(name, error, _tool(name)))) from error
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    if result.is_error:
        raise Failure("tool_failed", text)
    return text if result.structured_content is None else result.structured_content


def _key(key: str) -> str:
    """That of a step: it begins with its run, and nested steps have long ones."""
    return key if len(key) <= 200 else hashlib.sha256(key.encode()).hexdigest()


def _failure(name: str, error: WeftError) -> Failure:
    if not isinstance(error, Unavailable):
        return Failure(error.code, explain(error))
    effect = lending.EFFECTS[name]
    return Failure("in_doubt", UNKNOWN) if effect is Effect.WRITE_ONCE else Failure(error.code, explain(error), retryable=True)
