"""Tools of other servers as the doors show them."""

from __future__ import annotations

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.remoting import Tools, ToolView
from store.remote_tools import Source

MAX_ARGUMENTS = 30


def tool_view(tool: ToolView, *, whole: bool) -> dict[str, Json]:
    """`whole`: with the schema of its arguments and what has changed."""
    view: dict[str, Json] = {
        "name": tool.name,
        "state": tool.state,
        "title": tool.title,
        "description": tool.description if whole else tool.description[:300],
        "effect": str(tool.effect) if tool.effect else None,
        "claims": str(tool.claims),
        "digest": tool.digest,
        "approved_at": tool.approved_at,
    }
    return {**view, "schema": tool.schema, "changes": list(tool.changes)} if whole else view


def health_view(source: Source) -> dict[str, Json]:
    """When its tools were last told and how long that took, and what went wrong since."""
    return {
        "kind": source.kind,
        "title": source.title,
        "protocol": source.protocol,
        "listed_at": source.listed_at.isoformat() if source.listed_at else None,
        "latency_ms": source.latency_ms,
        "error": source.error,
        "error_at": source.error_at.isoformat() if source.error_at else None,
    }


def health_words(source: Source | None) -> str:
    """The same for a line of a terminal."""
    if source is None or source.kind != "mcp":
        return ""
    if source.error:
        return f"last error: {source.error}"
    return f"tools told in {source.latency_ms} ms" if source.latency_ms is not None else ""


def tools_view(tools: Tools) -> dict[str, Json]:
    source = tools.source
    health = health_view(source) if source else None
    states = [tool.state for tool in tools.tools]
    return {
        "connection": tools.connection,
        "health": health,
        "total": len(states),
        "states": {state: states.count(state) for state in ("approved", "new", "changed", "gone", "disabled")},
        "tools": [tool_view(tool, whole=False) for tool in tools.tools],
        "refused": source.refused if source else [],
        "notes": list(tools.notes),
    }


def line(tool: ToolView) -> str:
    """For a terminal."""
    effect = str(tool.effect) if tool.effect else f"({tool.claims}, it says)" if tool.claims != "write-once" else ""
    words = " ".join((tool.title or tool.description).split())[:70]
    return f"{tool.state:9} {tool.name:32} {effect:24} {words}".rstrip()


def arguments(schema: Json) -> list[str]:
    """Of a tool, for a terminal: one a line."""
    properties = schema.get("properties") if is_object(schema) else None
    required = schema.get("required") if is_object(schema) else None
    if not is_object(properties):
        return ["its arguments: any"]
    must = required if is_array(required) else []
    return [
        f"{name}: {_type(part)}" + (", required" if name in must else "") for name, part in list(properties.items())[:MAX_ARGUMENTS]
    ] + ([f"and {len(properties) - MAX_ARGUMENTS} more arguments"] if len(properties) > MAX_ARGUMENTS else [])


def _type(part: Json) -> str:
    given = part.get("type", "any") if is_object(part) else "any"
    words = " ".join(str(part.get("description") or "").split())[:80] if is_object(part) else ""
    return (given if isinstance(given, str) else "any of several") + (f" ({words})" if words else "")


def difference(change: Json) -> str:
    """One change of a definition, for a terminal."""
    old = f" - {change['from']}" if "from" in change else ""
    new = f" + {change['to']}" if "to" in change else ""
    return f"    {change['op']} {change['path']}{old}{new}"
