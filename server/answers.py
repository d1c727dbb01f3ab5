"""What tools answer: compact JSON, the same as text and structured, never longer than a model should have to read."""

from __future__ import annotations

import json

from mcp.types import CallToolResult, TextContent

from graphs.definition import Json
from server.excerpts import MAX_ANSWER, compact, preview


def answer(content: dict[str, Json], *, next: str | None = None) -> CallToolResult:
    """A result whose text and structured content say the same; `next` names the call that usually follows."""
    body = {**content, "next": next} if next else content
    text = compact(body)
    if len(text) > MAX_ANSWER:
        text = compact(preview(body, MAX_ANSWER - 200, "ask for less at a time"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=json.loads(text))


def prose(text: str) -> CallToolResult:
    """A result that is meant to be read: text only."""
    return CallToolResult(content=[TextContent(type="text", text=text)])
