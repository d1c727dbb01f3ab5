"""Tools of other servers as the doors show them."""

from __future__ import annotations

from graphs.definition import Json
from graphs.remoting import Tools, ToolView


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


def tools_view(tools: Tools) -> dict[str, Json]:
    source = tools.source
    health: dict[str, Json] | None = None
    if source is not None:
        health = {
            "kind": source.kind,
            "title": source.title,
            "protocol": source.protocol,
            "listed_at": source.listed_at.isoformat() if source.listed_at else None,
            "latency_ms": source.latency_ms,
            "error": source.error,
            "error_at": source.error_at.isoformat() if source.error_at else None,
        }
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


def difference(change: Json) -> str:
    """One change of a definition, for a terminal."""
    old = f" - {change['from']}" if "from" in change else ""
    new = f" + {change['to']}" if "to" in change else ""
    return f"    {change['op']} {change['path']}{old}{new}"
