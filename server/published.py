"""Published workflows as tools of their own: run_<workflow>, with the workflow's input as its arguments. Derived from the database on
every call, so that all processes agree."""

from __future__ import annotations

import difflib
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolResult, InputRequiredResult, Tool, ToolAnnotations

from graphs import authoring, runs
from graphs.authoring import Published
from graphs.definition import Schema
from graphs.nodetype import Effect
from server.auth import Caller, Scope
from server.excerpts import compact, preview
from server.inviting import invited_to_run
from server.tools import Ctx, hints
from server.waiting import answer_run, settle
from store.errors import Invalid

PREFIX = "run_"
SCOPE = Scope.RUN
MAX_TOOLS = 50
MAX_CHARACTERS = 24_000  # of all of them together, as listed
MAX_SCHEMA = 4_000  # characters; a workflow with a larger input is started with start_run
MAX_WAIT = 20.0  # seconds


def tool_name(workflow: str) -> str:
    return PREFIX + workflow.replace("-", "_")


async def listed(caller: Caller) -> list[Tool]:
    """The tools that fit, by name. What does not fit is still there for start_run."""
    found: list[Tool] = []
    left = MAX_CHARACTERS
    for name, item in sorted((await _by_tool_name(caller)).items()):
        tool = _tool(name, item)
        left -= len(compact(tool.model_dump(by_alias=True, exclude_none=True)))
        if left < 0:
            break
        found.append(tool)
    return found


async def _by_tool_name(caller: Caller) -> dict[str, Published]:
    """Of two workflows whose names differ only in - and _, the one first by name gets the tool."""
    named: dict[str, Published] = {}
    for item in await authoring.published(caller.runtime, caller.actor, limit=MAX_TOOLS):
        if _fits(item):
            named.setdefault(tool_name(item.name), item)
    return named


def _fits(item: Published) -> bool:
    return len(compact(item.input)) <= MAX_SCHEMA and item.input.get("type", "object") == "object"


async def _find(caller: Caller, wanted: str) -> Published | None:
    """The workflow behind a tool's name, also when the list had no room for it."""
    for name in sorted(name for name in await authoring.names(caller.runtime, caller.actor) if tool_name(name) == wanted):
        item = await authoring.find_published(caller.runtime, caller.actor, name)
        if item is not None and _fits(item):
            return item
    return None


def closed(schema: Schema) -> Schema:
    """The workflow's input schema as a tool's: an object that says which arguments there are."""
    found = {**schema, "type": "object"}
    if found.get("properties") and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def annotations_of(effects: frozenset[Effect]) -> ToolAnnotations:
    """What running the workflow may do to the world is what its worst step may do."""
    harmless = effects <= {Effect.PURE, Effect.READ}
    return hints(read_only=harmless, destructive=Effect.WRITE_ONCE in effects, idempotent=harmless, open_world=not effects <= {Effect.PURE})


def _tool(name: str, item: Published) -> Tool:
    about = str(preview(item.description, 400, "…")) or f"Runs the workflow {item.name}."
    return Tool(
        name=name,
        description=f"{about} (published workflow {item.name}, version {item.version})",
        input_schema=closed(item.input),
        annotations=annotations_of(item.effects),
    )


async def call(ctx: Ctx, caller: Caller, name: str, arguments: dict[str, Any]) -> CallToolResult | InputRequiredResult:
    """Starts the workflow and waits a while for its output."""
    item = await _find(caller, name)
    if item is None:
        named = await _by_tool_name(caller)
        near = difflib.get_close_matches(name, named, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else 'list_workflows shows what is published; start_run(workflow="…") runs it.'
        raise MCPError(INVALID_PARAMS, f"There is no tool {name!r}. {hint}")
    _refuse_unknown(closed(item.input), arguments, name)
    if (asked := await invited_to_run(ctx, caller, item.name, None)) is not None:
        return asked
    started = await runs.start(caller.runtime, caller.actor, workflow=item.name, input=arguments)
    return answer_run(await settle(ctx, started.id, MAX_WAIT))


def _refuse_unknown(schema: Schema, arguments: dict[str, Any], name: str) -> None:
    if schema.get("additionalProperties") is not False or "patternProperties" in schema:
        return
    known = list(schema.get("properties", {}))
    for argument in arguments:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, n=1, cutoff=0.5)
            raise Invalid(
                f"{name} has no argument {argument!r}. " + (f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}.")
            )
