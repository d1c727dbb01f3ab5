"""How to connect MCP clients to a server: the commands and files to copy."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    title: str
    text: str


def how_to_connect(url: str, key: str) -> tuple[Way, ...]:
    """For the MCP endpoint `url`: Claude Code, Cursor, VS Code."""
    bearer = {"Authorization": f"Bearer {key}"}
    claude = f'claude mcp add --transport http weft {url} \\\n  --header "Authorization: Bearer {key}"'
    cursor = {"mcpServers": {"weft": {"url": url, "headers": bearer}}}
    code = {"servers": {"weft": {"type": "http", "url": url, "headers": bearer}}}
    return (
        Way(title="Claude Code", text=claude),
        Way(title="Cursor: ~/.cursor/mcp.json", text=json.dumps(cursor, indent=2)),
        Way(title="VS Code: .vscode/mcp.json", text=json.dumps(code, indent=2)),
    )
